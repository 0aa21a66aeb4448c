"""Reload: the files are read again, compared with what runs, and what differs is applied and audited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import structlog

from greenbridge.difference import Difference, applicable, difference
from greenbridge.settings import Configuration, load
from ingest.audit_chain import Act, AuditEntry
from telemetry.errors import GreenbridgeError
from telemetry.site import Site

log = structlog.get_logger(__name__)

ACTION = "reload"
_SHOWN = 4000
"""Characters of a difference or of an error that the audit keeps."""


class Running(Protocol):
    """What can be changed while it runs; :class:`greenbridge.application.Application`."""

    configuration: Configuration
    site: Site

    async def apply(
        self, wanted: Configuration, difference: Difference, record: Callable[[], Awaitable[object]]
    ) -> None:
        """Brings another configuration into effect, or raises and changes nothing."""
        ...


class Audit(Protocol):
    """Where it is written down who changed what; :class:`ingest.audit.AuditLog`."""

    async def append(self, act: Act) -> AuditEntry:
        """Makes an act durable."""
        ...


class Reloader:
    """Reads the configuration of a running site again, one reload at a time.

    Parameters
    ----------
    running
        What runs.
    environment
        Variables of the process, as they were when it started.
    audit
        Where each reload is written down, also a refused one.
    show
        Told when the site has changed.

    """

    def __init__(
        self,
        running: Running,
        environment: Mapping[str, str],
        audit: Audit,
        show: Callable[[Site], Awaitable[None]],
    ) -> None:
        self._running = running
        self._environment = environment
        self._audit = audit
        self._show = show
        self._lock = asyncio.Lock()

    @property
    def file(self) -> str:
        """Main file of the configuration that runs."""
        return self._running.configuration.file

    async def look(self, who: str, *, only: bool = False) -> tuple[Difference, str]:
        """What a reload would change now, and the digest of the files' content.

        Parameters
        ----------
        who
            For the audit, should it be refused.
        only
            Nothing is meant to be changed: a refusal is not for the audit.

        Raises
        ------
        ConfigError
            The files are faulty.

        """
        async with self._lock:
            try:
                _, found, digest = await self._compared()
            except GreenbridgeError as error:
                if not only:
                    await self._refused(who, error)
                raise
        return found, digest

    async def reload(self, who: str, digest: str = "") -> Difference:
        """Applies what differs.

        Parameters
        ----------
        who
            For the audit.
        digest
            Of the content that was looked at; empty to apply whatever is there.

        Raises
        ------
        ConfigError
            The files are faulty, or a part cannot be prepared; nothing was changed.
        GreenbridgeError
            The content has changed since it was looked at, or the reload cannot be audited; nothing was
            changed.

        """
        async with self._lock:
            try:
                return await self._reload(who, digest)
            except GreenbridgeError as error:
                await self._refused(who, error)
                raise

    async def _refused(self, who: str, error: GreenbridgeError) -> None:
        log.error("reload_refused", who=who, error=str(error))
        await self._audit.append(Act(who, ACTION, self.file, "refused", {"error": str(error)[:_SHOWN]}))

    async def _reload(self, who: str, digest: str) -> Difference:
        wanted, found, actual = await self._compared()
        if digest and digest != actual:
            raise GreenbridgeError("the files were changed after they were compared; compare them again")
        if not found.changes:
            log.info("reload_without_change", who=who, needs_restart=[str(c) for c in found.needs_restart])
            return found
        act = Act(who, ACTION, self.file, "done", {"difference": found.text()[:_SHOWN], "content": actual})
        log.info("reload_begins", who=who, changes=[str(change) for change in found.changes])
        await self._running.apply(
            applicable(self._running.configuration, wanted), found, lambda: self._audit.append(act)
        )
        if found.site:
            await self._show(self._running.site)
        log.info("reload_done", who=who, needs_restart=[str(change) for change in found.needs_restart])
        return found

    async def _compared(self) -> tuple[Configuration, Difference, str]:
        wanted = await asyncio.to_thread(load, self.file, self._environment)
        return wanted, difference(self._running.configuration, wanted), _digest(wanted)

    async def answer(self, request: dict[str, Any], who: str) -> dict[str, Any]:
        """Answers a command that came over the control socket.

        Raises
        ------
        GreenbridgeError
            The request is not one of those that there are, or is refused.

        """
        match request:
            case {"command": "reload", "file": str(file)} if file and not _same(file, self.file):
                raise GreenbridgeError(f"the process that runs there reads {self.file}, not {file}")
            case {"command": "reload", "apply": False}:
                found, digest = await self.look(who, only=request.get("dry_run") is True)
            case {"command": "reload", "apply": True, "digest": str(digest)}:
                found = await self.reload(who, digest)
            case _:
                raise GreenbridgeError(f"there is no command {str(request.get('command'))[:80]!r}")
        return {"difference": found.document(), "text": found.text(), "digest": digest}


def _same(named: str, file: str) -> bool:
    """Whether a file is the main file, or the directory that holds it."""
    path, main = Path(named), Path(file).resolve()
    return path.resolve() in {main, main.parent}


def _digest(configuration: Configuration) -> str:
    """Of the content of a configuration, however its files are laid out."""
    digest = sha256(configuration.settings.model_dump_json().encode())
    digest.update(configuration.grid.model_dump_json().encode())
    for device in configuration.devices:
        digest.update(device.model_dump_json().encode())
    for name in sorted(configuration.profiles):
        digest.update(configuration.profiles[name].model_dump_json().encode())
    return digest.hexdigest()
