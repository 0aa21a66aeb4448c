"""The demonstration as people watch it: addresses first, then what happens, a line each."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import typer

from greenbridge.demo.supervisor import Options, Running, demonstration
from telemetry.clock import Clock


async def show(options: Options, clock: Clock, for_s: float = 0.0) -> None:
    """Runs the demonstration and prints what matters, until cancelled or for a time [s].

    Raises
    ------
    GreenbridgeError
        It cannot be started.

    """
    try:
        await _show(options, clock, for_s)
    finally:
        typer.echo("Stopped.")


async def _show(options: Options, clock: Clock, for_s: float) -> None:
    typer.echo("Starting a broker, the simulated corridor and greenbridge on this machine ...")
    async with demonstration(options, clock) as running:
        typer.echo(
            f"\n  Console  {running.signin_url}\n"
            "           (the link signs you in once; later open the address without it)\n"
            f"  State    {running.state}\n"
            f"  Broker   {running.broker_name}\n\n"
            "After a minute somebody taps 30 MW in the middle of the Shymkent-Tashkent line.\n"
            "Ctrl-C ends everything.\n"
        )
        while not running.lines.empty():
            running.lines.get_nowait()  # how the children found each other is in their logs
        printing = asyncio.create_task(_print(running))
        try:
            if for_s > 0:
                await clock.sleep(for_s)
            else:
                await printing
        finally:
            printing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await printing
            typer.echo("Stopping ...")


_OCCASIONS = {"returned": "over"}


async def _print(running: Running) -> None:
    while True:
        name, line = await running.lines.get()
        text = readable(name, line)
        if text:
            typer.echo(text)


def readable(child: str, line: str) -> str:
    """A child's log line for people; empty for one that they need not see."""
    entry = log_entry(line)
    event, level = str(entry.get("event", "")), str(entry.get("level", ""))
    clock = str(entry.get("timestamp", ""))[11:19]
    if event == "announcement":
        return f"{clock}  EXERCISE  {entry.get('text', '')}"
    if event == "alarm_notification":
        occasion = str(entry.get("occasion", ""))
        what = f"{_OCCASIONS.get(occasion, occasion)}, {entry.get('priority', '')} priority"
        return f"{clock}  ALARM     {entry.get('title', '')} ({what})"
    if level in {"warning", "error", "critical"}:
        shown = ", ".join(
            f"{k}={v}" for k, v in entry.items() if k not in {"event", "level", "logger", "timestamp"}
        )
        return f"{clock}  {level.upper():<8}  {child}: {event} {shown}".rstrip()
    return ""


def log_entry(line: str) -> dict[str, Any]:
    """A structured log line; empty for anything else."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
