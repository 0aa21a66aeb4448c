"""Runs a bench: steps the world each second and keeps its devices, publisher and control interface going."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from simulators.bench import Bench, SimulatedDevice
from simulators.control import ControlServer, Status, application
from simulators.devices.modbus import Gateway, MeterUnit
from simulators.devices.payloads import PAYLOADS
from simulators.devices.publisher import Ledger, Message, Publisher
from simulators.devices.registers import MAPS
from simulators.exercise import Exercise
from simulators.metrics import COLLAPSED, STEPS, STEPS_SKIPPED
from simulators.world.meters import Instrument, MeterBank, Observes, Reading
from simulators.world.world import Snapshot, World
from telemetry.clock import Clock
from telemetry.errors import ConfigError, Problem

_log = structlog.get_logger(__name__)

STEP_S = 1.0
MAX_LAG_S = 5.0
"""Behind by more than this, the missed seconds are left out and counted, not stepped in a burst."""


class BenchState:
    """The bench without its wires: the world, its meters, the units that show them and the exercise."""

    def __init__(self, bench: Bench, start_ns: int) -> None:
        self.bench = bench
        self.started_ns = start_ns
        self.world = World(bench.plan, bench.seed, start_ns)
        self.meters = MeterBank(self.world, [_instrument(self.world, d) for d in bench.device], bench.seed)
        self.exercise = Exercise(bench.tap, [line.id for line in bench.plan.corridor.lines])
        self.units: dict[str, dict[int, MeterUnit]] = {gateway.id: {} for gateway in bench.gateway}
        self._shown: list[tuple[int, MeterUnit]] = []
        self._plant = [self.world.fleet.index.get(device.plant or "", -1) for device in bench.device]
        self.publishing = [i for i, device in enumerate(bench.device) if not device.kind.modbus]
        """Positions of the devices that publish."""
        for i, device in enumerate(bench.device):
            if device.gateway is not None and device.unit is not None:
                meter = self.units[device.gateway][device.unit] = MeterUnit(MAPS[device.kind.value])
                self._shown.append((i, meter))
        self.readings: list[Reading] = []
        """What each device shows, in the order of configuration."""
        self._look(self.world.snapshot, 0.0)

    def step(self, elapsed_s: float, now_ns: int) -> None:
        """Advances the world by one second; ``elapsed_s`` is the time since the start, for the scripts."""
        announced = self.exercise.advance(elapsed_s, now_ns)
        self.world.set_taps(self.exercise.taps)
        down_before = self.world.snapshot.collapse is not None
        snapshot = self.world.step(STEP_S)
        if snapshot.collapse is not None and not down_before:
            self.exercise.announce(f"The simulated grid has collapsed: {snapshot.collapse.reason}", now_ns)
            announced += self.exercise.advance(elapsed_s, now_ns)
        self._look(snapshot, STEP_S)
        for announcement in announced:
            _log.info("announcement", text=announcement.text)

    def message(self, position: int, now_ns: int) -> Message:
        """What the publishing device at ``position`` has to say now."""
        device = self.bench.device[position]
        members = PAYLOADS[device.kind.value](
            self.readings[position], self.world.snapshot.plants, self._plant[position], now_ns // 1_000_000
        )
        return Message(device.topic or "", members)

    def status(self) -> Status:
        """What the control interface reports."""
        collapse = self.world.snapshot.collapse
        return Status(
            started_ns=self.started_ns,
            speed=1.0,
            steps=self.world.snapshot.step,
            collapse=None if collapse is None else collapse.reason,
            announcements=self.exercise.announcements,
            faults=self.exercise.faults,
        )

    def _look(self, snapshot: Snapshot, dt_s: float) -> None:
        self.meters.observe(snapshot, dt_s)
        self.readings = self.meters.readings()
        for i, meter in self._shown:
            meter.show(self.readings[i])


@dataclass(frozen=True, slots=True)
class Running:
    """A bench that is up."""

    state: BenchState
    publisher: Publisher
    gateway_ports: Mapping[str, int]
    control_port: int


async def simulate(
    bench: Bench,
    clock: Clock,
    ready: Callable[[Running], None] | None = None,
    *,
    file: str = "bench.toml",
) -> None:
    """Runs the bench until cancelled; ``ready`` is called once every server listens.

    Raises
    ------
    ConfigError
        A port is in use (``file`` names the bench in the message); nothing has been started then.
    StorageError
        The ledger cannot be opened. (One that cannot be written later ends the bench with it in a group.)

    """
    check_ports(bench, file)
    state = BenchState(bench, clock.now_ns())
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(Path(bench.ledger))) if bench.ledger else None
        gateways = [
            await stack.enter_async_context(Gateway(g.id, bench.host, g.port, state.units[g.id]))
            for g in bench.gateway
        ]
        listener = stack.enter_context(_listen(bench.host, bench.control_port))
        control = ControlServer(application(state.exercise, clock, state.status))
        publisher = Publisher(bench.broker, clock, ledger)
        running = Running(
            state, publisher, {g.name: g.port for g in gateways}, int(listener.getsockname()[1])
        )
        served = asyncio.create_task(control.run_on(listener), name="sim-control")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_step(state, clock), name="sim-world")
                if state.publishing:
                    group.create_task(_publish(state, publisher, clock), name="sim-publish")
                    group.create_task(publisher.run(), name="sim-publisher")
                _log.info("bench_ready", devices=len(bench.device), gateways=len(gateways))
                if ready is not None:
                    ready(running)
        finally:
            control.should_exit = True
            await served


def check_ports(bench: Bench, file: str) -> None:
    """Finds out whether every port of the bench can be listened on.

    Raises
    ------
    ConfigError
        With every port that cannot.

    """
    wanted = [(f"gateway[{i}].port", gateway.port) for i, gateway in enumerate(bench.gateway)]
    problems = []
    for key, port in [*wanted, ("control_port", bench.control_port)]:
        try:
            _listen(bench.host, port).close()
        except OSError as error:
            reason = f"cannot be listened on at {bench.host}: {error.strerror or error}"
            problems.append(Problem(file, key, str(port), reason, "stop what holds it or set another port"))
    if problems:
        raise ConfigError(problems)


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=64)


async def _step(state: BenchState, clock: Clock) -> None:
    start = clock.monotonic()
    due = start
    while True:
        due += STEP_S
        await clock.sleep(due - clock.monotonic())
        lag = clock.monotonic() - due
        if lag > MAX_LAG_S:
            skipped = int(lag / STEP_S)
            due += skipped * STEP_S
            STEPS_SKIPPED.inc(skipped)
            _log.warning("steps_skipped", seconds=skipped)
        state.step(due - start, clock.now_ns())
        STEPS.inc()
        COLLAPSED.set(state.world.snapshot.collapse is not None)


async def _publish(state: BenchState, publisher: Publisher, clock: Clock) -> None:
    """Lets each publishing device speak once a second, evenly staggered over the second."""
    pause = STEP_S / len(state.publishing)
    due = clock.monotonic()
    while True:
        for position in state.publishing:
            due += pause
            await clock.sleep(due - clock.monotonic())
            publisher.offer(state.message(position, clock.now_ns()))
        # after a stall the devices go on from now: nobody measured in the meantime
        due = max(due, clock.monotonic() - STEP_S)


def _instrument(world: World, device: SimulatedDevice) -> Instrument:
    if device.plant is not None:
        return Instrument(device.id, Observes.PLANT, world.fleet.index[device.plant])
    if device.branch is not None:
        return Instrument(device.id, Observes.END, world.end(device.branch, device.node))
    return Instrument(device.id, Observes.NODE, world.nodes.index(device.node))
