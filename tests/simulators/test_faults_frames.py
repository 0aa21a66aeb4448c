"""Where frames end, and how they are spoilt, against pymodbus's own frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from simulators.faults.frames import RTU, TCP, UNFRAMED, FrameCutter, Framing, crc16


def rtu(body: bytes) -> bytes:
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


READ = rtu(bytes([1, 3, 8]) + bytes(range(8)))
EXCEPTION = rtu(bytes([1, 0x83, 2]))
IDENTITY = rtu(bytes([1, 43, 14, 1, 0x83, 0, 0, 2, 0, 3]) + b"abc" + bytes([1, 2]) + b"xy")
WRITTEN = rtu(bytes([1, 6, 0, 1, 0, 2]))
TCP_READ = bytes([0, 7, 0, 0, 0, 11, 1, 3, 8]) + bytes(range(8))
TCP_EXCEPTION = bytes([0, 8, 0, 0, 0, 3, 1, 0x83, 2])
STREAMS = [
    (TCP, [TCP_READ, TCP_EXCEPTION, TCP_READ]),
    (RTU, [READ, EXCEPTION, IDENTITY, WRITTEN, READ]),
]


@pytest.mark.parametrize(("framing", "frames"), STREAMS, ids=["tcp", "rtu"])
def test_a_stream_is_cut_where_its_frames_end(framing: Framing, frames: list[bytes]) -> None:
    whole = b"".join(frames)
    assert FrameCutter(framing).feed(whole) == frames
    bytewise = FrameCutter(framing)
    assert [f for k in range(len(whole)) for f in bytewise.feed(whole[k : k + 1])] == frames


@given(st.lists(st.binary(min_size=1, max_size=300)), st.sampled_from([TCP, RTU, UNFRAMED]))
def test_whatever_comes_nothing_is_added_or_lost(chunks: list[bytes], framing: Framing) -> None:
    cutter, whole = FrameCutter(framing), b"".join(chunks)
    out = b"".join(frame for chunk in chunks for frame in cutter.feed(chunk))
    assert whole.startswith(out)
    assert framing is not UNFRAMED or out == whole


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_serial_lines(data: bytes) -> None:
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_a_spoilt_serial_frame_has_a_checksum_that_fits() -> None:
    assert RTU.shortened(READ) == rtu(bytes([1, 3, 6]) + bytes(range(6)))
    assert RTU.refused(READ, 6) == rtu(bytes([1, 0x83, 6]))
    assert RTU.misnumbered(READ) == READ
    assert RTU.shortened(EXCEPTION) == EXCEPTION[:-1]
    assert TCP.shortened(TCP_READ) == bytes([0, 7, 0, 0, 0, 9, 1, 3, 6]) + bytes(range(6))
    assert TCP.misnumbered(TCP_READ)[:2] == bytes([0, 6])


@given(st.binary(max_size=12), st.sampled_from([TCP, RTU, UNFRAMED]))
def test_any_bytes_can_be_spoilt(data: bytes, framing: Framing) -> None:
    assert len(framing.shortened(data)) <= len(data)
    assert isinstance(framing.refused(data, 6), bytes)
    assert isinstance(framing.misnumbered(data), bytes)
