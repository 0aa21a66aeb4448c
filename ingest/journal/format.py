"""Record format of the journal, version 1; pure. ``README.md`` beside this file documents the layout."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ingest.ports import JournalRecord
from telemetry.batch import POINT_DTYPE, QUALITY_DTYPE, TIME_DTYPE, VALUE_DTYPE, ReadingBatch
from telemetry.errors import GreenbridgeError

FORMAT_VERSION = 1

_MAGIC = b"GBR"
# magic, version, length of the source's name, readings,
# offset, t_committed, readings_before, session, seq, t_received
_HEADER = struct.Struct("<3sBHIQqQqqq")
_CHECKSUM = struct.Struct("<I")
READING_BYTES = sum(t.itemsize for t in (POINT_DTYPE, TIME_DTYPE, VALUE_DTYPE, QUALITY_DTYPE))
"""Size of one reading in a record [B]."""
MAX_SOURCE_BYTES = 0xFFFF


class DamagedRecordError(GreenbridgeError):
    """Stored bytes that are not the record that was written."""


def encode(record: JournalRecord) -> bytes:
    """Bytes of a record.

    Raises
    ------
    ValueError
        The name of the source is longer than 65,535 bytes of UTF-8.

    """
    batch = record.batch
    source = batch.source.encode()
    if len(source) > MAX_SOURCE_BYTES:
        raise ValueError(f"source name of {len(source)} bytes; at most {MAX_SOURCE_BYTES} fit in a record")
    body = b"".join(
        (
            _HEADER.pack(
                _MAGIC,
                FORMAT_VERSION,
                len(source),
                len(batch),
                record.offset,
                record.t_committed,
                record.readings_before,
                batch.session,
                batch.seq,
                batch.t_received,
            ),
            source,
            batch.t_source.astype(TIME_DTYPE, copy=False).tobytes(),
            batch.value.astype(VALUE_DTYPE, copy=False).tobytes(),
            batch.point.astype(POINT_DTYPE, copy=False).tobytes(),
            batch.quality.astype(QUALITY_DTYPE, copy=False).tobytes(),
        )
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode(data: bytes) -> JournalRecord:
    """Record from its bytes; the columns are read-only views of them.

    Raises
    ------
    DamagedRecordError
        The length, the checksum or the header does not fit.

    """
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise DamagedRecordError(f"{len(data)} bytes are shorter than a header")
    body = memoryview(data)[: -_CHECKSUM.size]
    (checksum,) = _CHECKSUM.unpack_from(data, len(body))
    if zlib.crc32(body) != checksum:
        raise DamagedRecordError("checksum does not match")
    (magic, version, source_bytes, count, offset, t_committed, before, session, seq, t_received) = (
        _HEADER.unpack_from(body)
    )
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise DamagedRecordError(f"not a record of version {FORMAT_VERSION}: {bytes(magic)!r}, {version}")
    start = _HEADER.size + source_bytes
    if len(body) != start + count * READING_BYTES:
        raise DamagedRecordError(f"{len(body)} bytes do not hold {count} readings")
    times, values, points, qualities = (
        start,
        start + 8 * count,
        start + 16 * count,
        start + 20 * count,
    )
    batch = ReadingBatch(
        str(body[_HEADER.size : start], "utf-8"),
        session,
        seq,
        t_received,
        np.frombuffer(body, POINT_DTYPE, count, points),
        np.frombuffer(body, TIME_DTYPE, count, times),
        np.frombuffer(body, VALUE_DTYPE, count, values),
        np.frombuffer(body, QUALITY_DTYPE, count, qualities),
    )
    return JournalRecord(offset, t_committed, before, batch)
