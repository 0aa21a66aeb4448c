from __future__ import annotations

import ast
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commissioning.modbus
from adapters.modbus import codec
from adapters.modbus.codec import (
    READ_ONLY,
    DeviceRefusedError,
    Doubt,
    Frame,
    FunctionCode,
    MbapFramer,
    ProtocolDoubtError,
    Query,
    Request,
    framed,
    holds_beginning,
    may_begin,
    verified_data,
)
from adapters.modbus.identification import IdentificationQuery
from adapters.modbus.rtu import rtu_framed
from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable

ALLOWED_WRITES = [
    ("prober.py", "told.send(reply.data if reply.ok else None)"),  # to a generator
    ("sheet.py", "walk.send(reply.data if reply.ok else None)"),  # to a generator
    ("prober.py", "walk.send(await self.ask(query, patient=patient))"),  # to a generator
    ("_reader.py", "walk.send(answer)"),  # to a generator
    ("_receiver.py", "self._transport.write(self._framed(flight, burst.next))"),
    ("_receiver.py", "self._transport.write(self._sent(flight))"),
    ("_receiver.py", "frame.transaction.to_bytes(2, 'big')"),  # to be compared with
    ("_serial.py", "self._line.write(bytes(data))"),
    ("codec.py", "(query.transaction if transaction is None else transaction).to_bytes(2, 'big')"),
    ("codec.py", "_BEHIND.pack(0, 1 + len(pdu) + more, unit)"),
    ("codec.py", "_START.pack(query.transaction, 0)"),  # to be compared with
    ("codec.py", "_READ.pack(function, self.address, self.count)"),
]
identifications = st.builds(
    IdentificationQuery,
    transaction=st.integers(0, 0xFFFF),
    unit=st.integers(0, 0xFF),
    category=st.integers(1, 3),
    first=st.integers(0, 0xFF),
)
requests = st.builds(
    Request,
    transaction=st.integers(0, 0xFFFF),
    unit=st.integers(0, 0xFF),
    table=st.sampled_from([RegisterTable.HOLDING, RegisterTable.INPUT]),
    address=st.integers(0, 0xFFFF - 125),
    count=st.integers(1, 125),
)


def frame_bytes(transaction: int, unit: int, pdu: bytes, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, 1 + len(pdu), unit) + pdu


def reply_pdu(request: Request) -> bytes:
    data = bytes(i % 256 for i in range(2 * request.count))
    return bytes([request.function, len(data)]) + data


@given(requests)
def test_a_request_is_the_frame_of_the_specification(request: Request) -> None:
    expected = struct.pack(">BHH", request.function, request.address, request.count)
    assert request.encode() == frame_bytes(request.transaction, request.unit, expected)


@given(st.one_of(requests, identifications))
def test_no_question_carries_a_function_code_that_writes(query: Query) -> None:
    assert framed(query)[7] == query.function
    assert rtu_framed(query)[1] == query.function
    assert query.function in {1, 2, 3, 4, 43}


class Disguised:
    """A question that was tampered with: function code 6 writes a register."""

    unit, transaction, function = 1, 1, FunctionCode.READ_COILS

    asks = b"\0\0\0\6\1\x06\0\0\0\1"
    answers = b""

    def numbered(self, transaction: int) -> Query:
        return self

    def pdu(self) -> bytes:
        return b"\x06\0\0\0\1"

    def accepted(self, pdu: bytes) -> bytes:
        return pdu


@pytest.mark.parametrize("frame", [framed, rtu_framed])
def test_a_question_that_would_write_is_not_framed(frame: Callable[[Query], bytes]) -> None:
    with pytest.raises(ValueError, match="only reads"):
        frame(Disguised())


def test_there_is_no_code_that_could_write_to_a_device() -> None:
    """All bytes are made in these few places; what goes out passed one of the two framings, which refuse."""
    assert {code.value for code in FunctionCode} == {1, 2, 3, 4, 43}
    assert set(codec.FUNCTION_OF_TABLE.values()) | {FunctionCode.READ_DEVICE_IDENTIFICATION} == READ_ONLY
    senders = {
        "pack",
        "pack_into",
        "to_bytes",
        "write",
        "writelines",
        "sendall",
        "send",
        "sendto",
        "send_bytes",
    }
    adapter, probe = Path(codec.__file__).parent, Path(commissioning.modbus.__path__[0])
    found = [
        (path.name, ast.unparse(node))
        for path in [*adapter.rglob("*.py"), *probe.rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in senders
    ]
    assert sorted(found) == sorted(ALLOWED_WRITES)


@pytest.mark.parametrize(
    ("transaction", "unit", "address", "count"),
    [(65536, 1, 0, 1), (1, 256, 0, 1), (1, 1, 0, 0), (1, 1, 0, 126), (1, 1, 65535, 2), (1, 1, -1, 1)],
)
def test_an_impossible_request_cannot_be_made(transaction: int, unit: int, address: int, count: int) -> None:
    with pytest.raises(ValueError, match="not"):
        Request(transaction, unit, RegisterTable.HOLDING, address, count)


frames = st.builds(
    Frame,
    transaction=st.integers(0, 0xFFFF),
    unit=st.integers(0, 0xFF),
    pdu=st.binary(min_size=2, max_size=253),
)


def outcome(data: bytes, cuts: list[int]) -> list[Frame | Doubt]:
    """Frames of a stream that arrives in pieces, ending with the doubt if there is one."""
    framer = MbapFramer()
    got: list[Frame | Doubt] = []
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    try:
        for start, end in pairwise(edges):
            framer.feed(data[start:end])
            while (frame := framer.next_frame()) is not None:
                got.append(frame)
    except ProtocolDoubtError as doubt:
        got.append(doubt.reason)
    return got


@given(st.lists(frames, max_size=4), st.binary(max_size=12), st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_a_stream_gives_the_same_frames(sent: list[Frame], junk: bytes, cuts: list[int]) -> None:
    data = b"".join(frame_bytes(f.transaction or 0, f.unit, f.pdu) for f in sent) + junk
    whole = outcome(data, [])
    assert whole[: len(sent)] == sent
    assert outcome(data, list(range(len(data)))) == whole
    assert outcome(data, cuts) == whole


@given(st.binary(max_size=600))
def test_garbage_raises_nothing_but_the_named_error_and_is_not_kept(data: bytes) -> None:
    framer = MbapFramer()
    framer.feed(data)
    try:
        while framer.next_frame() is not None:
            pass
    except ProtocolDoubtError:
        return
    assert framer.pending < 260


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"\0\1\0\1", Doubt.PROTOCOL),
        (b"\0\1\0\0\0\2", Doubt.LENGTH),
        (b"\0\1\0\0\0\xff", Doubt.LENGTH),
        (b"\0\1\0\0\xff\xff", Doubt.LENGTH),
    ],
)
def test_an_absurd_header_is_known_at_once(header: bytes, reason: Doubt) -> None:
    framer = MbapFramer()
    framer.feed(header)
    with pytest.raises(ProtocolDoubtError) as caught:
        framer.next_frame()
    assert caught.value.reason is reason


