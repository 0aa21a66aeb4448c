"""Ramps, versions, and tables of schedules as people send them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alarms import Priority
from alerts.config import AlertsSettings
from alerts.schedule_desk import ScheduleDesk, loaded
from alerts.schedule_table import ScheduleError, drafts, read_csv
from alerts.schedules import Party, Piece, RampedSchedule, ScheduleBook, Step, Version, painted
from alerts.settlement_journal import SettlementJournal
from ingest.audit_chain import Act
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from telemetry.grid import Grid
from telemetry.settings import parse
from tests.alerts.conftest import GRID, RULES_ALONE, Bench

SECOND = 1_000_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
DAY0 = round(datetime(2026, 1, 15, tzinfo=UTC).timestamp()) * SECOND


def at(hour: float) -> int:
    return DAY0 + round(hour * HOUR)


def version(number: int, *pieces: tuple[float, float, float], party: Party = Party.OWN) -> Version:
    made = tuple(Piece(at(start), at(end), mw) for start, end, mw in pieces)
    return Version(number, "AKT-ALT", party, "anna", "mail", DAY0, made)


@pytest.mark.parametrize(
    ("minute", "mw"), [(-60, 100), (54, 100), (55, 100), (57.5, 125), (60, 150), (65, 200), (600, 200)]
)
def test_a_change_ramps_five_minutes_each_way(minute: float, mw: float) -> None:
    schedule = RampedSchedule([Step(at(1), 200), Step(at(0), 100)])
    assert schedule.at(DAY0 + round(minute * MINUTE)) == pytest.approx(mw)


steps = st.lists(
    st.builds(Step, st.integers(0, 48).map(lambda q: DAY0 + q * 5 * MINUTE), st.floats(-1000, 1000)),
    min_size=1,
    max_size=12,
    unique_by=lambda step: step.start,
)


@given(steps, st.integers(-30, 300), st.integers(1, 200))
def test_energy_is_the_integral_of_the_ramped_power(found: list[Step], begin: int, length: int) -> None:
    schedule, start = RampedSchedule(found), DAY0 + begin * MINUTE
    end = start + length * MINUTE
    # ramps begin and end at whole minutes here, and overlap
    sampled = sum((schedule.at(t) + schedule.at(t + MINUTE)) / 2 for t in range(start, end, MINUTE)) / 60
    assert schedule.energy_mwh(start, end) == pytest.approx(sampled, abs=1e-6)
    middle = start + (end - start) // 3
    halves = schedule.energy_mwh(start, middle) + schedule.energy_mwh(middle, end)
    assert halves == pytest.approx(schedule.energy_mwh(start, end), abs=1e-6)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 10), st.integers(1, 3), st.integers(-9, 9)), max_size=8
    )
)
def test_the_newest_version_holds_within_its_validity(given_: list[tuple[int, int, int, int]]) -> None:
    standing = [Step(at(0), 500.0), Step(at(20), 600.0)]
    made = [
        version(n, *((s + i * w, s + (i + 1) * w, mw + i) for i in range(3)))
        for n, (s, w, _, mw) in enumerate(given_)
    ]
    found = painted(standing, made)
    assert [step.start for step in found] == sorted({step.start for step in found})
    for half in range(-2, 160):
        t = at(half / 2) + 7 * MINUTE
        expected = 600.0 if t >= at(20) else 500.0
        for candidate in made:
            for piece in candidate.pieces:
                if piece.start <= t < piece.end:
                    expected = piece.mw
        assert [step.mw for step in found if step.start <= t][-1] == expected


def grid(contract: str = "") -> Grid:
    return parse(GRID + contract, "grid.toml", Grid)


CONTRACT = """
[[contract]]
id = "UZ-AZ"
transit_area = "KZ"
entry = ["SHY-TAS"]
exit = ["AKT-ALT"]
loss_share = 0.03
schedule = [{ start = 2023-01-01T00:00:00Z, mw = 300.0 }]
"""

HEAD = "tie,start,end,mw\n"
GOOD = "AKT-ALT,2026-01-15T00:00Z,2026-01-15T01:00Z,800"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["s.csv: is empty (begin with the line tie,start,end,mw)"]),
        (HEAD, ["no rows"]),
        ("start,end,mw\n", ["line 1: column tie is missing (add it: tie,start,end,mw, or give --tie)"]),
        ("tie,start,end,kW\n", ["line 1: kw: wrong unit: powers are in MW (multiply the values by 0.001"]),
        ("tie,start,end,mwh\n", ["an energy where a power in MW is due"]),
        ("tie,start,end,mw,mw\n", ["line 1: mw: stands there twice"]),
        (
            "tie,start,ende,mw\n",
            ['line 1: ende: unknown column (did you mean "end"?)', "column end is missing"],
        ),
        (HEAD + GOOD + ",5", ["line 2: 5 cells, but 4 columns (write decimals with a point"]),
        (HEAD + GOOD.replace("AKT-ALT", "AKT-AL"), ['line 2: tie = "AKT-AL"', 'did you mean "AKT-ALT"?']),
        (HEAD + GOOD.replace("01:00Z", "01:00"), ['line 2: end = "2026-01-15T01:00": has no time zone']),
        (HEAD + GOOD.replace("01:00Z", "01:00:30Z"), ["line 2: end", "not a whole minute"]),
        (HEAD + GOOD.replace("2026-01-15T00:00Z", "yesterday"), ['line 2: start = "yesterday": not a date']),
        (HEAD + GOOD.replace("2026-01-15T00:00Z", "1926-01-15T00:00Z"), ["check the year"]),
        (HEAD + GOOD.replace("00:00Z", "02:00Z"), ["line 2: end = 2026-01-15T01:00Z: not after the start"]),
        (
            HEAD + GOOD.replace(",800", ",800000"),
            ["net transfer capacity of AKT-ALT is 1000 MW (if it is in kW"],
        ),
        (HEAD + GOOD.replace(",800", ",-1201"), ["line 2: mw = -1201: impossible"]),
        (HEAD + GOOD.replace(",800", ",800 MW"), ["carries a unit (MW)"]),
        (HEAD + GOOD.replace(",800", ",nan"), ['line 2: mw = "nan": not a number']),
        (HEAD + GOOD.replace(",800", ",1e9"), ['line 2: mw = "1e9": not a number']),
        (HEAD + GOOD.replace("AKT-ALT", "UZ-AZ").replace(",800", ",-5"), ["below 0"]),
        (
            f"{HEAD}{GOOD}\n{GOOD.replace('00:00Z', '00:30Z')}\n",
            ["line 3: start = 2026-01-15T00:30Z: overlaps line 2, which lasts until 2026-01-15T01:00Z"],
        ),
        (
            f"{HEAD}{GOOD}\n\nAKT-ALT,2026-01-15T01:15Z,2026-01-15T02:00Z,700\n",
            ["line 4: start = 2026-01-15T01:15Z: leaves a gap after line 2", "begin at 2026-01-15T01:00Z"],
        ),
        (
            f"{HEAD}{GOOD.replace('AKT-ALT', 'X')}\n{GOOD.replace('01:00Z', '')}\n",
            ["2 problems in the schedule", "line 2: tie", "line 3: end"],
        ),
    ],
)
def test_a_wrong_table_is_refused_with_place_and_fix(text: str, told: list[str]) -> None:
    with pytest.raises(ScheduleError) as error:
        drafts(read_csv(text, "s.csv"), "s.csv", grid(CONTRACT))
    for part in told:
        assert part in str(error.value)


def test_tables_as_spreadsheets_write_them() -> None:
    text = (
        "\ufeffMW;Start;End;Tie\r\n810,5;x;y;SHY-TAS\r\n"
        "700.5;2026-01-15T06:00:00+05:00;2026-01-15T07:00:00+05:00;AKT-ALT\r\n"
        "1100;2026-01-15T05:00:00+05:00;2026-01-15T06:00:00+05:00;AKT-ALT\r\n"
    )
    (found,) = drafts(read_csv(text, "s.csv", "AKT-ALT"), "s.csv", grid())
    assert found.pieces == (Piece(at(0), at(1), 1100), Piece(at(1), at(2), 700.5))
    assert found.above_ntc == ("line 4",), "above the capacity, but not impossible"
    alone = read_csv(f"start,end,mw\n{GOOD.partition(',')[2]}", "s.csv", "AKT-ALT")
    assert drafts(alone, "s.csv", grid())[0].pieces == (Piece(at(0), at(1), 800),)
    with pytest.raises(ScheduleError, match="no rows for MGC-SAM"):
        read_csv(HEAD + GOOD, "s.csv", "MGC-SAM")


@given(
    st.text(st.characters(codec="utf-8"), max_size=200) | st.from_regex(r"tie,start,end,mw\n(.{0,30}\n){0,3}")
)
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ScheduleError):
        drafts(read_csv(text, "s.csv"), "s.csv", grid())


@pytest.mark.parametrize(
    ("change", "key", "fix"),
    [
        (('transit_area = "KZ"', 'transit_area = "K"'), "contract[0].transit_area", 'did you mean "KZ"?'),
        (('entry = ["SHY-TAS"]', 'entry = ["SHY"]'), "contract[0].entry[0]", 'did you mean "SHY-TAS"?'),
        (('exit = ["AKT-ALT"]', 'exit = ["MGC-SAM"]'), "contract[0].exit[0]", "valid: AKT-ALT, SHY-TAS"),
        (('exit = ["AKT-ALT"]', 'exit = ["SHY-TAS"]'), "contract[0].exit[0]", "name another tie"),
        (("mw = 300.0", "mw = -300.0"), "contract[0].schedule[0].mw", "swap them"),
        (('id = "UZ-AZ"', 'id = "AKT-ALT"'), "contract[0].id", "give it another id"),
    ],
)
def test_a_contract_that_cannot_be(change: tuple[str, str], key: str, fix: str) -> None:
    (problem,) = grid(CONTRACT.replace(*change)).problems("grid.toml")
    assert problem.key == key
    assert fix in problem.fix


async def test_versions_are_checked_audited_durable_and_then_in_force(tmp_path: Path) -> None:
    clock, acts, changed = ManualClock(DAY0), list[Act](), list[Version]()
    refuse = False

    async def audit(act: Act) -> None:
        if refuse:
            raise StorageError("disk full")
        acts.append(act)

    async with SettlementJournal(tmp_path / "settlement.sqlite") as journal:
        book = await loaded(journal, grid(), clock.now_ns())
        desk = ScheduleDesk(book, journal, grid, clock, audit=audit, changed=changed.append)
        rows = read_csv(HEAD + GOOD, "s.csv")
        with pytest.raises(ScheduleError):
            await desk.post([rows[0]._replace(mw="?")], "s.csv", party=Party.OWN, who="anna")
        refuse = True
        with pytest.raises(StorageError):
            await desk.post(rows, "s.csv", party=Party.OWN, who="anna")
        assert not await desk.versions(), "what is not audited is not done"
        refuse = False
        agreed = book.of("AKT-ALT")
        await desk.post([rows[0]._replace(mw="650")], "s.csv", party=Party.OWN, who="anna")
        await desk.post(
            rows, "s.csv", party=Party.COUNTERPART, who="anna", author="AzerEnerji", source="mail"
        )
        assert (agreed.at(at(0.5)), agreed.at(at(2)), agreed.revision) == (650, 800, 1)
        assert agreed.energy_mwh(at(0.5), at(1)) == pytest.approx(325 + 5 / 60 * 37.5, abs=1e-6)
        assert [v.number for v in changed] == [1, 2]
        outcomes = [(act.action, act.subject, act.outcome) for act in acts]
        assert outcomes == [("schedule", "s.csv", "refused"), *2 * [("schedule", "AKT-ALT", "done")]]
    async with SettlementJournal(tmp_path / "settlement.sqlite") as journal:
        book = await loaded(journal, grid(), clock.now_ns())
        desk = ScheduleDesk(book, journal, grid, clock, audit=audit)
        assert book.of("AKT-ALT").at(at(0.5)) == 650, "a restart forgets no version"
        held = book.holding("AKT-ALT", at(0.5))
        assert held is not None
        assert (held.number, book.holding("AKT-ALT", at(1))) == (1, None)
        assert book.steps("AKT-ALT", Party.COUNTERPART)[1] == Step(at(0), 800)
        (taken,) = await desk.post(rows, "t.csv", party=Party.OWN, who="anna")
        assert [v.number for v in await desk.versions("AKT-ALT")] == [3, 2, 1]
        assert [desk.holds(v) for v in await desk.versions()] == [True, True, False]
        assert taken.number == 3


async def test_another_version_is_judged_at_once(bench: Bench) -> None:
    limits = '{"limits": [{"priority": "high", "mw": 60, "pct_ntc": 1, "on_s": 0}]}'
    alerts = f'{{"R1": {limits}, {RULES_ALONE[1:]}'
    bench.settings = AlertsSettings.model_validate_json(alerts)
    bench.schedules = ScheduleBook(bench.site.grid)
    async with bench.running() as desk:
        await bench.run(70)
        assert not desk.active()
        now = bench.clock.now_ns()
        piece = Piece(now - HOUR, now + HOUR, 700.0)
        bench.schedules.add(Version(1, "AKT-ALT", Party.OWN, "a", "b", now, (piece,)))
        bench.engine.reschedule("AKT-ALT")
        await bench.run(5)  # the watermark; the whole window of a minute is compared anew
        (alarm,) = desk.active()
        assert (alarm.key, alarm.priority) == ("R1/AKT-ALT", Priority.HIGH)
        assert alarm.value == pytest.approx(100, abs=1)
