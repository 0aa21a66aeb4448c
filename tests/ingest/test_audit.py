from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.audit import AuditLog, entries
from ingest.audit_chain import BEGINNING, Act, AuditEntry, chained, verify
from telemetry.clock import ManualClock
from telemetry.errors import StorageError

ACT = Act(
    "uid 1000 (anna), process 4711", "reload", "greenbridge.toml", "done", {"difference": "+ device m1"}
)


def chain(*acts: Act) -> list[AuditEntry]:
    made: list[AuditEntry] = []
    for i, act in enumerate(acts, 1):
        made.append(chained(i, i * 10, act, made[-1].digest if made else BEGINNING))
    return made


acts = st.builds(
    Act, st.text(), st.text(), st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=3)
)


@given(st.lists(acts, max_size=6))
def test_an_unaltered_chain_holds(made: list[Act]) -> None:
    whole = chain(*made)
    assert verify(whole) == (whole[-1] if whole else None)


@given(st.lists(acts, min_size=1, max_size=5), st.data())
def test_a_change_of_any_entry_is_found(made: list[Act], data: st.DataObject) -> None:
    whole = chain(*made)
    i = data.draw(st.integers(0, len(whole) - 1))
    entry = whole[i]
    forged = data.draw(
        st.sampled_from(
            [
                replace(entry, t=entry.t + 1),
                replace(entry, act=replace(entry.act, who=entry.act.who + "x")),
                replace(entry, act=replace(entry.act, details={**entry.act.details, "new": ""})),
                replace(entry, before="f" * 64),
                replace(entry, digest="f" * 64),
            ]
        )
    )
    if forged == entry:
        return
    with pytest.raises(StorageError, match=f"entry {i + 1} "):
        verify([*whole[:i], forged, *whole[i + 1 :]])


def test_an_entry_that_is_taken_out_or_moved_is_found() -> None:
    whole = chain(ACT, replace(ACT, outcome="refused"), ACT)
    with pytest.raises(StorageError, match="entry 2 is missing"):
        verify([whole[0], whole[2]])
    with pytest.raises(StorageError, match="entry 1 is missing"):
        verify(whole[1:])
    with pytest.raises(StorageError):
        verify([whole[1], whole[0], whole[2]])
    # put in anew with the right number, but what follows knows the old one
    rewritten = chained(2, 20, ACT, whole[0].digest)
    with pytest.raises(StorageError, match="entry 3 is not what was written"):
        verify([whole[0], rewritten, whole[2]])


async def test_acts_are_kept_over_a_restart_in_one_chain(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "audit.sqlite"
    async with AuditLog(file, clock) as audit:
        first = await audit.append(ACT)
    await clock.advance(5)
    async with AuditLog(file, clock) as audit:
        second = await audit.append(replace(ACT, action="acknowledge", details={}))
        assert entries(file) == [first, second]
    assert (first.number, second.number, second.before) == (1, 2, first.digest)
    assert second.t - first.t == 5 * 10**9
    assert verify(entries(file)) == second


async def test_a_file_that_was_edited_is_found(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "audit.sqlite"
    async with AuditLog(file, clock) as audit:
        await audit.append(ACT)
        await audit.append(ACT)
    connection = sqlite3.connect(file)
    connection.execute("UPDATE entry SET who = 'somebody else' WHERE number = 1")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="entry 1 is not what was written"):
        verify(entries(file))


async def test_no_act_without_its_entry(tmp_path: Path, clock: ManualClock) -> None:
    audit = AuditLog(tmp_path / "audit.sqlite", clock)
    with pytest.raises(StorageError, match="not open"):
        await audit.append(ACT)
    async with audit:
        connection = sqlite3.connect(tmp_path / "audit.sqlite")
        connection.execute("DROP TABLE entry")
        connection.close()
        with pytest.raises(StorageError, match="cannot be written"):
            await audit.append(ACT)
    with pytest.raises(StorageError, match="does not exist"):
        entries(tmp_path / "other.sqlite")
