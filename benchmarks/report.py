"""Results as a document, and as the table of docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.harness import Result, Size

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin of results -->\n", "<!-- end of results -->\n"


def document(results: Sequence[Result], size: Size, about: dict[str, object]) -> dict[str, Any]:
    """The whole of a run; ``about`` is the machine as it was before."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "size": size.name,
        "sample_s": size.seconds,
        "rounds": size.rounds,
        "machine": about,
        "software": machine.software(),
        "results": [result.document() for result in results],
    }


def table(run: dict[str, Any]) -> str:
    """Markdown: one row for each baseline."""
    about = run["machine"]
    cores = f"{about['cores']} cores" if about["cores"] > 1 else "1 core"
    software = ", ".join(f"{name} {number}" for name, number in run["software"].items())
    lines = [
        f"{run['date']}: {about['cpu']}, {cores}, {about['memory_mb']} MB, {about['system']}; {software}.",
        f"Load average before: {about['load_average'][0]}.",
        f"Medians of {run['rounds']} samples of {run['sample_s']:g} s each.",
        "",
        "| Benchmark | Unit | greenbridge | CPU us | Baseline | | CPU us | Ratio | Ratio of CPU | Promise |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for result in run["results"]:
        ours, *baselines = result["outcomes"]
        for baseline in baselines:
            ratio = result["ratios"][baseline["name"]]
            lines.append(
                f"| `{result['name']}` | {result['unit']} | {_rate(ours)} | {_number(ours['cpu_us'])} "
                f"| {baseline['name']} | {_rate(baseline)} | {_number(baseline['cpu_us'])} "
                f"| {_number(ratio['per_s'])} | {_number(ratio['cpu'])} | {_promise(result)} |"
            )
    return "\n".join(lines) + "\n"


def renewed(run: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The run that was kept last with the results of a newer, partial one in place of its own."""
    kept = json.loads(max(RESULTS.glob("[0-9]*.json")).read_text("utf-8"))
    results = {result["name"]: result for result in (*kept["results"], *run["results"])}
    return run | {"results": [results[name] for name in order if name in results]}


def record(run: dict[str, Any]) -> Path:
    """Keeps a run beside the code and puts its table into the page; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{run['date']}.json"
    path.write_text(json.dumps(run, indent=2) + "\n", "utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(run) + END + rest.partition(END)[2], "utf-8")
    return path


def _rate(outcome: dict[str, Any]) -> str:
    return f"{_number(outcome['per_s'])}/s"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _promise(result: dict[str, Any]) -> str:
    parts = []
    if (target := result["target"]) is not None:
        each = " per core" if target["per_core"] else ""
        reached = _number(target["reached_per_s"])
        parts.append(f"{_number(target['per_s'])}/s{each}: {_met(target)} ({reached})")
    for promise in result.get("promises", ()):
        bound = "least" if "least" in promise else "most"
        limit, reached = _number(promise[bound]), _number(promise["reached"])
        parts.append(f"{promise['what']} at {bound} {limit}: {_met(promise)} ({reached})")
    return "; ".join(parts) or "-"


def _met(promise: dict[str, Any]) -> str:
    return "met" if promise["met"] else "MISSED"
