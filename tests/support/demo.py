"""A running demonstration for system tests, with the tap brought forward."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

from greenbridge.demo.operator import ConsoleClient, console_client
from greenbridge.demo.supervisor import Options, Running, demonstration
from telemetry.clock import SystemClock

CLOCK = SystemClock()


@asynccontextmanager
async def demo(
    state: Path, *, tap_at_s: float, tap_for_s: float, ledger: Path | None = None, broker: str = ""
) -> AsyncIterator[Running]:
    """The demonstration with a tap at another time than after a minute [s]."""
    options = Options(state, tap_for_s=tap_for_s, ledger=ledger, broker=broker)
    with mock.patch.dict(os.environ, {"GB_TAP_AT_S": str(tap_at_s)}):
        async with demonstration(options, CLOCK) as running:
            yield running


@asynccontextmanager
async def signed_in(running: Running) -> AsyncIterator[ConsoleClient]:
    """A client of the running console."""
    async with console_client(running.console_url) as client:
        await client.sign_in(running.token)
        yield client
