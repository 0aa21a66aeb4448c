"""What happened to a quantity over the last seconds: mean, slope and integral of a sliding window, and its
range where that is asked for."""

from __future__ import annotations

from collections import deque

from alerts.alignment import SECOND


class Window:
    """Samples of the last seconds, oldest first; a step back in time or a long gap empties it.

    Parameters
    ----------
    span_s
        Length [s].
    longest_gap_s
        Two neighbouring samples further apart than this do not belong to one window [s].

    """

    def __init__(self, span_s: float, longest_gap_s: float = 30.0) -> None:
        self._span = round(span_s * SECOND)
        self._longest = round(longest_gap_s * SECOND)
        self._samples: deque[tuple[int, float]] = deque()
        self._sum = self._integral = 0.0

    def add(self, instant: int, value: float) -> None:
        """Takes the value at an instant [ns, UTC]."""
        samples = self._samples
        if samples and not samples[-1][0] < instant <= samples[-1][0] + self._longest:
            self.clear()
        if samples:
            self._integral += self._area(samples[-1], (instant, value))
        samples.append((instant, value))
        self._sum += value
        while samples[0][0] < instant - self._span:
            oldest = samples.popleft()
            self._sum -= oldest[1]
            self._integral -= self._area(oldest, samples[0])

    def clear(self) -> None:
        """Forgets every sample."""
        self._samples.clear()
        self._sum = self._integral = 0.0

    @property
    def since(self) -> int:
        """Instant of the oldest sample [ns, UTC]; 0 without one."""
        return self._samples[0][0] if self._samples else 0

    @property
    def covered_s(self) -> float:
        """Time between the oldest and the newest sample [s]."""
        return (self._samples[-1][0] - self._samples[0][0]) / SECOND if self._samples else 0.0

    @property
    def full(self) -> bool:
        """The window spans its length, but for one gap between samples."""
        return bool(self._samples) and self.covered_s >= 0.9 * self._span / SECOND

    @property
    def mean(self) -> float:
        """Mean of the samples; NaN without one."""
        return self._sum / len(self._samples) if self._samples else float("nan")

    @property
    def integral(self) -> float:
        """Integral over time by the trapezoidal rule [unit * s]."""
        return self._integral

    @property
    def change(self) -> float:
        """Newest less oldest sample; NaN without one."""
        return self._samples[-1][1] - self._samples[0][1] if self._samples else float("nan")

    def slope(self) -> float:
        """Slope of the least-squares line [unit/s]; NaN with fewer than two samples."""
        if len(self._samples) < 2:
            return float("nan")
        start = self._samples[0][0]
        times = [(t - start) / SECOND for t, _ in self._samples]
        middle, mean = sum(times) / len(times), self.mean
        spread = sum((t - middle) ** 2 for t in times)
        pairs = zip(times, self._samples, strict=True)
        return sum((t - middle) * (value - mean) for t, (_, value) in pairs) / spread

    @staticmethod
    def _area(a: tuple[int, float], b: tuple[int, float]) -> float:
        return (b[0] - a[0]) / SECOND * (a[1] + b[1]) / 2


class RangeWindow(Window):
    """A window that also knows its smallest and its largest sample, each at constant cost."""

    def __init__(self, span_s: float, longest_gap_s: float = 30.0) -> None:
        super().__init__(span_s, longest_gap_s)
        self._least: deque[tuple[int, float]] = deque()
        self._most: deque[tuple[int, float]] = deque()

    def add(self, instant: int, value: float) -> None:
        """Takes the value at an instant [ns, UTC]."""
        super().add(instant, value)
        for extremes, sign in ((self._least, 1.0), (self._most, -1.0)):
            while extremes and sign * extremes[-1][1] >= sign * value:
                extremes.pop()
            extremes.append((instant, value))
            while extremes[0][0] < self.since:
                extremes.popleft()

    def clear(self) -> None:
        """Forgets every sample."""
        super().clear()
        self._least.clear()
        self._most.clear()

    @property
    def least(self) -> float:
        """Smallest sample; NaN without one."""
        return self._least[0][1] if self._least else float("nan")

    @property
    def most(self) -> float:
        """Largest sample; NaN without one."""
        return self._most[0][1] if self._most else float("nan")

    @property
    def range(self) -> float:
        """Largest less smallest sample; NaN without one."""
        return self.most - self.least
