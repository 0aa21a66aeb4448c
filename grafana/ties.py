"""Tie-lines and transit: flows and schedules, the two ends of each line, what is carried for others."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.rules.line_state import MeterAccuracy
from grafana.influxql import Meter, agreed, filled, number, residual, residual_share, together
from grafana.limits import exchange_grades, loading_grades, two_end_limit
from grafana.losses import hvdc_expression, line_expression
from grafana.model import Model
from grafana.panels import Panel, above, band, dashed, trend
from grafana.sheet import PERCENT, POWER, Row
from telemetry.devices import Role
from telemetry.grid import Contract, Hvdc, Tie, TieKind


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    grid = model.grid
    yield "Ties", [flow(model, tie) for tie in grid.tie]
    yield "Off schedule", [*_deviations(model)]
    yield "Transit", [panel for contract in grid.contract for panel in _transit(model, contract)]
    yield "Loading", [*_loading(model)]
    yield "Two ends", [*_two_ends(model)]
    yield "HVDC", [panel for link in grid.hvdc for panel in _hvdc(model, link)]


def flow(model: Model, tie: Tie) -> Panel:
    """Power of a tie, main and check meter, against its schedule."""
    node = tie.delivery_node
    queries = [
        (role.value, meter.trend("TotW"))
        for role in (Role.MAIN, Role.CHECK)
        if (meter := model.meter(tie.id, node, role)) is not None
    ]
    main = model.meter(tie.id, node)
    if main is not None:
        steps = agreed(main, "TotW", tie.schedule, deviation=False)
        queries += [("schedule", query) for query in steps]
    panel = trend(
        f"{tie.id} at {node}",
        f"Power into the tie at its delivery point, main and check meter, against the schedule. "
        f"Net transfer capacity {tie.ntc_mw:.0f} MW.",
        POWER,
        queries,
    )
    return dashed(panel, "schedule")


def _deviations(model: Model) -> Iterator[Panel]:
    for tie in model.grid.tie:
        meter = model.meter(tie.id, tie.delivery_node)
        if tie.kind is TieKind.RING or meter is None:
            continue
        steps = agreed(meter, "TotW", tie.schedule, deviation=True)
        yield trend(
            f"{tie.id}: deviation from schedule",
            f"Measured less agreed power at {tie.delivery_node}; dashed: the limits of rule R1.",
            POWER,
            [("deviation", filled(query)) for query in steps],
            thresholds=band(0, exchange_grades(model.alerts.exchange.of(tie.id), tie)),
        )
    yield from _ring_deviation(model)


def _ring_deviation(model: Model) -> Iterator[Panel]:
    ties = [tie for tie in model.grid.tie if tie.kind is TieKind.RING]
    meters = [model.meter(tie.id, tie.delivery_node) for tie in ties]
    # with steps at several times the sum would need a query for each combination
    constant = all(len(tie.schedule) == 1 for tie in ties)
    one_sense = len({(tie.from_area, tie.to_area) for tie in ties}) == 1
    if len(ties) < 2 or not constant or not one_sense or None in meters:
        return
    parts = [
        agreed(meter, "TotW", tie.schedule, deviation=True)[0]
        for tie, meter in zip(ties, meters, strict=True)
        if meter is not None
    ]
    names = " + ".join(tie.id for tie in ties)
    yield trend(
        f"{names}: deviation of the sum",
        "The ties of an AC ring share loop flow: only their sum can be scheduled; none is judged alone.",
        POWER,
        [("deviation", together(parts, "deviation"))],
        width=24,
    )


def _transit(model: Model, contract: Contract) -> Iterator[Panel]:
    """What comes into the transit area for a contract, what leaves it, and what is missing."""
    ties = {tie.id: tie for tie in model.grid.tie}
    sides: list[list[tuple[float, Meter]]] = []
    for names in (contract.entry, contract.exit):
        side = []
        for tie in (ties[name] for name in names):
            meter = model.meter(tie.id, tie.delivery_node)
            if meter is None:
                return
            into = 1.0 if model.grid.outflow(tie)[1] == contract.transit_area else -1.0
            side.append((into, meter))
        sides.append(side)
    entry, left = sides
    keep = 1 - contract.loss_share
    yield trend(
        f"{contract.id}: in and out of {contract.transit_area}",
        "Power over the ties of the contract: what comes in at its entries, what leaves at its exits.",
        POWER,
        [
            ("in", together([meter.mean("TotW", "in", sign) for sign, meter in entry], "in")),
            ("out", together([meter.mean("TotW", "out", -sign) for sign, meter in left], "out")),
        ],
    )
    parts = [meter.mean("TotW", "balance", sign * keep) for sign, meter in entry]
    parts += [meter.mean("TotW", "balance", sign) for sign, meter in left]
    yield trend(
        f"{contract.id}: transit balance",
        f"What came in, less agreed losses of {contract.loss_share:.1%}, less what left: + stays in "
        f"{contract.transit_area}. What the ties carry beside the contract is in it too.",
        POWER,
        [("balance", together(parts, "balance"))],
    )


def _loading(model: Model) -> Iterator[Panel]:
    queries = []
    for branch, limit_mw in model.branches():
        meter = model.meter(branch.id, branch.from_node) or model.meter(branch.id, branch.to_node)
        if meter is not None:
            share = f'abs(mean("TotW")) * {number(100 / limit_mw)} AS "loading"'
            queries.append((branch.id, filled(meter.select(share, ["TotW"]))))
    if queries:
        yield trend(
            "Loading of lines and links",
            "Power as a part of the transfer limit with all circuits in service; dashed: the limits of rule "
            "R12, which counts circuits that are out and judges the current too.",
            PERCENT,
            queries,
            thresholds=above(*loading_grades(model.alerts.loading)),
            width=24,
        )


def _two_ends(model: Model) -> Iterator[Panel]:
    residuals, shares, losses = [], [], []
    for line in model.grid.line:
        ends = [model.device(line.id, node, Role.MAIN) for node in (line.from_node, line.to_node)]
        devices = [device for device in ends if device is not None]
        if len(devices) < 2:
            continue
        near, far = map(Meter.of, devices)
        expected = line_expression(model.grid, line)
        accuracies = [MeterAccuracy.of(model.profiles[device.profile]) for device in devices]
        limit = two_end_limit(model.grid, line, model.alerts.two_end.of(line.id).limits[0], *accuracies)
        residuals.append((line.id, residual(near, expected, far)))
        shares.append((line.id, residual_share(near, expected, limit, far)))
        losses.append((line.id, together([near.mean("TotW", "loss"), far.mean("TotW", "loss")], "loss")))
    if not residuals:
        return
    first = model.alerts.two_end.limits[0].priority
    yield trend(
        "Two-end residual against the limit of R6",
        "The residual below as a multiple of the rule's first limit while power is steady: beyond 1 for "
        "the on-delay, R6 raises an alarm.",
        "none",
        shares,
        thresholds=band(0, [(1, first)]),
        width=24,
        decimals=2,
    )
    yield trend(
        "Two-end residual",
        "Power of both ends of a line less the loss that its two-port expects: about 0 unless power "
        "leaves between the meters, a meter is wrong or weather raises the corona loss.",
        POWER,
        residuals,
        width=24,
        decimals=2,
    )
    yield trend(
        "Measured loss of lines",
        "Power of both main meters of a line together; never below 0 but for the meters' uncertainty.",
        POWER,
        losses,
        width=24,
        decimals=2,
    )


def _hvdc(model: Model, link: Hvdc) -> Iterator[Panel]:
    near, far = model.meter(link.id, link.from_node), model.meter(link.id, link.to_node)
    if near is None or far is None:
        return
    yield trend(
        f"{link.id}: power into the link",
        f"Both converters' meters; {link.from_node} sends when its power is above 0.",
        POWER,
        [(link.from_node, near.trend("TotW")), (link.to_node, far.trend("TotW"))],
    )
    yield trend(
        f"{link.id}: loss less model",
        f"Loss of converters and cable less what is expected while {link.from_node} sends.",
        POWER,
        [("residual", residual(near, hvdc_expression(link), far))],
        decimals=2,
    )
