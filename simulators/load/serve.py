"""Runs a load for its time and says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace

import structlog

from simulators.load.config import LoadSettings
from simulators.load.modbus import LoadResponder
from simulators.load.mqtt import LoadPublisher
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    seconds: float
    requests: int = 0
    """Modbus requests answered."""
    exceptions: int = 0
    """Of these, those that got an exception."""
    malformed: int = 0
    """Connections closed for bytes that are not Modbus."""
    refused: int = 0
    """Connections closed because there were too many."""
    published: int = 0
    """MQTT messages sent."""
    confirmed: int = 0
    """Of these, those that the broker is known to have."""

    def document(self) -> dict[str, float | int]:
        """For JSON, with rates per second."""
        whole = max(self.seconds, 1e-9)
        rates = {
            "requests_per_s": round(self.requests / whole, 1),
            "confirmed_per_s": round(self.confirmed / whole, 1),
        }
        return {**asdict(self), "seconds": round(self.seconds, 3), **rates}

    def text(self) -> str:
        """For people."""
        return "\n".join(f"{name:<16}{value:>14,.10g}" for name, value in self.document().items())


async def serve_load(
    settings: LoadSettings, clock: Clock, ready: Callable[[tuple[int, ...]], None] | None = None
) -> LoadReport:
    """Runs what the settings ask for, until its time is over; ``ready`` gets the Modbus ports.

    A publisher that has sent all its messages ends a load without a responder.

    Raises
    ------
    UnavailableError
        A port is in use, or the broker cannot be reached or is lost.

    """
    begin = clock.monotonic()
    responder = publisher = None
    try:
        async with AsyncExitStack() as stack:
            if settings.modbus is not None:
                responder = await stack.enter_async_context(LoadResponder(settings.modbus))
            if settings.mqtt is not None:
                publisher = LoadPublisher(settings.mqtt, clock)
            ports = responder.ports if responder else ()
            _log.info("load_ready", ports=ports, publishing=publisher is not None, for_s=settings.for_s)
            if ready is not None:
                ready(ports)
            async with asyncio.TaskGroup() as group:
                if publisher is not None:
                    group.create_task(publisher.run(settings.for_s), name="load-publisher")
                if responder is not None:
                    group.create_task(clock.sleep(settings.for_s), name="load-time")
    except* GreenbridgeError as errors:
        raise errors.exceptions[0] from None
    finally:
        report = _report(clock.monotonic() - begin, responder, publisher)
        _log.info("load_ended", **report.document())
    return report


def _report(seconds: float, responder: LoadResponder | None, publisher: LoadPublisher | None) -> LoadReport:
    report = LoadReport(seconds)
    if responder is not None:
        report = replace(
            report,
            requests=responder.requests,
            exceptions=responder.exceptions,
            malformed=responder.malformed,
            refused=responder.refused,
        )
    if publisher is not None:
        report = replace(report, published=publisher.sent, confirmed=publisher.confirmed)
    return report
