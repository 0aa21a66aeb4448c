"""A damaged file of the state directory stops the start with the command that gets it going again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from alerts.journal import AlarmJournal
from alerts.settlement_journal import SettlementJournal
from console.sessions import Sessions
from ingest.audit import AuditLog
from ingest.config import DeadLetterSettings
from ingest.databases import set_aside
from ingest.deadletters import DeadLetters
from ingest.journal.cursors import Cursors
from ingest.journal.points import declare
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from telemetry.points import PointKey

KINDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {
    "alarm journal": AlarmJournal,
    "settlement journal": SettlementJournal,
    "sessions": lambda path: Sessions(path, ManualClock()),
    "audit": lambda path: AuditLog(path, ManualClock()),
    "dead-letter store": lambda path: DeadLetters(path, DeadLetterSettings()),
    "cursor file": Cursors,
}


def overwritten(path: Path) -> None:
    """Somebody wrote something else into it."""
    path.write_bytes(b"\xff" * 8192)


def torn(path: Path) -> None:
    """All but its header is garbage."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


@pytest.mark.parametrize("damage", [overwritten, torn])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_message_names_the_file_and_a_command_that_recovers(
    tmp_path: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "with space" / "file.sqlite"
    path.parent.mkdir()
    async with KINDS[kind](path):
        pass
    damage(path)
    with pytest.raises(StorageError, match="damaged") as caught:
        async with KINDS[kind](path):
            pass
    message = str(caught.value)
    assert message.startswith(f"{kind} {path}")
    command = message.split("`")[1]
    assert command == set_aside(path)
    await asyncio.to_thread(subprocess.run, ["/bin/sh", "-c", command], check=True)
    async with KINDS[kind](path):
        pass
    assert (path.parent / "damaged" / path.name).exists()


def test_a_damaged_registry_comes_only_from_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "points.sqlite"
    declare(path, [PointKey("meter", "TotW", "MW")])
    torn(path)
    with pytest.raises(StorageError, match="greenbridge restore BACKUP --state NEW"):
        declare(path)
