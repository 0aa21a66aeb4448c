import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from greenbridge.demo.children import Child, Program
from telemetry.clock import SystemClock

GUARD_S = 30


class Output:
    """Lines of a child, awaitable."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def keep(self, _: str, line: str) -> None:
        self.lines.put_nowait(line)

    async def next(self, wanted: Callable[[str], bool] = bool) -> str:
        async with asyncio.timeout(GUARD_S):
            while not wanted(line := await self.lines.get()):
                pass
            return line


@asynccontextmanager
async def started(script: str, tmp_path: Path) -> AsyncIterator[tuple[Child, Output]]:
    output = Output()
    program = Program(
        "child", (sys.executable, "-u", "-c", script), os.environ, tmp_path / "logs" / "child.log"
    )
    child = Child(program, SystemClock(), output.keep)
    task = asyncio.create_task(child.run())
    try:
        yield child, output
    finally:
        await child.stop(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


WAITS = "import os, signal, time; print('up', os.getpid()); signal.pause()"


async def test_a_child_that_is_killed_is_started_again_and_its_output_is_kept(tmp_path: Path) -> None:
    async with started(WAITS, tmp_path) as (child, output):
        first = int((await output.next()).split()[1])
        assert first == child.pid
        os.kill(first, signal.SIGKILL)
        second = int((await output.next()).split()[1])
        assert second != first
        assert child.restarts == 1
    assert (tmp_path / "logs" / "child.log").read_text().count("up ") == 2


async def test_a_child_that_is_held_comes_back_when_it_is_released(tmp_path: Path) -> None:
    async with started(WAITS, tmp_path) as (child, output):
        first = int((await output.next()).split()[1])
        child.hold()
        for _ in range(3):  # each takes longer than the pause and the start of another child
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(0.3)")
            await other.wait()
        assert child.pid is None
        assert output.lines.empty()
        child.release()
        assert int((await output.next()).split()[1]) != first


async def test_stop_ends_a_child_in_order_and_does_not_start_it_again(tmp_path: Path) -> None:
    async with started(WAITS, tmp_path) as (child, output):
        await output.next()
        await child.stop(5)
        assert child.pid is None
    assert child.restarts == 0


async def test_stop_kills_a_child_that_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); signal.pause()"
    async with started(deaf, tmp_path) as (child, output):
        await output.next()
        await child.stop(0.1)
        assert child.pid is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2) is a call of Linux")
async def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    supervisor = f"""
import asyncio, os
from pathlib import Path
from greenbridge.demo.children import Child, Program
from telemetry.clock import SystemClock
command = ({sys.executable!r}, "-u", "-c", {WAITS!r})
program = Program("child", command, os.environ, Path({str(tmp_path)!r}) / "log")
asyncio.run(Child(program, SystemClock(), lambda name, line: print(line, flush=True)).run())
"""
    async with started(supervisor, tmp_path) as (child, output):
        orphan = int((await output.next(lambda line: line.startswith("up"))).split()[1])
        handle = os.pidfd_open(orphan)
        try:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(handle, ended.set)
            async with asyncio.timeout(GUARD_S):
                await ended.wait()
            loop.remove_reader(handle)
        finally:
            os.close(handle)


async def test_a_child_that_refuses_its_configuration_is_not_started_again(tmp_path: Path) -> None:
    script = "print('greenbridge: 1 problem in the configuration'); raise SystemExit(2)"
    async with started(script, tmp_path) as (child, _), asyncio.timeout(GUARD_S):
        await child.refused.wait()
        assert child.restarts == 0
        assert list(child.last_lines) == ["greenbridge: 1 problem in the configuration"]


async def test_a_line_without_end_does_not_stop_the_reader(tmp_path: Path) -> None:
    script = "import sys, signal; sys.stdout.write('x' * (3 << 20)); print(); print('after'); signal.pause()"
    async with started(script, tmp_path) as (_, output):
        assert await output.next(lambda line: line == "after") == "after"
