"""Starts the three children, tells people where to look, and ends everything together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from greenbridge.demo import broker, ports
from greenbridge.demo.children import Child, Program
from simulators.bench import load_file
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError

log = structlog.get_logger(__name__)

_CONTROL_PORT = 15500
_BROKER_PORT = 15590
_CONSOLE_PORT = 15580
_READY_WITHIN_S = 60.0
_STOP_WITHIN_S = 4.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    state: Path
    """Directory of everything that the demonstration writes."""
    fresh: bool = False
    """Clear it first."""
    tap_for_s: float = 300.0
    """How long the scripted tap lasts [s]."""
    webhook: str = ""
    """Address that notifications are posted to; empty for none."""
    broker: str = ""
    """Broker to use; empty for the first that is there."""
    ledger: Path | None = None
    """File in which the simulators record each message that the broker acknowledged."""


@dataclass(frozen=True, slots=True)
class Running:
    """A demonstration under way."""

    console_url: str
    token: str
    control_url: str
    children: Mapping[str, Child]
    state: Path
    broker_name: str
    lines: asyncio.Queue[tuple[str, str]]
    """Output of the children: (child, line); the oldest is dropped when nobody reads."""

    @property
    def signin_url(self) -> str:
        """Address that signs in once."""
        return f"{self.console_url}/signin?token={self.token}"


@contextlib.asynccontextmanager
async def demonstration(options: Options, clock: Clock) -> AsyncIterator[Running]:
    """Runs broker, simulators and greenbridge; on leaving ends them within 5 s.

    Raises
    ------
    GreenbridgeError
        Another demonstration runs in the same directory, a program is missing or a child does not get ready.

    """
    with _claimed(options) as claim:
        gateways = {gateway.id: gateway.port for gateway in load_file(None, {}).gateway}
        wanted = [
            _CONTROL_PORT,
            _BROKER_PORT,
            _CONSOLE_PORT,
            *gateways.values(),
        ]
        shift = ports.free_shift(wanted)
        console = f"http://127.0.0.1:{_CONSOLE_PORT + shift}"
        token = secrets.token_urlsafe()
        claim(console)
        lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue(maxsize=10_000)
        server = broker.prepare(options.state / "broker", _BROKER_PORT + shift, prefer=options.broker)
        programs = _programs(options, server, gateways, shift, token)
        children = {p.name: Child(p, clock, lambda name, line: _keep(lines, name, line)) for p in programs}
        control = f"http://127.0.0.1:{_CONTROL_PORT + shift}"
        running = Running(console, token, control, children, options.state, server.name, lines)
        started: list[asyncio.Task[None]] = []
        try:
            for name, probe in (
                ("broker", lambda: _port_open(_BROKER_PORT + shift, clock)),
                # before the devices: a broker acknowledges, and drops, what nobody has subscribed to yet
                ("greenbridge", lambda: _answers(f"{console}/readyz", clock)),
                ("simulators", lambda: _answers(f"{control}/api/v1/status", clock)),
            ):
                started.append(asyncio.create_task(children[name].run(), name=name))
                await _ready(name, children[name], probe)
            yield running
        finally:
            # readers before what they read, and the broker last: nobody has to give up a connection
            for name in ("greenbridge", "simulators", "broker"):
                await children[name].stop(_STOP_WITHIN_S)
            for task in started:
                task.cancel()
            await asyncio.gather(*started, return_exceptions=True)


def _keep(lines: asyncio.Queue[tuple[str, str]], name: str, line: str) -> None:
    if lines.full():
        lines.get_nowait()
    lines.put_nowait((name, line))


def _programs(
    options: Options, server: broker.Broker, gateways: Mapping[str, int], shift: int, token: str
) -> list[Program]:
    state = options.state
    environment = {
        **os.environ,
        **{
            f"GB_MODBUS_PORT_{gateway.upper().replace('-', '_')}": str(port + shift)
            for gateway, port in gateways.items()
        },
        "GB_BROKER_PORT": str(_BROKER_PORT + shift),
        "GB_SIM_CONTROL_PORT": str(_CONTROL_PORT + shift),
        "GB_CONSOLE_PORT": str(_CONSOLE_PORT + shift),
        "GB_SIM_CONTROL_URL": f"http://127.0.0.1:{_CONTROL_PORT + shift}",
        "GB_TAP_FOR_S": str(options.tap_for_s),
        "GB_SIM_LEDGER": str(options.ledger or ""),
        **({"GB_WEBHOOK_ENABLED": "true", "GB_WEBHOOK_URL": options.webhook} if options.webhook else {}),
        "GREENBRIDGE_STATE": str(state / "data"),
        "GREENBRIDGE_SIGNIN_TOKEN": token,
        "PYTHONUNBUFFERED": "1",
    }
    me = (sys.executable, "-m", "greenbridge")
    logs = state / "logs"
    return [
        Program("broker", server.command, os.environ, logs / "broker.log"),
        Program("simulators", (*me, "simulate", "corridor"), environment, logs / "simulators.log"),
        Program("greenbridge", (*me, "run", "corridor"), environment, logs / "greenbridge.log"),
    ]


@contextlib.contextmanager
def _claimed(options: Options) -> Iterator[Callable[[str], None]]:
    """Holds the directory for one demonstration; the lock goes with the process, however that ends."""
    path = options.state / "demo.lock"
    try:
        options.state.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise GreenbridgeError(
            f"state directory {options.state} cannot be used: {error.strerror}; choose another with --state"
        ) from None
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise GreenbridgeError(
                f"a demonstration is running already in {options.state}: {_who(lock.read())}; "
                "use that one, stop it, or choose another directory with --state"
            ) from None
        if options.fresh:
            for name in ("data", "broker", "logs"):
                shutil.rmtree(options.state / name, ignore_errors=True)

        def claim(url: str) -> None:
            lock.truncate(0)
            lock.write(json.dumps({"pid": os.getpid(), "console": url}))
            lock.flush()

        yield claim
        lock.truncate(0)


def _who(text: str) -> str:
    try:
        entry = json.loads(text)
        return f"process {entry['pid']}, {entry['console']}"
    except (ValueError, KeyError, TypeError):
        return "it is just starting"


async def _ready(name: str, child: Child, probe: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Returns when a child serves.

    Raises
    ------
    GreenbridgeError
        It says that it cannot run, or is not ready in time.

    """
    probing = asyncio.create_task(probe())
    refusing = asyncio.create_task(child.refused.wait())
    try:
        await asyncio.wait({probing, refusing}, timeout=_READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if child.refused.is_set():
            said = "\n  ".join(child.last_lines)
            raise GreenbridgeError(f"{name} cannot run:\n  {said}")
        if not probing.done():
            raise GreenbridgeError(
                f"{name} did not get ready within {_READY_WITHIN_S:.0f} s; see {child.program.log_file}"
            )
        probing.result()
    finally:
        probing.cancel()
        refusing.cancel()
        await asyncio.gather(probing, refusing, return_exceptions=True)


async def _port_open(port: int, clock: Clock) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await clock.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return


async def _answers(url: str, clock: Clock) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await clock.sleep(0.1)
