"""What keeps an alarm from people: shelving, suppression, and being out of service. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from alerts.alarms import AlarmState
from alerts.desk_config import Outage
from alerts.kinship import Effect, Kinship


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody's order that nobody is told of a condition."""

    kind: AlarmState
    """One of the held states."""
    who: str
    reason: str
    since: int
    """[ns, UTC]."""
    until: int | None = None
    """When it ends by itself [ns, UTC]; None when only a person ends it."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Why an alarm is no line of its own, by design."""

    reason: str
    """For people: ``R13-modbus-SHY-3: Link modbus/SHY is down``."""
    effect: Effect
    parent: str = ""
    """Id of the alarm that explains it; empty for a planned outage."""
    until: int | None = None
    """When that ends, if it is known [ns, UTC]."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An active alarm, as far as it can explain others."""

    id: str
    """Of the first cause, if it is explained itself."""
    text: str
    """For people."""
    began_at: int


class Design:
    """Suppression by design: which alarms are explained by others or by planned outages."""

    def __init__(self, kinship: Kinship | None = None, outages: Iterable[Outage] = ()) -> None:
        self._kinship = kinship or Kinship()
        self._outages = tuple(outages)

    def rank(self, rule: str) -> int:
        """Orders rules so that parents come before their children."""
        return self._kinship.rank(rule)

    def begun(self, now: int) -> int:
        """Number of boundaries of outages that have passed [now: ns, UTC]; when it changes, look again."""
        return sum((outage.start_ns <= now) + (outage.end_ns <= now) for outage in self._outages)

    def explain(
        self, rule: str, asset: str, now: int, standing: Mapping[str, Mapping[str, Standing]]
    ) -> Explained | None:
        """What explains an alarm now; what suppresses it before what only groups it.

        Parameters
        ----------
        rule, asset
            Of the alarm.
        now
            [ns, UTC].
        standing
            Active alarms by rule and asset.

        """
        for outage in self._outages:
            planned = outage.start_ns <= now < outage.end_ns and (not outage.rules or rule in outage.rules)
            if planned and self._kinship.covered(outage.asset, asset):
                reason = f"planned outage of {outage.asset}: {outage.reason}"
                return Explained(reason, Effect.SUPPRESS, until=outage.end_ns)
        grouped: Explained | None = None
        for relation, parent in self._kinship.parents(rule, asset, standing):
            found = standing[relation.parent][parent]
            explained = Explained(f"{found.id}: {found.text}", relation.effect, found.id)
            if relation.effect is Effect.SUPPRESS:
                return explained
            grouped = grouped or explained
        return grouped

    def waits(self, rule: str, asset: str, pending: Mapping[str, Collection[str]]) -> bool:
        """Whether the on-delay of a possible parent is running.

        Parameters
        ----------
        rule, asset
            Of the alarm that would be raised.
        pending
            Assets by rule, of the conditions whose on-delay runs.

        """
        return any(relation.waits for relation, _ in self._kinship.parents(rule, asset, pending))