@given(requests)
def test_the_right_reply_is_accepted(request: Request) -> None:
    pdu = reply_pdu(request)
    assert verified_data(request, Frame(request.transaction, request.unit, pdu)) == pdu[2:]


@given(requests, frames)
def test_a_frame_that_is_not_the_reply_never_yields_data(request: Request, frame: Frame) -> None:
    try:
        data = verified_data(request, frame)
    except GreenbridgeError:
        return
    assert (frame.transaction, frame.unit) == (request.transaction, request.unit)
    assert frame.pdu[:2] == bytes([request.function, 2 * request.count])
    assert len(data) == 2 * request.count


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transaction": 0}, Doubt.TRANSACTION),
        ({"transaction": 8}, Doubt.TRANSACTION),
        ({"unit": 2}, Doubt.UNIT),
        ({"pdu": bytes([4, 4, 0, 0, 0, 0])}, Doubt.FUNCTION),
        ({"pdu": bytes([0x84, 2])}, Doubt.FUNCTION),
        ({"pdu": bytes([3, 2, 0, 0])}, Doubt.BYTE_COUNT),
        ({"pdu": bytes([3, 0])}, Doubt.BYTE_COUNT),
        ({"pdu": bytes([3, 40, *range(40)])}, Doubt.BYTE_COUNT),
        ({"pdu": bytes([3, 4, 0, 0])}, Doubt.LENGTH),
        ({"pdu": bytes([3, 4, 0, 0, 0, 0, 0, 0])}, Doubt.LENGTH),
        ({"pdu": bytes([0x83, 2, 0])}, Doubt.LENGTH),
    ],
)
def test_pymodbus_tcp_each_deviation_that_it_takes_for_good_is_a_doubt(
    change: dict[str, object], reason: Doubt
) -> None:
    """Among them what a client in wide use takes for good: transaction 0, FC4 for FC3, wrong counts."""
    request = Request(7, 1, RegisterTable.HOLDING, 100, 2)
    values = {"transaction": 7, "unit": 1, "pdu": bytes([3, 4, 0, 0, 0, 0])} | change
    with pytest.raises(ProtocolDoubtError) as caught:
        verified_data(request, Frame(**values))  # type: ignore[arg-type]
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("code", "name"), [(2, "illegal_data_address"), (6, "server_device_busy"), (99, "unknown_exception")]
)
def test_an_exception_reply_is_named(code: int, name: str) -> None:
    request = Request(7, 1, RegisterTable.INPUT, 100, 2)
    with pytest.raises(DeviceRefusedError, match=name) as caught:
        verified_data(request, Frame(7, 1, bytes([0x84, code])))
    assert caught.value.is_address == (code == 2)


QUESTION = Request(0x0107, 3, RegisterTable.HOLDING, 100, 2)
ANSWER = frame_bytes(0x0107, 3, bytes([3, 4, 1, 2, 3, 4]))


@pytest.mark.parametrize("length", range(1, 9))
def test_bytes_that_begin_the_due_reply_may_be_it_and_others_may_not(length: int) -> None:
    assert may_begin(ANSWER[:length], QUESTION)
    wrong = bytearray(ANSWER[:length])
    if length not in {5, 6}:  # the length of the header is judged by the framer
        wrong[length - 1] ^= 1
        assert not may_begin(bytes(wrong), QUESTION)


def test_an_exception_may_be_the_due_reply() -> None:
    assert may_begin(frame_bytes(0x0107, 3, b"\x83\x02")[:8], QUESTION)


@given(st.binary(max_size=60), st.integers(8, len(ANSWER)), st.binary(max_size=60))
def test_a_reply_that_swallowed_the_beginning_of_another_is_told(
    before: bytes, length: int, behind: bytes
) -> None:
    assert holds_beginning(before + ANSWER[:length] + behind, QUESTION)
    other = Request(0x0108, 3, RegisterTable.HOLDING, 100, 2)
    assert not holds_beginning(ANSWER, other)
