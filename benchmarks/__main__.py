"""``python -m benchmarks [name ...] [--json FILE] [--smoke] [--record]``; exit code 2 for a wrong name."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import structlog

from benchmarks import machine, report
from benchmarks.harness import FULL, SMOKE, run
from benchmarks.suite import ALL


def main(arguments: list[str] | None = None) -> int:
    """Runs benchmarks by name, or all."""
    names = {benchmark.name: benchmark for benchmark in ALL}
    parser = argparse.ArgumentParser(prog="run bench", description="Measures the product against baselines.")
    parser.add_argument("name", nargs="*", help=f"which; all without any: {', '.join(names)}")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results to a file; - prints them"
    )
    parser.add_argument("--smoke", action="store_true", help="a moment each: shows that they run, no more")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the results and put them into docs/benchmarks.md; with names, beside those kept last",
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.name if name not in names]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    if options.record and options.smoke:
        parser.error("a moment of each is not recorded")
    size = SMOKE if options.smoke else FULL
    about, results = machine.description(), []
    for name in options.name or names:
        benchmark = names[name]
        if benchmark.needs and machine.find(benchmark.needs) is None:
            print(f"{name}: left out, {benchmark.needs} is not installed", file=sys.stderr)
            continue
        print(f"{name}: {benchmark.title} ...", file=sys.stderr)
        results.append(run(benchmark, size))
    document = report.document(results, size, about)
    if options.json is None:
        print(report.table(document), end="")
    elif str(options.json) == "-":
        print(json.dumps(document, indent=2))
    else:
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if options.record:
        if options.name:
            document = report.renewed(document, [benchmark.name for benchmark in ALL])
        print(f"kept in {report.record(document)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    # units that keep silent on purpose, and a client that is ended between question and answer, are no news
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    raise SystemExit(main())
