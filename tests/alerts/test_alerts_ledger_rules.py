"""R3, R5 and R22 on what the ledger shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.alarms import Priority
from alerts.config import AlertsSettings
from alerts.ledger_config import AgreementSettings, IntervalSettings, WheelingSettings
from alerts.rules.finding import Finding
from alerts.rules.interval import IntervalRule
from alerts.rules.ledger import ledger_rules_of
from alerts.rules.schedule import AgreementRule
from alerts.rules.wheeling import WheelingRule
from alerts.schedules import Party, Piece, ScheduleBook, Version
from alerts.settlement.accounts import Accounts
from alerts.settlement.interval import MINUTE
from alerts.settlement.running import running
from alerts.settlement.settle import settle
from alerts.settlement.view import LedgerView
from telemetry.site import Site
from tests.alerts.conftest import Bench
from tests.alerts.settlement_site import SECOND, T0, settled_site, steady

HOUR = 60 * MINUTE


@pytest.fixture
def site() -> Site:
    return settled_site()


def view(site: Site, changed: dict[tuple[str, str], float], minute: float) -> LedgerView:
    """The ledger at a minute of the hour, with a steady power at some ends."""
    found, accounts, book = steady(site, changed), Accounts.of(site), ScheduleBook(site.grid)
    at = T0 + round(minute * MINUTE)
    latest = {i.account: i for i in settle(accounts, book, found, [(T0, 15)])}
    return LedgerView(at, running(accounts, book, found, at), latest, book)


@pytest.mark.parametrize(
    ("mw", "minute", "level", "value"),
    [
        (815.0, 10, 0, 15.0),  # 15 MWh in the hour, of 16
        (821.0, 10, 1, 21.0),
        (821.0, 4, None, None),  # the interval is too young
        (780.0, 10, 1, 20.0),
        (850.0, 10, 2, 12.5),
    ],
)
def test_an_interval_is_judged_by_its_end(
    site: Site, mw: float, minute: float, level: int | None, value: float | None
) -> None:
    rule = IntervalRule("AKT-ALT", "KZ", ["AZ"], IntervalSettings())
    found = rule.judge(view(site, {("AKT-ALT", "AKT"): mw}, minute))
    if level is None:
        assert found is None
        return
    assert found is not None
    assert (found.level, found.unit) == (level, "MWh")
    assert found.value == pytest.approx(value, abs=0.1)


def test_what_an_interval_tells(site: Site) -> None:
    rule = IntervalRule("AKT-ALT", "KZ", ["AZ"], IntervalSettings())
    found = rule.judge(view(site, {("AKT-ALT", "AKT"): 761.0}, 10))
    assert found is not None
    assert found.texts is not None
    # of 15 and 60 minutes the one that is further beyond its limit
    assert found.texts.title == "AKT-ALT: the 60 min to 01:00 UTC will settle 39.0 MWh less flow than agreed"
    assert "50 min are left: +8 MW beside the schedule would settle it to zero" in found.texts.response
    assert found.texts.evidence["Off so far [MWh]"] == pytest.approx(-6.5)
    area = IntervalRule("AZ", "AZ", ["GE", "KZ"], IntervalSettings())
    told = area.judge(view(site, {("AKT-ALT", "AKT"): 700.0}, 10))
    assert told is not None
    assert told.texts is not None
    assert "more export than agreed" in told.texts.title
    assert told.limit == pytest.approx(0.05 * 1420 / 4), "of what goes over all its ties"


def test_an_interval_without_data_is_indeterminate(site: Site) -> None:
    rule = IntervalRule("AKT-ALT", "KZ", ["AZ"], IntervalSettings())
    seen = view(site, {}, 10)
    blind = [replace(r, projected_mwh=None, fault="AKT-ALT: only 3 % was measured") for r in seen.open]
    found = rule.judge(replace(seen, open=blind))
    assert found is not None
    assert "only 3 %" in found.indeterminate
    assert rule.judge(replace(seen, open=[])) is None


@pytest.mark.parametrize(("mw", "level"), [(323.0, 0), (300.0, 1), (270.0, 2)])
def test_what_came_in_must_leave(site: Site, mw: float, level: int) -> None:
    (contract,) = site.grid.contract
    rule = WheelingRule(contract, WheelingSettings())
    seen = view(site, {("SHY-TAS", "TAS"): mw}, 20)
    found = rule.judge(seen)
    assert found is not None
    assert found.level == level
    assert found.value == pytest.approx(abs(75 * mw / 323 * 0.97 - 72.75), abs=1e-3)
    if level:
        assert found.texts is not None
        assert "MWh more delivered than came in, 00:00-00:15 UTC" in found.texts.title
        assert found.texts.evidence["Transit volume of KZ [MWh]"] == pytest.approx(mw / 4, abs=0.01)
    blind = replace(seen.latest["UZ-AZ"], wheeled_mwh=None)
    unknown = rule.judge(replace(seen, latest={"UZ-AZ": blind}))
    assert unknown is not None
    assert "SHY-TAS, AKT-ALT" in unknown.indeterminate
    assert rule.judge(replace(seen, latest={})) is None


def agreement(site: Site, *versions: Version, hour: float = 1.0) -> Finding | None:
    at = T0 + round(hour * HOUR)
    rule = AgreementRule("AKT-ALT", "KZ", "AZ", AgreementSettings())
    return rule.judge(LedgerView(at, [], {}, ScheduleBook(site.grid, versions)))


def version(
    number: int, *pieces: tuple[float, float, float], party: Party = Party.OWN, age_h: float = 0.0
) -> Version:
    made = tuple(Piece(T0 + round(a * HOUR), T0 + round(b * HOUR), mw) for a, b, mw in pieces)
    return Version(number, "AKT-ALT", party, "a", "b", T0 - round(age_h * HOUR), made)


def test_both_parties_must_hold_the_same(site: Site) -> None:
    assert agreement(site) is None, "where no version ever was, the standing schedule holds"
    ours, theirs = version(1, (0, 24, 800)), version(2, (0, 24, 800), party=Party.COUNTERPART)
    calm = agreement(site, ours, theirs)
    assert calm is not None
    assert calm.level == 0
    other = version(3, (0, 6, 800), (6, 24, 700), party=Party.COUNTERPART)
    found = agreement(site, ours, other)
    assert found is not None
    assert (found.level, found.value, found.unit) == (2, 100, "MW")
    assert found.texts is not None
    assert "from 2023-11-15 06:00Z we hold 800 MW, AZ 700 MW" in found.texts.title
    near = version(3, (0, 24, 800.4), party=Party.COUNTERPART)
    tolerated = agreement(site, ours, near)
    assert tolerated is not None
    assert tolerated.level == 0


@pytest.mark.parametrize(("hour", "level"), [(23.5, 0), (23.8, 2), (25, 2), (24 + 49, 0)])
def test_the_next_interval_must_have_a_schedule(site: Site, hour: float, level: int) -> None:
    found = agreement(site, version(1, (0, 24, 800)), hour=hour)
    assert found is not None
    assert found.level == level, "a version that ended long ago is no longer in use"
    if level:
        assert found.texts is not None
        assert "our schedule ends at 2023-11-16 00:00Z" in found.texts.title


def test_an_old_version_is_told(site: Site) -> None:
    found = agreement(site, version(1, (0, 240, 800), age_h=72))
    assert found is not None
    assert found.level == 1
    assert found.texts is not None
    assert "is 73 h old" in found.texts.title


def test_which_rules_watch_what(site: Site) -> None:
    keys = {rule.subject.key for rule in ledger_rules_of(site, AlertsSettings())}
    assert {key for key in keys if key.startswith("R3/")} == {
        *("R3/MGC-SAM", "R3/AKT-ALT", "R3/KZ", "R3/UZ", "R3/AZ")
    }
    assert {"R5/UZ-AZ", "R22/UZ-AZ", "R22/SHY-TAS"} <= keys
    text = '{"R3": {"override": [{"asset": "AZ", "enabled": false}]}, "R5": {"enabled": false}}'
    fewer = {r.subject.key for r in ledger_rules_of(site, AlertsSettings.model_validate_json(text))}
    assert keys - fewer == {"R3/AZ", "R5/UZ-AZ"}


def test_overrides_of_what_is_not_there_are_refused(site: Site) -> None:
    text = '{"R3": {"override": [{"asset": "SHY-TAS"}]}, "R22": {"override": [{"asset": "UZ-A"}]}}'
    problems = AlertsSettings.model_validate_json(text).problems("g.toml", site.grid, [])
    assert [p.key for p in problems] == ["alerts.R3.override[0].asset", "alerts.R22.override[0].asset"]


async def test_the_engine_judges_each_look_and_survives_a_rule_that_fails(bench: Bench) -> None:
    shown = view(settled_site(), {("AKT-ALT", "AKT"): 700.0}, 10)
    looks: list[LedgerView] = []
    bench.ledger = lambda: looks[-1] if looks else None
    async with bench.running() as desk:
        await bench.run(3)
        looks.append(shown)
        await bench.run(3)
        keys = {alarm.key: alarm for alarm in desk.active()}
        assert keys["R3/AKT-ALT"].priority is Priority.MEDIUM
        looks.append(replace(shown, at=shown.at + 30 * SECOND, open=[None]))  # type: ignore[list-item]
        await bench.run(3)
        assert any(alarm.key == "RULES/R3/AKT-ALT" for alarm in desk.active())
