import socket
from pathlib import Path
from typing import Any

import duckdb
import pytest

from greenbridge.demo import broker, ports
from greenbridge.demo.ledger import store_facts
from greenbridge.demo.report import Check, TrialReport
from greenbridge.demo.show import readable
from greenbridge.demo.supervisor import Options, demonstration
from telemetry.clock import SystemClock
from telemetry.errors import GreenbridgeError, StorageError


def test_ports_move_together_past_one_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if port > 60000:
            port = port - 600  # leave room above; the assertion below then finds no shift needed
        shift = ports.free_shift([port, port + 1])
        assert shift % 200 == 0
        if port == taken.getsockname()[1]:
            assert shift >= 200


def test_no_free_port_is_an_error_that_names_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda port: False)
    with pytest.raises(GreenbridgeError, match="from 15500 upwards"):
        ports.free_shift([15500])


def test_a_missing_broker_says_which_programs_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_find", lambda name: None)
    with pytest.raises(GreenbridgeError, match="mosquitto is not on PATH"):
        broker.prepare(tmp_path, 1883)


def test_the_bundled_broker_is_found_and_configured_for_persistence(tmp_path: Path) -> None:
    found = broker.prepare(tmp_path / "broker", 1884, prefer="nats-server")
    text = (tmp_path / "broker" / "nats-server.conf").read_text()
    assert found.name == "nats-server"
    assert "jetstream" in text
    assert "port: 1884" in text


async def test_a_second_demonstration_in_the_same_directory_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "demo.lock").write_text('{"pid": 4711, "console": "http://127.0.0.1:15580"}')
    import fcntl  # noqa: PLC0415

    with (tmp_path / "demo.lock").open("a+") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(GreenbridgeError, match=r"process 4711, http://127\.0\.0\.1:15580"):
            async with demonstration(Options(tmp_path), SystemClock()):
                raise AssertionError("it must not start")


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GreenbridgeError, match=r"state directory .* cannot be used: Not a directory"):
        async with demonstration(Options(tmp_path / "file" / "demo"), SystemClock()):
            raise AssertionError("it must not start")


async def test_a_child_that_cannot_run_ends_the_start_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(GreenbridgeError, match=r"greenbridge cannot run:(.|\n)*alerts.webhook"):
        async with demonstration(Options(tmp_path, webhook="not-a-url"), SystemClock()):
            raise AssertionError("it must not start")


def store(path: Path, rows: list[tuple[int, int, int]]) -> Path:
    with duckdb.connect(str(path)) as db:
        for table, part in (("hot", rows[::2]), ("level0:20000", rows[1::2])):
            columns = "point UINTEGER, t_source BIGINT, quality UTINYINT, value DOUBLE"
            db.execute(f'CREATE TABLE "{table}" ({columns})')
            db.executemany(f'INSERT INTO "{table}" VALUES (?, ?, ?, 1)', part)  # noqa: S608 - fixed names
    return path


def test_the_ledger_counts_rows_repeated_keys_and_gaps_of_each_point_by_its_own_period(
    tmp_path: Path,
) -> None:
    second = 1_000_000_000
    bad = 130
    rows = [(1, i * second, 0) for i in (0, 1, 2, 7, 8)] + [(1, 4 * second, bad), (2, 0, 0), (2, 0, 0)]
    rows += [(3, i * second, 0) for i in (0, 5, 10)]
    facts = store_facts(store(tmp_path / "store.duckdb", rows), {1: 1.0, 2: 1.0, 3: 5.0})
    assert facts == {"rows": 11, "points": 3, "keys_twice": 1, "gaps": {"count": 1, "longest_s": 5.0}}
    facts = store_facts(tmp_path / "store.duckdb", {1: 5.0, 3: 1.0})
    assert facts["gaps"] == {"count": 2, "longest_s": 5.0}
    with pytest.raises(StorageError, match="cannot be read"):
        store_facts(tmp_path / "missing.duckdb", {})


NOTIFICATION = (
    '{"event": "alarm_notification", "title": "SHY-TAS: 29 MW", "priority": "high", "level": "warning", '
    '"occasion": "raised", "timestamp": "2026-01-01T10:11:12Z"}'
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"event": "announcement", "text": "a tap", "timestamp": "2026-01-01T10:11:12Z"}',
            "10:11:12  EXERCISE  a tap",
        ),
        (
            NOTIFICATION,
            "10:11:12  ALARM     SHY-TAS: 29 MW (raised, high priority)",
        ),
        (
            '{"event": "poll_failed", "level": "error", "link": "modbus/SHY"}',
            "  ERROR     sim: poll_failed link=modbus/SHY",
        ),
        ('{"event": "bench_ready", "level": "info"}', ""),
        ("not json at all", ""),
        ("[1]", ""),
    ],
)
def test_only_what_matters_is_printed(line: str, shown: str) -> None:
    assert readable("sim", line) == shown


def report(**changes: Any) -> TrialReport:
    values: dict[str, Any] = {
        "seconds": 180.0,
        "devices": {"configured": 190, "seen": 190},
        "conservation": [],
        "rows_in_store": 1,
        "gaps": {"count": 0},
        "latency_ms": {},
        "alarms": [],
        "announcements": [],
        "restarts": {},
        "checks": (Check("one", True, "fine"),),
    }
    return TrialReport(**{**values, **changes})


def test_a_report_holds_only_when_every_check_held_and_there_was_one() -> None:
    assert report().held
    assert not report(checks=()).held
    failed = report(checks=(Check("one", True, ""), Check("two", False, "3 gaps")))
    assert not failed.held
    assert failed.document()["checks"][1] == {"name": "two", "held": False, "detail": "3 gaps"}
    assert "NO  two  3 gaps" in failed.text()
