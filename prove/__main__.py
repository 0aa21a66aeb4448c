"""``./run prove``: lets the faults strike and reports."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from benchmarks.machine import description
from prove.faults import FAULTS, strike
from prove.outcome import FULL, SMOKE, Outcome
from prove.subject import CLOCK
from telemetry.errors import UnavailableError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: everything holds; 1: something does not; 3: a fault could not strike here."""
    parser = argparse.ArgumentParser(prog="./run prove", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all without any")
    parser.add_argument("--smoke", action="store_true", help="the small size that every test run has")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which faults strike")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    unknown = [name for name in options.faults if name not in FAULTS]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    size = SMOKE if options.smoke else FULL
    outcomes: list[Outcome] = []
    impossible = False
    for name in options.faults or FAULTS:
        started = CLOCK.monotonic()
        try:
            outcome = strike(name, size, options.seed)
        except UnavailableError as error:
            print(f"{name:<14} cannot strike here: {error}", file=sys.stderr)
            impossible = True
            continue
        outcomes.append(outcome)
        print(_line(outcome, CLOCK.monotonic() - started), flush=True)
    if options.json:
        options.json.write_text(json.dumps(_document(outcomes, size.name, options.seed), indent=2) + "\n")
    if not all(outcome.holds for outcome in outcomes):
        return 1
    return 3 if impossible else 0


def _line(outcome: Outcome, seconds: float) -> str:
    last = outcome.last
    verdict = "holds" if outcome.holds else outcome.void or "; ".join(outcome.problems[:5])
    figures = "".join(f"{name} {value:g}, " for name, value in outcome.figures.items())
    replayed = f"{outcome.replayed} records replayed, fresh within {outcome.slowest_fresh_s:.1f} s"
    readings = f"{last.acknowledged} readings acknowledged, {last.stored} stored, " if last else ""
    again = f" and {outcome.repeated} played again for too little traffic" if outcome.repeated else ""
    return (
        f"{outcome.fault:<20} {outcome.rounds} rounds{again}, {figures}{readings}{replayed}, "
        f"{seconds:.0f} s: {verdict}"
    )


def _document(outcomes: Sequence[Outcome], size: str, seed: int) -> dict[str, Any]:
    return {
        "date": datetime.fromtimestamp(CLOCK.now_ns() / 1e9, UTC).date().isoformat(),
        "machine": description(),
        "size": size,
        "seed": seed,
        "faults": [asdict(outcome) | {"holds": outcome.holds} for outcome in outcomes],
    }


if __name__ == "__main__":
    sys.exit(main())
