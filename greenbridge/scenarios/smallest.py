"""How small a fault may be and still be found: sizes rise in stairs until an alarm names it, over many seeds.

Faults of different kinds strike different assets in one play: none of the alarms that find one looks at the
asset of another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import hypot
from statistics import median
from typing import Any

from alerts.lifecycle import Event
from alerts.rules.line_state import MeterAccuracy
from greenbridge.scenarios.player import Play, Player
from greenbridge.settings import Configuration
from simulators.bench import Bench
from simulators.faults.model import AnyFault
from simulators.faults.on_meters import Gain, Skew
from simulators.faults.on_truth import Tap
from simulators.scenario import Scenario, Timed, WorldTimes
from simulators.world.world import World
from telemetry.errors import ConfigError, Problem
from telemetry.settings import nearest

LEAD_S = 60.0
"""Time before the first stair; an alarm that is raised in it is false [s]."""
STAIR_S = 120.0
"""Time for each size: on-delay, watermark and a second estimate fit into it twice [s]."""
ON_DELAY_S = 60.0
"""What raises an alarm began so long before it: an alarm belongs to the stair of that time [s]."""
STEP_S = 4.0
_WEEK_S = 7 * 86400.0
SHARE = 0.9
"""Part of the seeds by which the smallest size counts as detected."""
_QUANTILE = 1.2816
"""Of the normal distribution at :data:`SHARE`."""
_START = datetime(2026, 1, 13, 10, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A kind of fault whose size is varied."""

    title: str
    unit: str
    sizes: tuple[float, ...]
    """Rising."""
    fault: Callable[[float], AnyFault]
    """The fault of a size."""
    found: tuple[tuple[str, str], ...]
    """Rule and asset of the alarms that find it."""
    line: str | None = None
    """Line whose two-end balance finds it; None where no balance does."""
    per_flow: bool = False
    """Sizes are [%] of the line's flow, not [MW]."""


def _tap(line: str, sizes: tuple[float, ...]) -> Sweep:
    return Sweep(
        f"Tap in the middle of {line}",
        "MW",
        sizes,
        lambda size: Tap(kind="tap", target=line, mw=size),
        (("R6", line), ("R18", line)),
        line,
    )


def _gain(line: str, node: str, sizes: tuple[float, ...]) -> Sweep:
    return Sweep(
        f"Gain of the main meter of {line} at {node}",
        "%",
        sizes,
        lambda size: Gain(kind="gain", target=f"{line}_{node}_main", pct=size),
        (("R6", line), ("R18", line), ("R15", line), ("R16", f"{line}_{node}_main")),
        line,
        per_flow=True,
    )


SWEEPS: Mapping[str, Sweep] = {
    "tap": _tap("SHY-TAS", (3.0, 3.5, 4.0, 4.5, 5.0, 6.0)),
    "gain": _gain("SHU-ALM", "SHU", (0.6, 0.8, 1.0, 1.2, 1.4, 1.8)),
    "skew": Sweep(
        "Clock of the bus meter of TAS, behind",
        "s",
        (0.7, 0.8, 0.9, 1.0, 1.1, 1.2),
        lambda size: Skew(kind="skew", target="TAS_injection", seconds=-size),
        (("R17", "TAS_injection"),),
    ),
}
"""What is swept; sizes lie around the uncertainty of two class 0.2S meters and the limit of R17."""
SIZES = 6
"""Stairs of every sweep, which are played together."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one play found."""

    sizes: Mapping[str, float]
    """By sweep: the size at which its fault was found; without those that never were."""
    false_alarms: tuple[str, ...]
    """Rule and asset of alarms before the first stair, or of what no fault struck."""


@dataclass(frozen=True, slots=True)
class Smallest:
    """A sweep over several seeds."""

    name: str
    sweep: Sweep
    detected: tuple[float | None, ...]
    """For each seed, the size at which the fault was found; None if none was."""
    theory: float | None
    """Size that the uncertainty budget lets the two-end balance find in :data:`SHARE` of the seeds [unit]."""

    def share_at(self, size: float) -> float:
        """Part of the seeds that find the fault at a size or below."""
        return sum(found is not None and found <= size for found in self.detected) / len(self.detected)

    @property
    def smallest(self) -> float | None:
        """Smallest size of the stairs that :data:`SHARE` of the seeds find [unit]; None if none is."""
        return next((size for size in self.sweep.sizes if self.share_at(size) >= SHARE), None)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = [size for size in self.detected if size is not None]
        return {
            "name": self.name,
            "title": self.sweep.title,
            "unit": self.sweep.unit,
            "seeds": len(self.detected),
            "smallest": self.smallest,
            "median": median(found) if found else None,
            "theory": None if self.theory is None else round(self.theory, 2),
            "share": {f"{size:g}": round(self.share_at(size), 3) for size in self.sweep.sizes},
        }

    def text(self) -> str:
        """For people."""
        unit, smallest = self.sweep.unit, self.smallest
        found = f"{smallest:g} {unit}" if smallest is not None else f"above {self.sweep.sizes[-1]:g} {unit}"
        theory = "" if self.theory is None else f" (uncertainty budget: {self.theory:.2g} {unit})"
        return f"{self.sweep.title}: {found} is found in {SHARE:.0%} of {len(self.detected)} seeds{theory}"


