"""A Modbus source behind the scripted gateway; every true value is 1000 * unit + its own address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import numpy as np

from adapters.modbus.config import GatewaySettings
from adapters.modbus.source import ModbusSource
from ingest.fakes import FakeIntake
from telemetry.clock import ManualClock, SystemClock
from telemetry.quality import Quality
from telemetry.site import SitePoint

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]
Script = Callable[[bytes], Awaitable[bytes | None]]


class Gateway(Protocol):
    port: int
    requests: list[bytes]
    connections: int
    script: Script
    greeting: bytes
    writers: list[asyncio.StreamWriter]

    async def answer_honestly(self, request: bytes) -> bytes: ...
    def units(self) -> list[int]: ...
    async def start(self, port: int = 0) -> None: ...
    async def stop(self) -> None: ...


class IdleClock(ManualClock):
    """Knows whether the source sleeps: only then may time move, so that polls are as quick as a real one."""

    sleeping = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        try:
            await super().sleep(seconds)
        finally:
            self.sleeping -= 1


class Rig:
    """A source of units behind the scripted gateway, on a clock that the test moves."""

    def __init__(
        self, gateway: Gateway, points: list[SitePoint], intake: FakeIntake, **changes: object
    ) -> None:
        values: dict[str, object] = {
            "id": "gw",
            "host": "127.0.0.1",
            "port": gateway.port,
            "timeout_s": 0.3,
            "backoff_max_s": 4.0,
        }
        self.gateway = gateway
        self.intake = intake
        self.points = points
        self.clock = IdleClock()
        self.source = ModbusSource(
            GatewaySettings.model_validate(values | changes), points, intake, self.clock
        )

    @property
    def counts(self) -> dict[str, int]:
        return self.source.state.counts

    async def until(self, condition: Callable[[], bool], step_s: float = 0.05) -> None:
        """Moves time on whenever the source sleeps, until something is so."""
        sockets = SystemClock()
        async with asyncio.timeout(60):
            while not condition():
                if self.clock.sleeping:
                    await self.clock.advance(step_s)
                else:
                    await sockets.sleep(0.001)

    async def polls(self, count: int) -> None:
        """Moves on until so many more requests were answered or given up."""
        target = self._finished + count
        await self.until(lambda: self._finished >= target)

    @property
    def _finished(self) -> int:
        kinds = ("replies", "exceptions", "timeouts", "doubts", "connections_lost")
        return sum(self.counts[kind] for kind in kinds)

    def truth(self, index: int) -> float:
        point = next(p for p in self.points if p.index == index)
        assert point.device.modbus is not None
        return 1000.0 * point.device.modbus.unit + int(point.key.name[1:])

    def readings(self, device: str) -> list[tuple[str, float, Quality]]:
        named = {p.index: p.key.name for p in self.points if p.key.device == device}
        return [
            (named[point], value, Quality(code))
            for batch in self.intake.batches
            for point, value, code in zip(
                batch.point.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True
            )
            if point in named
        ]

    def bad(self, device: str) -> list[tuple[str, Quality]]:
        return [(name, quality) for name, _, quality in self.readings(device) if quality is not Quality.GOOD]

    def assert_no_wrong_value_is_good(self) -> None:
        for batch in self.intake.batches:
            good = batch.quality == Quality.GOOD
            truth = [self.truth(index) for index in batch.point[good].tolist()]
            assert batch.value[good].tolist() == truth
            assert np.isnan(batch.value[~good]).all()


MakeRig = Callable[..., Rig]
