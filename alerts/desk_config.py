"""Settings of the alarm desk: ``[alerts.desk]``, planned outages and further relations between rules::

[alerts.desk]
latch = ["R8"]

[[alerts.outage]]
asset = "SHY-TAS"
start = 2026-05-04T04:00:00Z
end = 2026-05-04T16:00:00Z
reason = "insulators are replaced, order 118"

[[alerts.relation]]
parent = "R12"
child = "R21"
kin = "any"
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated

from pydantic import AwareDatetime, Field, model_validator

from alerts.kinship import RELATIONS, Effect, Kin, Relation, cycle
from telemetry.errors import Problem
from telemetry.settings import Settings, nearest

RuleName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
"""``R6``."""
SECOND = 1_000_000_000


class DeskSettings(Settings):
    """What the desk does of itself. Figures after ISA-18.2 and EEMUA 191, to be tuned to the operators."""

    max_shelve_h: Annotated[float, Field(gt=0, le=168)] = 8.0
    """Longest time that an alarm can be shelved for [h]."""
    release_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """A child is released this long after its parent was over: consequences last longer than causes [s]."""
    chatter_count: Annotated[int, Field(ge=2, le=100)] = 3
    """Raised so often within ``chatter_s``, an alarm chatters."""
    chatter_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """An alarm that chatters returns only after its condition was over for so long [s]."""
    fleeting_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """An alarm that returns within this time is counted as fleeting [s]."""
    latch: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}(/.+)?$")], ...] = ()
    """Rules, or conditions such as ``R8/AKT-ALT``, that stay until a person resets them."""

    def latches(self, rule: str, key: str) -> bool:
        """Whether a condition stays until it is reset."""
        return rule in self.latch or key in self.latch


class Outage(Settings):
    """A planned outage: alarms of the asset, and of what is measured there, are suppressed meanwhile."""

    asset: str
    """Station, branch, device or link."""
    rules: tuple[RuleName, ...] = ()
    """Only alarms of these rules; empty for all."""
    start: AwareDatetime
    end: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _forward(self) -> Outage:
        if self.end <= self.start:
            raise ValueError("end is not after start: the outage would never be")
        return self

    @property
    def start_ns(self) -> int:
        """[ns, UTC]."""
        return round(self.start.timestamp()) * SECOND

    @property
    def end_ns(self) -> int:
        """[ns, UTC]."""
        return round(self.end.timestamp()) * SECOND


class RelationSettings(Settings):
    """Alarms of one rule explain those of another."""

    parent: RuleName
    child: RuleName
    kin: Kin
    effect: Effect = Effect.SUPPRESS
    waits: bool = False

    @property
    def relation(self) -> Relation:
        """As the desk uses it."""
        return Relation(self.parent, self.child, self.kin, self.effect, self.waits)


def desk_problems(
    file: str,
    prefix: str,
    outages: Sequence[Outage],
    relations: Sequence[RelationSettings],
    assets: Collection[str],
) -> Iterator[Problem]:
    """Outages of assets that do not exist, and relations that make a rule explain itself."""
    for i, outage in enumerate(outages):
        if outage.asset not in assets:
            yield Problem(
                file,
                f"{prefix}.outage[{i}].asset",
                f'"{outage.asset}"',
                "no such station, branch, device or link",
                nearest(outage.asset, assets),
            )
    for i, given in enumerate(relations):
        key, shown = f"{prefix}.relation[{i}]", f"{given.parent} explains {given.child}"
        if given.parent == given.child and given.kin is not Kin.BEHIND:
            yield Problem(file, key, shown, "a rule cannot explain itself", "name two rules")
            continue
        known = [*RELATIONS, *(relation.relation for relation in relations[: i + 1])]
        if found := cycle(known):
            yield Problem(
                file, key, shown, f"alarms would explain each other: {' - '.join(found)}", "take one out"
            )
            return
