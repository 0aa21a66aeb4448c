"""Scenarios: a world, what goes wrong in it and when, and which alarms must and must not follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import combinations
from typing import Annotated

from pydantic import AwareDatetime, Field

from simulators.faults.model import AnyFault, Assets
from telemetry.errors import ConfigError, Problem
from telemetry.settings import Settings, nearest, parse

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False)]
RuleName = Annotated[str, Field(pattern=r"^R[0-9]{1,2}$")]


class Timed(Settings):
    """A fault with its time."""

    at_s: Seconds
    """Start, from the start of the scenario [s]."""
    for_s: Duration | None = None
    """Duration [s]; without it the fault stays until the end."""
    repeat_s: Duration | None = None
    """Period from one start to the next [s]; without it the fault comes once."""
    fault: AnyFault

    @property
    def until_s(self) -> float:
        """End of its first occurrence [s]."""
        return self.at_s + self.for_s if self.for_s is not None else float("inf")

    def due(self, elapsed_s: float) -> bool:
        """Whether the fault is at work at a time from the start [s]."""
        since = elapsed_s - self.at_s
        if since < 0:
            return False
        if self.repeat_s is not None:
            since %= self.repeat_s
        return self.for_s is None or since < self.for_s


class WorldTimes(Settings):
    """The world of a scenario and the size at which it is played."""

    seed: Annotated[int, Field(ge=0)] = 20260101
    start: AwareDatetime
    duration_s: Duration
    """Full length [s]."""
    step_s: Annotated[float, Field(ge=1, le=60)] = 1.0
    """Simulated seconds from one step to the next, which is also the period of every device [s]."""
    ci_duration_s: Duration | None = None
    """Smallest honest length [s]; without it the full one."""
    ci_step_s: Annotated[float, Field(ge=1, le=60)] | None = None
    """Largest honest step [s]; without it ``step_s``."""

    def size(self, *, full: bool) -> tuple[float, float]:
        """Length and step [s]."""
        if full:
            return self.duration_s, self.step_s
        return self.ci_duration_s or self.duration_s, self.ci_step_s or self.step_s


class Expected(Settings):
    """An alarm that must be raised."""

    rule: RuleName
    asset: str
    within: tuple[Seconds, Seconds]
    """Earliest and latest time of the raise, from the start [s]."""
    priority: str | None = None
    """Priority that it must have reached by the end of the window."""
    clears_by: Seconds | None = None
    """Latest time of its return to normal, from the start [s]."""


class Forbidden(Settings):
    """Alarms that must not be raised, by shell patterns of rule and asset."""

    rule: str = "*"
    asset: str = "*"


class Scenario(Settings):
    """One scenario."""

    title: str
    story: str
    """What happens and what is known of it: facts with their source, everything else is illustrative."""
    needs: tuple[RuleName, ...] = ()
    """Rules that must exist before it can be judged."""
    world: WorldTimes
    event: tuple[Timed, ...] = ()
    expect: tuple[Expected, ...] = ()
    forbid: tuple[Forbidden, ...] = (Forbidden(),)
    """What is forbidden; an expected alarm never is. The default forbids every other alarm."""

    def problems(self, file: str, assets: Assets) -> Iterator[Problem]:
        """Faults that only the whole scenario on a bench shows."""
        world = self.world
        shortest = min(world.duration_s, world.ci_duration_s or world.duration_s)
        if world.ci_duration_s is not None and world.ci_duration_s > world.duration_s:
            reason = f"is longer than duration_s = {world.duration_s:g}"
            yield Problem(file, "world.ci_duration_s", f"{world.ci_duration_s:g}", reason)
        for i, event in enumerate(self.event):
            yield from event.fault.problems(file, f"event[{i}].fault", assets)
            if event.at_s >= shortest:
                reason = f"is not before the end at {shortest:g} s"
                yield Problem(file, f"event[{i}].at_s", f"{event.at_s:g}", reason, "start earlier")
            if event.repeat_s is not None and not (event.for_s or event.repeat_s) < event.repeat_s:
                yield Problem(
                    file, f"event[{i}].repeat_s", f"{event.repeat_s:g}", "must be longer than for_s"
                )
        for (_, a), (i, b) in combinations(enumerate(self.event), 2):
            same = (a.fault.kind, a.fault.target) == (b.fault.kind, b.fault.target)
            if same and a.at_s < b.until_s and b.at_s < a.until_s:
                reason = f"overlaps the {a.fault.kind} of {a.fault.target} from {a.at_s:g} s"
                yield Problem(file, f"event[{i}]", "", reason, "let one end before the other begins")
        for i, expected in enumerate(self.expect):
            first, last = expected.within
            if first >= last:
                yield Problem(file, f"expect[{i}].within", f"[{first:g}, {last:g}]", "is empty")
            for key, time in (("within", last), ("clears_by", expected.clears_by or 0.0)):
                if time > shortest:
                    reason = f"ends after the scenario at {shortest:g} s"
                    yield Problem(file, f"expect[{i}].{key}", f"{time:g}", reason)


def load(text: str, file: str, assets: Assets) -> Scenario:
    """Reads a scenario from TOML text; ``file`` names it in errors.

    Raises
    ------
    ConfigError
        With every fault of the text, or else every fault of the scenario as a whole.

    """
    scenario = parse(text, file, Scenario)
    if problems := list(scenario.problems(file, assets)):
        raise ConfigError(problems)
    return scenario


def shipped() -> Sequence[str]:
    """Names of the scenarios that ship with the simulators."""
    folder = resources.files("simulators.scenarios")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_shipped(name: str, assets: Assets) -> Scenario:
    """Reads a shipped scenario by its name.

    Raises
    ------
    ConfigError
        There is none of that name.

    """
    if name not in (names := shipped()):
        raise ConfigError([Problem("scenarios", name, "", "no such scenario", nearest(name, names))])
    file = f"{name}.toml"
    return load(resources.files("simulators.scenarios").joinpath(file).read_text("utf-8"), file, assets)
