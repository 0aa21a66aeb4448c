"""Every benchmark runs and reports in one shape; what it measured is not judged here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import machine, report
from benchmarks.harness import SMOKE, Benchmark, Contenders, Sample, Size, run
from benchmarks.suite import ALL


def marked(benchmark: Benchmark) -> object:
    marks = [pytest.mark.system(benchmark.needs)] if benchmark.needs else []
    return pytest.param(benchmark, marks=marks, id=benchmark.name)


@pytest.mark.parametrize("benchmark_", [marked(one) for one in ALL])
def test_a_moment_of_each_benchmark_gives_a_whole_report(benchmark_: Benchmark) -> None:
    found = run(benchmark_, SMOKE).document()

    assert json.loads(json.dumps(found)) == found
    assert isinstance(outcomes := found["outcomes"], list)
    assert len(outcomes) >= 2
    assert all(outcome["per_s"] > 0 for outcome in outcomes)
    assert isinstance(ratios := found["ratios"], dict)
    assert list(ratios) == [outcome["name"] for outcome in outcomes[1:]]
    assert (found["target"] is None) == (benchmark_.target_per_s == 0)


def fixed(samples: dict[str, list[Sample]], **settings: object) -> Benchmark:
    @contextmanager
    def prepare(size: Size) -> Iterator[Contenders]:
        left = {name: iter(some) for name, some in samples.items()}
        yield {name: lambda name=name: next(left[name]) for name in samples}  # type: ignore[misc]

    return Benchmark("fixed", "Fixed", "thing", prepare, **settings)  # type: ignore[arg-type]


SAMPLES = {
    "ours": [Sample(600, 2.0, 0.6), Sample(100, 1.0, 0.1), Sample(900, 1.0, 0.3)],
    "bare": [Sample(100, 1.0, 1.0)] * 3,
}


@pytest.mark.parametrize(
    ("promise", "per_core", "reached", "met"),
    [(300, False, 300, True), (301, False, 300, False), (999, True, 1000, True), (1001, True, 1000, False)],
)
def test_medians_and_ratios_are_summed_up_and_held_against_the_promise(
    promise: float, per_core: bool, reached: float, met: bool
) -> None:
    benchmark_ = fixed(SAMPLES, target_per_s=promise, per_core=per_core)

    found = run(benchmark_, Size("full", 1.0, 3)).document()

    assert isinstance(outcomes := found["outcomes"], list)
    assert outcomes[0] == {
        "name": "ours",
        "per_s": 300,
        "slowest_per_s": 100,
        "fastest_per_s": 900,
        "cpu_us": 1000,
    }
    assert found["ratios"] == {"bare": {"per_s": 3, "cpu": 10}}
    assert found["target"] == {"per_s": promise, "per_core": per_core, "reached_per_s": reached, "met": met}


@pytest.mark.parametrize(("ratio", "most", "met"), [(10, 4, True), (10.1, 3.9, False)])
def test_promises_of_a_ratio_and_of_figures_are_held_against_what_was_reached(
    ratio: float, most: float, met: bool
) -> None:
    shaky = {"ours": [Sample(1, 1.0, 0.1, {"late [ms]": late}) for late in (3.0, 4.0, 90.0)]}
    bare = [Sample(1, 1.0, 1.0)] * 3
    benchmark_ = fixed(
        shaky | {"bare": bare}, cpu_ratio=ratio, rate_ratio=ratio / 10, limits={"late [ms]": most}
    )

    result = run(benchmark_, Size("full", 1.0, 3))

    found = result.document()
    assert isinstance(outcomes := found["outcomes"], list)
    assert outcomes[0]["figures"] == {"late [ms]": 4}
    assert found["promises"] == [
        {"what": "ratio of CPU", "least": ratio, "reached": 10, "met": met},
        {"what": "ratio", "least": ratio / 10, "reached": 1, "met": met},
        {"what": "late [ms]", "most": most, "reached": 4, "met": met},
    ]
    row = report.table(report.document([result], Size("full", 1.0, 3), machine.description())).splitlines()[
        -1
    ]
    told = "met" if met else "MISSED"
    assert f"late [ms] at most {most:g}: {told} (4)" in row


def test_a_recorded_run_is_kept_and_its_table_put_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    result = run(fixed(SAMPLES, target_per_s=301), Size("full", 1.0, 3))

    path = report.record(report.document([result], Size("full", 1.0, 3), machine.description()))

    kept = json.loads(path.read_text())
    row = "| `fixed` | thing | 300/s | 1,000 | bare | 100/s | 10,000 | 3 | 10 | 301/s: MISSED (300) |"
    assert row in page.read_text()
    assert page.read_text() == f"before\n{report.BEGIN}{report.table(kept)}{report.END}after\n"


def test_a_partial_run_renews_its_own_results_among_those_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    kept = {"date": "2026-01-01", "results": [{"name": "a", "x": 1}, {"name": "gone"}, {"name": "c"}]}
    (tmp_path / "2026-01-01.json").write_text(json.dumps(kept))

    run_ = report.renewed(
        {"date": "2026-01-02", "results": [{"name": "b"}, {"name": "a", "x": 2}]}, ["a", "b", "c", "d"]
    )

    assert run_ == {"date": "2026-01-02", "results": [{"name": "a", "x": 2}, {"name": "b"}, {"name": "c"}]}


def test_the_page_shows_the_newest_results_that_are_kept() -> None:
    newest = max(report.RESULTS.glob("[0-9]*.json"))
    shown = report.PAGE.read_text("utf-8").partition(report.BEGIN)[2].partition(report.END)[0]
    run_ = json.loads(newest.read_text("utf-8"))
    assert shown == report.table(run_)
    kept = [result["name"] for result in run_["results"]]
    assert kept == [one.name for one in ALL if one.name in kept]
    assert not re.search(r"/(home|work|tmp)/", newest.read_text("utf-8"))


def test_a_named_benchmark_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"

    assert command.main(["modbus-decode", "--smoke", "--json", str(file)]) == 0

    document = json.loads(file.read_text())
    assert document["size"] == "smoke"
    assert [result["name"] for result in document["results"]] == ["modbus-decode"]
    assert set(document["machine"]) == {"cpu", "cores", "memory_mb", "system", "load_average"}
    assert "modbus-decode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modbus-decoed"], "no benchmark modbus-decoed; there are world-step, "),
        (["--record", "--smoke"], "a moment of each is not recorded"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
