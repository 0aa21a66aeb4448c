"""R24: an exchange or a balance has been indeterminate for too long: nobody watches it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from alerts.alarms import Indeterminate
from alerts.alignment import SECOND
from alerts.rule_config import BlindRules
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from telemetry.site import Site

RULE, VERSION = "R24", 1

WATCHED = frozenset({"R1", "R2", "R9"})
"""Rules whose silence is an alarm of its own."""


class Blindness:
    """R24 on every area and tie; keeps nothing between two calls."""

    def __init__(self, site: Site, rules: BlindRules) -> None:
        self._subjects: dict[str, Subject] = {}
        self._after: dict[str, int] = {}
        self._timing: dict[str, Timing] = {}
        assets = {area.id: area.id for area in site.grid.area}
        assets |= {tie.id: tie.from_area for tie in site.grid.tie}
        for asset, area in assets.items():
            settings = rules.of(asset)
            if settings.enabled:
                subject = Subject(RULE, VERSION, asset, area)
                self._subjects[asset] = subject
                self._after[asset] = round(settings.after_s * SECOND)
                self._timing[subject.key] = Timing((Grade(settings.priority, 0.0),), settings.off_s)

    @property
    def keys(self) -> set[str]:
        """Every condition that this rule can raise."""
        return set(self._timing)

    def timing(self, key: str) -> Timing:
        """Grades and delays of a condition."""
        return self._timing[key]

    def findings(
        self, now: int, unknown: Sequence[Indeterminate], open_keys: Collection[str]
    ) -> Iterator[Finding]:
        """What has been unknown for too long, and that open conditions are known again.

        Parameters
        ----------
        now
            Wall time [ns, UTC].
        unknown
            Rules that cannot be judged now, but for those that are not measured at all.
        open_keys
            Conditions with an alarm or a running delay.

        """
        longest: dict[str, Indeterminate] = {}
        for entry in unknown:
            known = longest.get(entry.asset)
            if entry.rule in WATCHED and (known is None or entry.since < known.since):
                longest[entry.asset] = entry
        for asset, subject in self._subjects.items():
            found = longest.get(asset)
            age = now - found.since if found is not None else 0
            blind = found is not None and age > self._after[asset]
            if blind or subject.key in open_keys:
                texts = self._texts(asset, found, age) if found is not None and blind else None
                limit = self._after[asset] / SECOND
                yield Finding(
                    subject,
                    now,
                    int(blind),
                    int(blind),
                    age / SECOND,
                    limit,
                    "s",
                    t_source=now - age,
                    t_received=now - age,
                    texts=texts,
                )

    def _texts(self, asset: str, found: Indeterminate, age: int) -> Texts:
        minutes = age / SECOND / 60
        return Texts(
            f"{asset}: not watched for {minutes:.0f} min, {found.reason}",
            f"Rule {found.rule} cannot judge {asset}: {found.reason}.",
            f"A deviation of {asset} would raise no alarm, and none that is shown can return to normal.",
            "1. Restore the telemetry that is named. 2. Until then ask the station or the neighbour by "
            "telephone, and watch by hand.",
            {"Rule": found.rule, "Reason": found.reason, "Blind for [min]": round(minutes, 1)},
        )
