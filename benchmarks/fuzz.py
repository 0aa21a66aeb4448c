"""Feeds every parser with a million inputs; none may raise what is not expected, or take above 50 ms.

``python -m benchmarks.fuzz [PARSER ...] [--engine mutation|atheris] [--inputs N] [--seed N] [--json FILE]``;
exit code 1 if one did.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.fuzz_targets import TARGETS, Target
from benchmarks.mutation import mutated

FULL = 1_000_000
"""Inputs of a full run, for each parser."""
SLOWEST_S = 0.05
"""Longest that one input may take, processor time [s]."""
_SHOWN = 200


@dataclass
class Verdict:
    """What came of a parser's inputs."""

    parser: str
    engine: str
    inputs: int = 0
    slowest_ms: float = 0.0
    """Processor time of the slowest input [ms]."""
    slowest_input: str = ""
    """Its first bytes."""
    unexpected: str = ""
    """The first exception that is none of those a parser refuses its input by, with the input."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was amiss."""
        return not self.unexpected and self.slowest_ms <= 1000 * SLOWEST_S

    def judge(self, target: Target, data: bytes) -> bool:
        """Feeds one input; False when it was amiss."""
        self.inputs += 1
        begin = time.thread_time()
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            self.unexpected = f"{type(error).__name__}: {error} for {data[:_SHOWN]!r}"
            return False
        took = 1000 * (time.thread_time() - begin)
        if took > self.slowest_ms:
            self.slowest_ms, self.slowest_input = round(took, 3), repr(data[:_SHOWN])
        return took <= 1000 * SLOWEST_S


def fed(target: Target, inputs: Iterable[bytes], engine: str = "mutation") -> Verdict:
    """Feeds inputs until they end or one is amiss."""
    verdict, begin = Verdict(target.name, engine), time.perf_counter()
    gc.freeze()  # a collection of the whole program's objects is not what an input costs
    for data in inputs:
        if not verdict.judge(target, data):
            break
    verdict.seconds = round(time.perf_counter() - begin, 1)
    return verdict


def by_mutation(target: Target, count: int, seed: int) -> Verdict:
    """Inputs that change sound ones without knowing what that does."""
    return fed(target, islice(mutated(target.seeds, target.words, seed), count))


def by_atheris(target: Target, count: int, seed: int) -> Verdict:
    """Inputs that are led by which lines they reach; in a process of its own, which that engine needs."""
    arguments = [sys.executable, "-m", "benchmarks.fuzz_atheris", target.name, str(count), str(seed)]
    told = subprocess.run(arguments, capture_output=True, text=True, check=False)
    for line in reversed(told.stdout.splitlines()):
        if line.startswith("{"):
            return Verdict(**json.loads(line))
    raise RuntimeError(f"the fuzzer of {target.name} told nothing: {told.stderr[-2000:]}")


ENGINES = {"mutation": by_mutation, "atheris": by_atheris}


def main(arguments: list[str] | None = None) -> int:
    """Feeds parsers by name, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description="Feeds parsers.")
    parser.add_argument("parser", nargs="*", help=f"which; all without any: {', '.join(TARGETS)}")
    parser.add_argument("--engine", choices=ENGINES, default="mutation")
    parser.add_argument("--inputs", type=int, default=FULL, metavar="N", help=f"for each; default {FULL}")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of it to a file")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parser if name not in TARGETS]:
        parser.error(f"no parser {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    about = machine.description()
    verdicts = list(_verdicts(options))
    if options.json is not None:
        options.json.write_text(json.dumps(_document(verdicts, about), indent=2) + "\n", "utf-8")
    return int(not all(verdict.passed for verdict in verdicts))


def _verdicts(options: argparse.Namespace) -> Iterator[Verdict]:
    for name in options.parser or TARGETS:
        verdict = ENGINES[options.engine](TARGETS[name], options.inputs, options.seed)
        outcome = "passed" if verdict.passed else f"FAILED: {verdict.unexpected or verdict.slowest_input}"
        told = f"{verdict.inputs} inputs in {verdict.seconds:g} s, slowest {verdict.slowest_ms:g} ms"
        print(f"{name}: {told}: {outcome}", file=sys.stderr)
        yield verdict


def _document(verdicts: list[Verdict], about: dict[str, object]) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": about,
        "verdicts": [asdict(verdict) | {"passed": verdict.passed} for verdict in verdicts],
    }


if __name__ == "__main__":
    raise SystemExit(main())
