"""The composition root: builds a running greenbridge, opens it to people and commands, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog

from console.server import serving
from console.sessions import Sessions
from greenbridge import control
from greenbridge.alarm_answers import ALARMS, AlarmAnswers
from greenbridge.application import Application, application
from greenbridge.claim import claimed
from greenbridge.ledger_answers import AUDIT, LEDGER, SCHEDULES, LedgerAnswers, ScheduleAnswers
from greenbridge.query_answers import COMMAND as QUERY
from greenbridge.reloading import Reloader
from greenbridge.service import READY, STOPPING, ServiceManager
from greenbridge.settings import Configuration
from greenbridge.user_answers import USERS, UserAnswers
from ingest.audit import AuditLog
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError

log = structlog.get_logger(__name__)

SIGNIN_TOKEN = "GREENBRIDGE_SIGNIN_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with a one-time token that signs in without a user, for demonstrations and trials.

Without it people sign in with a password; as long as there is no user, an address is printed at each start at
which the first one is made.
"""


async def run(configuration: Configuration, clock: Clock, environment: Mapping[str, str]) -> None:
    """Runs a site until cancelled; SIGHUP reads its configuration again.

    Raises
    ------
    GreenbridgeError
        The state directory is in use or damaged, or an address cannot be listened on.

    """
    state = Path(configuration.settings.state_dir)
    manager = ServiceManager(environment, os.getpid())
    async with AsyncExitStack() as stack:
        # from the first moment on: a hang-up ends a process that has no handler for it
        hangup = stack.enter_context(_hangups())
        stack.enter_context(claimed(state))
        audit = await stack.enter_async_context(AuditLog(state / AUDIT, clock))
        running = await stack.enter_async_context(
            application(configuration, state, clock, environment, audit.append)
        )
        stack.callback(log.info, "greenbridge_stopped")
        async with asyncio.TaskGroup() as group:
            group.create_task(running.run(), name="supervisor")
            group.create_task(manager.watch(), name="watchdog")
            # a page that showed no alarms before the stored ones are read would be a false all-clear
            await running.engine.resumed.wait()
            reload = partial(_reload_at_hangups, hangup)
            await _serve(
                running, state, reload, manager=manager, audit=audit, clock=clock, environment=environment
            )


async def _serve(
    running: Application,
    state: Path,
    reload: Callable[[Reloader], Awaitable[None]],
    *,
    manager: ServiceManager,
    audit: AuditLog,
    clock: Clock,
    environment: Mapping[str, str],
) -> None:
    """Serves people and commands until cancelled."""
    console = running.configuration.settings.console
    async with Sessions(
        state / "console.sqlite",
        clock,
        console.session_hours,
        console.token_hours,
        idle_hours=console.idle_hours,
        audit=audit.append,
    ) as sessions:
        given = environment.get(SIGNIN_TOKEN)
        setup = ""
        if given is not None:
            await sessions.offer(given)
        elif not sessions.accounts.users:
            setup = secrets.token_urlsafe()
            sessions.accounts.offer_setup(setup)
        async with serving(console, clock, running.site, running.ports, sessions) as page:
            reloader = Reloader(running, environment, audit, page.show)
            commands = {
                ALARMS: AlarmAnswers(running.desk).answer,
                SCHEDULES: ScheduleAnswers(running.schedules).answer,
                LEDGER: LedgerAnswers(running.settlement, running.settlement.running).answer,
                "reload": reloader.answer,
                "backup": running.answer_backup,
                "export": running.answer_export,
                QUERY: running.answer_query,
                USERS: UserAnswers(sessions.accounts).answer,
            }
            async with control.listening(state, partial(control.routed, commands)):
                if setup:
                    # to the person at the terminal only, never into the log
                    print(  # noqa: T201
                        f"Make the first user at {page.url}/setup?token={setup}", file=sys.stderr, flush=True
                    )
                running.status.not_ready = ""
                site = running.site
                log.info("greenbridge_started", site=site.name, devices=len(site.devices), console=page.url)
                manager.tell(READY)
                try:
                    await reload(reloader)
                finally:
                    manager.tell(STOPPING)


@contextlib.contextmanager
def _hangups() -> Iterator[asyncio.Event]:
    """An event that each SIGHUP sets."""
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        yield hangup
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _reload_at_hangups(hangup: asyncio.Event, reloader: Reloader) -> None:
    """Reads the configuration again at each SIGHUP, also one that came during the start, until cancelled."""
    while True:
        await hangup.wait()
        hangup.clear()
        with contextlib.suppress(GreenbridgeError):  # it is in the log and in the audit
            await reloader.reload("SIGHUP")
