"""Kinds of faults on meters: what they show of what they measure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from simulators.faults.fault import Assets, Fault, Finite, Where
from telemetry.errors import Problem


class Gain(Fault):
    """Powers and current are off by a part of the reading; the counters are right (a transducer's ratio)."""

    where = Where.METER
    title_format = "gain error of {pct:+g} % at {target}"
    kind: Literal["gain"]
    pct: Annotated[float, Field(ge=-100, le=1000)]


class Offset(Fault):
    """Active power is off by a constant."""

    where = Where.METER
    title_format = "offset of {mw:+g} MW at {target}"
    kind: Literal["offset"]
    mw: Finite


class GainDrift(Fault):
    """A gain error that grows from zero."""

    where = Where.METER
    title_format = "gain drift of {pct_per_h:+g} %/h at {target}"
    kind: Literal["drift"]
    pct_per_h: Annotated[float, Field(ge=-1000, le=1000)]


class Stuck(Fault):
    """Powers and current stand still; the counters go on with the power that is shown."""

    where = Where.METER
    title_format = "stuck measurement at {target}"
    kind: Literal["stuck"]


class Skew(Fault):
    """The device's clock is wrong. A polled meter shows what it measured that long ago."""

    where = Where.METER
    title_format = "clock skew of {seconds:+g} s at {target}"
    kind: Literal["skew"]
    seconds: Annotated[float, Field(ge=-86400, le=86400)]
    """How far the clock is ahead; negative: behind [s]."""

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.target in assets.polled and not -600 <= self.seconds < 0:
            reason = "a polled meter can only show old values"
            yield Problem(file, f"{key}.seconds", f"{self.seconds:g}", reason, "give -600 to 0")


class ClockDrift(Fault):
    """The device's clock runs too fast or too slow. A polled meter shows ever older values."""

    where = Where.METER
    title_format = "clock drift of {s_per_h:+g} s/h at {target}"
    kind: Literal["clock_drift"]
    s_per_h: Annotated[float, Field(ge=-3600, le=3600)]
    """What the clock gains; negative: loses [s/h]."""

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.target in assets.polled and not -600 <= self.s_per_h < 0:
            reason = "a polled meter can only show old values"
            yield Problem(file, f"{key}.s_per_h", f"{self.s_per_h:g}", reason, "give -600 to 0")


class Polarity(Fault):
    """The current transformers are connected the wrong way round."""

    where = Where.METER
    title_format = "reversed polarity at {target}"
    kind: Literal["polarity"]


class WordSwap(Fault):
    """The words of each number are sent in the other order."""

    where = Where.METER
    title_format = "word swap at {target}"
    kind: Literal["word_swap"]

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.target in assets.names[self.where] and self.target not in assets.polled:
            yield Problem(
                file, f"{key}.target", f'"{self.target}"', "has no registers", "name a polled meter"
            )


class WrongScale(Fault):
    """Powers and energies are scaled wrongly, for example by a thousand."""

    where = Where.METER
    title_format = "scale wrong by {factor:g} at {target}"
    kind: Literal["wrong_scale"]
    factor: Annotated[float, Field(gt=0, le=1e6)]


class CounterReset(Fault):
    """The energy counters begin again at zero."""

    where = Where.METER
    title_format = "counter reset at {target}"
    kind: Literal["counter_reset"]


class Exchanged(Fault):
    """Another meter was put in: other class error, counters from its own zero."""

    where = Where.METER
    title_format = "meter exchange at {target}"
    kind: Literal["exchanged"]
    serial: Annotated[str, Field(min_length=1, max_length=64)]
