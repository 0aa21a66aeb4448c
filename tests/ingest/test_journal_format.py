from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ingest.journal.format import DamagedRecordError, decode, encode
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from tests.ingest.batches import batch

int64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def records(draw: st.DrawFn) -> JournalRecord:
    n = draw(st.integers(0, 5))
    one = ReadingBatch.of(
        draw(st.text(st.characters(codec="utf-8"), max_size=20)),
        draw(int64),
        draw(int64),
        draw(int64),
        point=draw(hnp.arrays(np.uint32, n)),
        t_source=draw(hnp.arrays(np.int64, n)),
        value=draw(hnp.arrays(np.float64, n)),
        quality=draw(hnp.arrays(np.uint8, n)),
    )
    return JournalRecord(draw(st.integers(1, 2**63)), draw(int64), draw(st.integers(0, 2**63)), one)


@given(records())
def test_a_record_survives_its_bytes(record: JournalRecord) -> None:
    again = decode(encode(record))
    assert (again.offset, again.t_committed, again.readings_before) == (
        record.offset,
        record.t_committed,
        record.readings_before,
    )
    assert again.batch.same_as(record.batch)


@given(records(), st.data())
def test_every_changed_bit_and_every_cut_is_noticed(record: JournalRecord, data: st.DataObject) -> None:
    whole = encode(record)
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(whole)
    changed[at] ^= 1 << bit
    for damaged in (bytes(changed), whole[:at], whole + b"\0"):
        with pytest.raises(DamagedRecordError):
            decode(damaged)


def test_the_layout_is_that_of_the_documentation() -> None:
    data = encode(JournalRecord(7, 8, 9, batch([1.5], source="ab", session=-1, seq=3)))
    assert data[:4] == b"GBR\x01"
    assert data[4:10] == bytes([2, 0, 1, 0, 0, 0])
    assert [int.from_bytes(data[i : i + 8], "little") for i in (10, 18, 26)] == [7, 8, 9]
    assert data[34:42] == b"\xff" * 8
    assert data[58:60] == b"ab"
    assert len(data) == 58 + 2 + 21 + 4
