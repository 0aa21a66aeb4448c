"""Runs a bench: steps the world each second and keeps its devices, publisher and control interface going."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from simulators.bench import Bench, GatewaySettings
from simulators.control import ControlServer, application
from simulators.devices.connection import Address
from simulators.devices.modbus import Gateway, Line, Transport
from simulators.devices.publisher import Ledger, Publisher
from simulators.devices.sparkplug.runner import EdgeNodeRunner
from simulators.devices.sparkplug.sites import edge_nodes
from simulators.faults.model import BROKER
from simulators.faults.proxy import LinkProxy
from simulators.metrics import COLLAPSED, STEPS, STEPS_SKIPPED
from simulators.state import STEP_S, BenchState
from simulators.world.world import MAX_STEP_S
from telemetry.clock import Clock
from telemetry.errors import ConfigError, Problem

_log = structlog.get_logger(__name__)

MAX_LAG_S = 5.0
"""Behind by more than this, what was missed is made up for in long steps and counted."""


@dataclass(frozen=True, slots=True)
class Running:
    """A bench that is up."""

    state: BenchState
    publisher: Publisher
    edge_nodes: Sequence[EdgeNodeRunner]
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
        A port is in use, a serial line or recording is not there (``file`` names the bench in the message);
        nothing has been started then.
    StorageError
        The ledger cannot be opened or the memory of an edge node not be read. (One that cannot be written
        later ends the bench with it in a group.)

    """
    check_ports(bench, file)
    state = BenchState(bench, clock.now_ns())
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger(Path(bench.ledger))) if bench.ledger else None
        gateways, proxies = await _serve(bench, state, clock, stack)
        listener = stack.enter_context(_listen(bench.host, bench.control_port))
        control = ControlServer(application(state, clock))
        ports = {g.name: g.port for g in gateways} | {p.name: p.port for p in proxies}
        relay = await _relay(bench, state, clock, stack)
        proxies += [relay] if relay else []
        via = relay.address if relay else None
        publisher = Publisher(bench.broker, clock, ledger, link=state.broker_link(), via=via)
        ways = await _ways(bench, state, clock, stack, via)
        proxies += ways.values()
        nodes = edge_nodes(state, clock, {name: way.address for name, way in ways.items()})
        running = Running(
            state,
            publisher,
            nodes,
            ports,
            int(listener.getsockname()[1]),
        )
        controlling = asyncio.create_task(control.run_on(listener), name="sim-control")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_step(state, clock, proxies), name="sim-world")
                if state.publishing:
                    group.create_task(_publish(state, publisher, clock), name="sim-publish")
                    group.create_task(publisher.run(), name="sim-publisher")
                for node in nodes:
                    group.create_task(node.run(), name="sim-edge-node")
                _log.info("bench_ready", devices=len(state.devices), gateways=len(gateways))
                if ready is not None:
                    ready(running)
        finally:
            control.should_exit = True
            await controlling


def check_ports(bench: Bench, file: str) -> None:
    """Finds out whether every port and serial line of the bench can be used.

    Raises
    ------
    ConfigError
        With every one that cannot.

    """
    problems = []
    wanted = [("control_port", bench.control_port), ("broker.relay_port", bench.broker.relay_port)]
    for position, server in bench.servers():
        if server.transport is not Transport.SERIAL:
            wanted.append((f"gateway[{position}].port", server.port))
        elif not Path(server.serial_port).exists():
            reason = "no such serial line"
            problems.append(
                Problem(file, f"gateway[{position}].serial_port", f'"{server.serial_port}"', reason)
            )
    for key, port in [*wanted[2:], *wanted[:2]]:
        try:
            _listen(bench.host, port).close()
        except OSError as error:
            reason = f"cannot be listened on at {bench.host}: {error.strerror or error}"
            problems.append(Problem(file, key, str(port), reason, "stop what holds it or set another port"))
    if problems:
        raise ConfigError(problems)


def _line(gateway: GatewaySettings, host: str) -> Line:
    return Line(
        gateway.transport,
        host,
        gateway.port,
        gateway.serial_port,
        gateway.baudrate,
        gateway.parity,
        gateway.stopbits,
    )


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=64)


async def _serve(
    bench: Bench, state: BenchState, clock: Clock, stack: AsyncExitStack
) -> tuple[list[Gateway], list[LinkProxy]]:
    """Starts every server; one that is reached over TCP stands behind a proxy that can break its link."""
    gateways: list[Gateway] = []
    proxies: list[LinkProxy] = []
    for _, settings in bench.servers():
        line, name = _line(settings, bench.host), settings.id
        behind = settings.transport is not Transport.SERIAL
        gateway = Gateway(name, replace(line, port=0) if behind else line, state.lines[name])
        gateways.append(await stack.enter_async_context(gateway))
        if behind:
            device = (bench.host, gateway.port)
            proxy = LinkProxy(name, (bench.host, settings.port), device, state.links[name], clock)
            proxies.append(await stack.enter_async_context(proxy))
    return gateways, proxies


async def _relay(bench: Bench, state: BenchState, clock: Clock, stack: AsyncExitStack) -> LinkProxy | None:
    """The way to the broker, which can be broken; None if nobody goes it."""
    if not state.publishing and not bench.edge_node and not bench.broker.relay_port:
        return None
    broker, port = bench.broker, bench.broker.relay_port
    # without a port of its own it is nobody else's business
    here = (bench.host if port else "127.0.0.1", port)
    proxy = LinkProxy(BROKER, here, (broker.host, broker.port), state.links[BROKER], clock)
    return await stack.enter_async_context(proxy)


async def _ways(
    bench: Bench, state: BenchState, clock: Clock, stack: AsyncExitStack, via: Address | None
) -> dict[str, LinkProxy]:
    """For each edge node the first piece of its way to the broker, which can be broken by itself."""
    beyond = via or (bench.broker.host, bench.broker.port)
    ways = {}
    for node in bench.edge_node:
        proxy = LinkProxy(node.name, ("127.0.0.1", 0), beyond, state.links[node.name], clock)
        ways[node.name] = await stack.enter_async_context(proxy)
    return ways


async def _step(state: BenchState, clock: Clock, proxies: Sequence[LinkProxy]) -> None:
    start = clock.monotonic()
    due = start
    while True:
        due += STEP_S
        await clock.sleep(due - clock.monotonic())
        lag = clock.monotonic() - due
        if lag > MAX_LAG_S:
            missed = int(lag / STEP_S)
            STEPS_SKIPPED.inc(missed)
            _log.warning("steps_skipped", seconds=missed)
            while missed > 0:
                # the world's time stays the clock's: counters, sun and the devices' own time go by it
                stride = min(MAX_STEP_S, missed * STEP_S)
                state.step(due - start, clock.now_ns(), stride)
                due += stride
                missed -= round(stride / STEP_S)
                await clock.sleep(0)
        state.step(due - start, clock.now_ns())
        for proxy in proxies:
            await proxy.refresh()
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
            for message in state.messages(position, clock.now_ns()):
                publisher.offer(message)
        # after a stall the devices go on from now: nobody measured in the meantime
        due = max(due, clock.monotonic() - STEP_S)
