"""Runs contenders by turns, so that what else the machine does strikes all of them, and sums up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    name: str
    seconds: float
    """Length of one sample [s]."""
    rounds: int
    """Samples of each contender."""


FULL = Size("full", 2.0, 5)
SMOKE = Size("smoke", 0.05, 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one contender did in one round."""

    count: int
    """Units of work."""
    seconds: float
    """Wall time [s]."""
    cpu_s: float
    """Processor time of this process, all threads [s]."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What else was measured, by name and unit."""


Contenders = Mapping[str, Callable[[], Sample]]
"""By name; the first is the product, the others are baselines."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One comparison."""

    name: str
    title: str
    unit: str
    """What is counted, for example ``request``."""
    prepare: Callable[[Size], AbstractContextManager[Contenders]]
    target_per_s: float = 0.0
    """Units per second that the product promises; 0 for no promise."""
    per_core: bool = False
    """The promise is for each second of processor time, not of wall time."""
    cpu_ratio: float = 0.0
    """How often the product promises to do what the first baseline does once, for the same processor time; 0
    for no promise."""
    rate_ratio: float = 0.0
    """How much the product promises to do while the first baseline does one unit; 0 for no promise."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Figures of the product that it promises not to exceed."""
    longer: float = 1.0
    """How many times longer a sample is than those of other benchmarks; then each contender has only one."""
    needs: str = ""
    """Program that must be there."""
    note: str = ""


class Watch:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time until now [s]."""
        return time.perf_counter() - self._wall

    def sample(
        self, count: int, seconds: float | None = None, figures: Mapping[str, float] | None = None
    ) -> Sample:
        """What was done until now; ``seconds`` in place of the wall time, when another process took it."""
        cpu = time.process_time() - self._cpu
        return Sample(count, self.seconds if seconds is None else seconds, cpu, figures or {})


def repeated(work: Callable[[], int], seconds: float) -> Sample:
    """Calls what returns a number of units of work for a time, after once to warm up."""
    work()
    watch, count = Watch(), 0
    while watch.seconds < seconds:
        count += work()
    return watch.sample(count)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contender reached over all rounds: medians."""

    name: str
    per_s: float
    """Units per second of wall time."""
    slowest_per_s: float
    fastest_per_s: float
    cpu_us: float
    """Processor time for each unit [us]."""
    figures: Mapping[str, float]

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample]) -> Outcome:
        """Sums up samples, each of which counted something."""
        rates = [sample.count / sample.seconds for sample in samples]
        cpu = median(sample.cpu_s / sample.count for sample in samples)
        figures = {name: median(one.figures[name] for one in samples) for name in samples[0].figures}
        return cls(name, median(rates), min(rates), max(rates), 1e6 * cpu, figures)

    def document(self) -> dict[str, object]:
        """For JSON."""
        told: dict[str, object] = {
            "name": self.name,
            "per_s": _rounded(self.per_s),
            "slowest_per_s": _rounded(self.slowest_per_s),
            "fastest_per_s": _rounded(self.fastest_per_s),
            "cpu_us": _rounded(self.cpu_us),
        }
        if self.figures:
            told["figures"] = {name: _rounded(figure) for name, figure in self.figures.items()}
        return told


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's outcome: the product first, then the baselines."""

    benchmark: Benchmark
    outcomes: tuple[Outcome, ...]

    def document(self) -> dict[str, object]:
        """For JSON. Ratios above 1 mean that the product does more in the same time."""
        ours = self.outcomes[0]
        reached = 1e6 / ours.cpu_us if self.benchmark.per_core and ours.cpu_us else ours.per_s
        return {
            "name": self.benchmark.name,
            "title": self.benchmark.title,
            "unit": self.benchmark.unit,
            "note": self.benchmark.note,
            "outcomes": [outcome.document() for outcome in self.outcomes],
            "ratios": {
                outcome.name: {
                    "per_s": _rounded(ours.per_s / outcome.per_s),
                    "cpu": _rounded(outcome.cpu_us / ours.cpu_us) if ours.cpu_us else None,
                }
                for outcome in self.outcomes[1:]
            },
            "target": {
                "per_s": self.benchmark.target_per_s,
                "per_core": self.benchmark.per_core,
                "reached_per_s": _rounded(reached),
                "met": reached >= self.benchmark.target_per_s,
            }
            if self.benchmark.target_per_s
            else None,
            "promises": self._promises(),
        }

    def _promises(self) -> list[dict[str, object]]:
        ours, first = self.outcomes[:2]
        ratio = first.cpu_us / ours.cpu_us if ours.cpu_us else float("inf")
        promises: list[dict[str, object]] = []
        if least := self.benchmark.cpu_ratio:
            reached = _rounded(ratio)
            promises.append(
                {"what": "ratio of CPU", "least": least, "reached": reached, "met": ratio >= least}
            )
        if least := self.benchmark.rate_ratio:
            rates = ours.per_s / first.per_s
            promises.append(
                {"what": "ratio", "least": least, "reached": _rounded(rates), "met": rates >= least}
            )
        for figure, most in self.benchmark.limits.items():
            reached = _rounded(ours.figures[figure])
            promises.append({"what": figure, "most": most, "reached": reached, "met": reached <= most})
        return promises


def run(benchmark: Benchmark, size: Size) -> Result:
    """Runs a benchmark: each contender once in each round."""
    if benchmark.longer > 1:
        size = Size(size.name, benchmark.longer * size.seconds, 1)
    with benchmark.prepare(size) as contenders:
        samples: dict[str, list[Sample]] = {name: [] for name in contenders}
        for _ in range(size.rounds):
            for name, contender in contenders.items():
                samples[name].append(contender())
    return Result(benchmark, tuple(Outcome.of(name, found) for name, found in samples.items()))


def _rounded(value: float) -> float:
    """Three significant digits: more would be noise."""
    return float(f"{value:.3g}")
