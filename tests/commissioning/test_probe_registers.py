"""The scan of registers against devices whose map is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.codec import Request
from commissioning.modbus.registers import NoSuchTableError, RegisterScan, effort
from commissioning.modbus.target import Span
from commissioning.modbus.walk import Reply
from telemetry.errors import UnavailableError
from telemetry.profiles import RegisterTable


class Device:
    """Answers a read if every address is there and it is not too long."""

    def __init__(self, present: set[int], most: int = 125, absent: int = 2) -> None:
        self.present = present
        self.most = most
        self.absent = absent
        self.asked: list[Span] = []

    def reply(self, request: Request) -> Reply:
        span = Span(request.address, request.count)
        self.asked.append(span)
        if span.count > self.most:
            return Reply(code=3)
        if not self.present.issuperset(range(span.start, span.end)):
            return Reply(code=self.absent)
        return Reply(bytes(2 * span.count))


def scanned(device: Device, within: Span, most: int = 125, limit: int = 100_000) -> RegisterScan:
    scan = RegisterScan(1, RegisterTable.HOLDING, within, most, limit)
    walk = scan.walk()
    try:
        query = next(walk)
        while True:
            assert isinstance(query, Request)
            query = walk.send(device.reply(query))
    except StopIteration:
        return scan


def addresses(spans: list[Span]) -> set[int]:
    return {address for span in spans for address in range(span.start, span.end)}


@given(
    present=st.sets(st.integers(900, 1400), max_size=200),
    start=st.integers(850, 1000),
    count=st.integers(1, 450),
    most=st.integers(1, 125),
    takes=st.integers(1, 125),
    absent=st.sampled_from([2, 3, 4]),
)
def test_exactly_what_is_there_is_found(
    present: set[int], start: int, count: int, most: int, takes: int, absent: int
) -> None:
    device, within = Device(present, takes, absent), Span(start, count)
    scan = scanned(device, within, most)
    assert addresses(scan.found) == present & set(range(within.start, within.end))
    assert scan.found == sorted(scan.found)
    assert all(one.end < two.start for one, two in zip(scan.found, scan.found[1:], strict=False))
    assert scan.unresolved == 0
    assert scan.widest <= min(most, takes)
    needed = effort(within, most, 100_000)
    assert needed.least <= scan.requests <= needed.most


@given(present=st.sets(st.integers(0, 1000)), limit=st.integers(1, 60))
def test_a_scan_that_is_ended_early_says_what_it_does_not_know(present: set[int], limit: int) -> None:
    device = Device(present)
    scan = scanned(device, Span(0, 1000), limit=limit)
    assert scan.requests <= limit
    assert addresses(scan.found) <= present
    refused = {span.start for span in device.asked if span.count == 1 and span.start not in present}
    assert scan.unresolved == 1000 - len(addresses(scan.found)) - len(refused)
    assert ("not resolved" in scan.text()) == (scan.unresolved > 0)


def test_the_edges_of_a_map_come_before_the_empty_rest() -> None:
    """A meter with 216 registers in 65536: its exact range is known after a small part of the whole."""
    device = Device(set(range(2999, 3215)))
    scan = scanned(device, Span(0, 65536), limit=560)
    assert scan.found == [Span(2999, 216)]


def test_no_address_is_asked_twice_in_reads_of_one_size() -> None:
    device = Device({5, 6, 7, 300})
    scanned(device, Span(0, 400))
    assert len(device.asked) == len(set(device.asked))


def test_effort_is_exact_where_everything_or_nothing_is_there() -> None:
    within = Span(0, 1300)
    needed = effort(within, 125, 100_000)
    assert scanned(Device(set(range(1300))), within).requests == needed.least == 11
    assert scanned(Device(set()), within).requests == needed.most
    assert effort(within, 125, 50).most == 50
    assert "11 to 50 requests" in effort(within, 125, 50).text(0.02, 0.02)


@pytest.mark.parametrize(
    ("code", "error"), [(1, NoSuchTableError), (10, UnavailableError), (11, UnavailableError)]
)
def test_a_device_without_the_table_or_behind_no_gateway_ends_the_scan(
    code: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"exception {code}"):
        scanned(Device(set(), absent=code), Span(0, 400))


def test_silence_is_told_and_not_asked_again() -> None:
    scan = RegisterScan(1, RegisterTable.HOLDING, Span(0, 10), 5, 100)
    walk = scan.walk()
    next(walk)
    walk.send(Reply(silent=True))
    with pytest.raises(StopIteration):
        walk.send(Reply(bytes(10)))
    assert scan.found == [Span(5, 5)]
    assert scan.unresolved == 5
    assert "no answer to reads of 0-4" in scan.text()
