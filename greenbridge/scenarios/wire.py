"""Plays a scenario in real time: broker, simulators and greenbridge as processes, faults through the control
interface, alarms from the console.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alerts.alarms import HELD, Priority
from alerts.lifecycle import Event
from greenbridge.demo.operator import ConsoleClient, console_client
from greenbridge.demo.supervisor import Options, Running, demonstration
from greenbridge.scenarios.controls import ask
from greenbridge.scenarios.player import Play
from greenbridge.scenarios.verdict import Seen
from simulators.faults.on_links import BrokerRestart
from simulators.scenario import Scenario, Timed
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError, UnavailableError

MAX_WIRE_S = 1800.0
"""Longest scenario that is played in real time [s]."""
_SETTLE_S = 10.0
_TICK_S = 0.5


async def play(scenario: Scenario, clock: Clock, *, seed: int | None = None, full: bool = False) -> Play:
    """Plays a scenario; its start is the moment at which everything runs and has been heard.

    Raises
    ------
    GreenbridgeError
        It is too long for real time, a process cannot be started, or a fault cannot be injected.

    """
    duration_s, _ = scenario.world.size(full=full)
    if duration_s > MAX_WIRE_S:
        raise GreenbridgeError(
            f"a scenario of {duration_s:g} s is too long for --wire (at most {MAX_WIRE_S:g} s); "
            "play it without"
        )
    environment = {"GB_SIM_SEED": str(scenario.world.seed if seed is None else seed), "GB_TAP_AT_S": "1e9"}
    with tempfile.TemporaryDirectory(prefix="greenbridge-scenario-") as state, _variables(environment):
        async with (
            demonstration(Options(Path(state)), clock) as running,
            console_client(running.console_url) as client,
        ):
            await client.sign_in(running.token)
            await clock.sleep(_SETTLE_S)
            start_ns = clock.now_ns()
            watch = _Watch(start_ns)
            stage = _Stage(scenario, running)
            while (elapsed_s := (clock.now_ns() - start_ns) / 1e9) < duration_s:
                await stage.follow(elapsed_s)
                await watch.look(client)
                await clock.sleep(_TICK_S)
            status = await ask(running.control_url, "GET", "status")
    return Play(watch.seen, duration_s, 1.0, None, status["collapse"] or "")


class _Stage:
    """Injects and clears the faults of the timeline in time."""

    def __init__(self, scenario: Scenario, running: Running) -> None:
        self._timeline = scenario.event
        self._running = running
        self._active: dict[int, str] = {}

    async def follow(self, elapsed_s: float) -> None:
        for i, event in enumerate(self._timeline):
            due = event.due(elapsed_s)
            if due and i not in self._active:
                self._active[i] = await self._begin(event)
            elif not due and i in self._active:
                if name := self._active.pop(i):
                    await ask(self._running.control_url, "DELETE", f"faults/{name}")
                else:
                    self._running.children["broker"].release()

    async def _begin(self, event: Timed) -> str:
        if isinstance(event.fault, BrokerRestart):
            # the broker is a child of this process: it is killed, and stays away as long as the fault is due
            self._running.children["broker"].hold()
            return ""
        answer = await ask(self._running.control_url, "POST", "faults", event.fault.model_dump())
        return str(answer["id"])


class _Watch:
    """Turns what the console shows into steps of alarms."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._shown: dict[str, tuple[int, str, bool]] = {}
        self.seen: list[Seen] = []

    async def look(self, client: ConsoleClient) -> None:
        with contextlib.suppress(UnavailableError):
            for alarm in reversed(await client.get("/api/v1/alarms/history")):
                self._note(alarm)

    def _note(self, alarm: dict[str, Any]) -> None:
        if alarm["state"] in HELD:
            return
        before = self._shown.get(alarm["id"], (0, "", True))
        now = (alarm["raised_at"], alarm["priority"], alarm["cleared_at"] is not None)
        self._shown[alarm["id"]] = now
        if now[0] != before[0]:
            self._add(alarm, Event.RAISE, alarm["raised_at"])
        elif now[1] != before[1]:
            self._add(alarm, Event.ESCALATE, alarm["updated_at"])
        if now[2] and (not before[2] or now[0] != before[0]):
            self._add(alarm, Event.CLEAR, alarm["cleared_at"])

    def _add(self, alarm: dict[str, Any], event: Event, at: int) -> None:
        """``at`` in ms, as the console has it."""
        seen = Seen(
            round(at / 1e3 - self._start_ns / 1e9, 3),
            event,
            alarm["rule"],
            alarm["asset"],
            Priority(alarm["priority"]),
            alarm["title"],
        )
        if seen.t_s >= 0:
            self.seen.append(seen)


@contextlib.contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables, which the processes inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