DURATION_S = LEAD_S + (SIZES + 0.5) * STAIR_S
"""Length of a play: every stair, and what the last one's alarm needs [s]."""


def scenario_of(sweeps: Iterable[Sweep]) -> Scenario:
    """The scenario of some sweeps: one size after the other, without a pause."""
    stairs = tuple(
        Timed(at_s=LEAD_S + i * STAIR_S, for_s=STAIR_S, fault=sweep.fault(size))
        for sweep in sweeps
        for i, size in enumerate(sweep.sizes)
    )
    world = WorldTimes(start=_START, duration_s=DURATION_S, step_s=STEP_S)
    return Scenario(title="Smallest", story="Sizes rise in stairs.", world=world, event=stairs)


def swept(names: Sequence[str], seeds: Sequence[int], player: Player) -> Iterator[tuple[int, Found]]:
    """Plays sweeps together with every seed; what was found, as soon as it is known."""
    sweeps = {name: SWEEPS[name] for name in names}
    scenario = scenario_of(sweeps.values())
    for seed in seeds:
        yield seed, judged(sweeps, player.play(scenario, seed=seed))


def judged(sweeps: Mapping[str, Sweep], play: Play) -> Found:
    """What a play found."""
    sizes: dict[str, float] = {}
    false_alarms = list[str]()
    for seen in play.seen:
        if seen.event is not Event.RAISE:
            continue
        since_s = seen.t_s - ON_DELAY_S - LEAD_S
        name = next((n for n, sweep in sweeps.items() if (seen.rule, seen.asset) in sweep.found), None)
        if name is None or since_s < -ON_DELAY_S:
            false_alarms.append(f"{seen.rule}/{seen.asset}")
        else:
            stair = min(max(int(since_s // STAIR_S), 0), SIZES - 1)
            sizes.setdefault(name, sweeps[name].sizes[stair])
    return Found(sizes, tuple(false_alarms))


@dataclass(frozen=True, slots=True)
class Summary:
    """What the plays of some seeds say of some sweeps."""

    sizes: tuple[Smallest, ...]
    plays: Mapping[int, Found]
    """By seed."""

    @property
    def false_alarms(self) -> Counter[str]:
        """By rule and asset."""
        return Counter(alarm for play in self.plays.values() for alarm in play.false_alarms)

    @property
    def played_s(self) -> float:
        """Time played, over all seeds [s]."""
        return len(self.plays) * DURATION_S

    def document(self) -> dict[str, Any]:
        """For JSON."""
        false = self.false_alarms
        return {
            "seeds": sorted(self.plays),
            "step_s": STEP_S,
            "stair_s": STAIR_S,
            "played_s": self.played_s,
            "smallest": [size.document() for size in self.sizes],
            "false_alarms": dict(sorted(false.items())),
            "false_alarms_per_week": round(false.total() / self.played_s * _WEEK_S, 3),
        }

    def text(self) -> str:
        """For people."""
        lines = [size.text() for size in self.sizes]
        return "\n".join(
            [*lines, f"{self.false_alarms.total()} false alarms in {self.played_s / 3600:.1f} h"]
        )


def summary(
    names: Sequence[str], plays: Mapping[int, Found], configuration: Configuration, bench: Bench
) -> Summary:
    """Sums plays up."""
    first = min(plays)
    sizes = []
    for name in names:
        sweep = SWEEPS[name]
        theory = None if sweep.line is None else _theory(sweep, configuration, bench, first)
        sizes.append(Smallest(name, sweep, tuple(plays[seed].sizes.get(name) for seed in plays), theory))
    return Summary(tuple(sizes), plays)


def checked(names: Sequence[str] | None) -> Sequence[str]:
    """The names of sweeps, or of every one.

    Raises
    ------
    ConfigError
        There is no such sweep.

    """
    wanted = list(names or SWEEPS)
    problems = [
        Problem("smallest", name, "", "there is no such kind of fault", nearest(name, SWEEPS))
        for name in wanted
        if name not in SWEEPS
    ]
    if problems:
        raise ConfigError(problems)
    return wanted


def _theory(sweep: Sweep, configuration: Configuration, bench: Bench, seed: int) -> float:
    """Limit of the two-end balance and a quantile of its uncertainty, at a seed's flow [unit]."""
    grid, settings = configuration.grid, configuration.settings.alerts.two_end
    line = next(line for line in grid.line if line.id == sweep.line)
    world = World(bench.plan, seed, round(_START.timestamp()) * 1_000_000_000)
    flows = [
        world.snapshot.end_p_mw[world.end(line.id, node)].item() for node in (line.from_node, line.to_node)
    ]
    profiles = {device.id: configuration.profiles[device.profile] for device in configuration.devices}
    meters = [MeterAccuracy.of(profiles[f"{line.id}_{node}_main"]) for node in (line.from_node, line.to_node)]
    corona = grid.parameters_of(line).corona_sigma_kw_per_km * line.km * line.circuits / 1000
    sigma = hypot(corona, *(hypot(m.pct / 100 * p, m.floor_mw) for m, p in zip(meters, flows, strict=True)))
    flow = max(map(abs, flows))
    first = settings.limits[0]
    size: float = max(first.sigmas * sigma, first.pct_p / 100 * flow) + _QUANTILE * sigma
    return size / flow * 100 if sweep.per_flow else size
