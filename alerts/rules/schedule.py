"""R22: the schedules that two parties hold differ, have no next interval, or are old.

Only ties and contracts are judged for which versions were sent; where none ever was, the standing schedule of
the grid model is what was agreed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alerts.ledger_config import AgreementSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from alerts.schedules import Party, ScheduleBook, value_at
from alerts.settlement.view import LedgerView

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
_OLD, _WRONG = 1, 2


class AgreementRule:
    """R22 on one tie or contract."""

    def __init__(self, subject: str, area: str, counterpart: str, settings: AgreementSettings) -> None:
        self.subject = Subject("R22", 1, subject, area)
        self.timing = Timing(
            (Grade(settings.old_priority, 0.0), Grade(settings.priority, 0.0)), settings.off_s
        )
        self._settings = settings
        self._counterpart = counterpart

    def judge(self, view: LedgerView) -> Finding | None:
        """What the versions of both parties say; None where there are none."""
        book, asset = view.schedules, self.subject.asset
        parties = [party for party in Party if self._in_use(book, party, view.at)]
        if not parties:
            if any(book.versions(asset, party) for party in Party):
                return Finding(self.subject, view.at)
            return None
        for party in parties:
            if book.holding(asset, view.at + round(self._settings.before_s * SECOND), party) is None:
                return self._missing(book, party, view.at)
        differs = self._difference(book, view.at)
        if differs is not None:
            return differs
        newest = max(book.versions(asset, Party.OWN), key=lambda v: v.number, default=None)
        age_h = (view.at - newest.received_at) / HOUR if newest is not None else 0.0
        if age_h <= self._settings.fresh_h:
            return Finding(self.subject, view.at, value=0.0, limit=self._settings.tolerance_mw, unit="MW")
        return self._finding(
            view.at,
            _OLD,
            age_h,
            self._settings.fresh_h,
            unit="h",
            texts=Texts(
                f"{asset}: the schedule in force is {age_h:.0f} h old",
                f"No newer version than number {newest.number if newest else 0} was taken in.",
                "A change that the counterpart has made may be missing here.",
                f"1. Ask {self._counterpart} for the current version. 2. Import it, also if it is unchanged.",
                {"Age [h]": round(age_h, 1), "Limit [h]": self._settings.fresh_h},
            ),
        )

    def _in_use(self, book: ScheduleBook, party: Party, now: int) -> bool:
        """Whether a party's versions hold now, or ended not long ago."""
        since = now - round(self._settings.fresh_h * HOUR)
        return any(v.start <= now and v.end > since for v in book.versions(self.subject.asset, party))

    def _missing(self, book: ScheduleBook, party: Party, now: int) -> Finding:
        asset = self.subject.asset
        end = max(v.end for v in book.versions(asset, party) if v.start <= now)
        whose = "our" if party is Party.OWN else f"{self._counterpart}'s"
        at = _moment(end)
        minutes = max((end - now) / SECOND / 60, 0.0)
        return self._finding(
            now,
            _WRONG,
            minutes,
            self._settings.before_s / 60,
            unit="min",
            texts=Texts(
                f"{asset}: {whose} schedule ends at {at}, and the next interval has none",
                f"No version of {whose} schedule covers the time after {at}.",
                "The standing schedule of the grid model is taken from then on, in rules and in settlement.",
                f"1. Ask {self._counterpart} for the next day's schedule. "
                "2. Take it in: greenbridge schedule import.",
                {"Ends at": at, "Minutes left": round(minutes, 1)},
            ),
        )

    def _difference(self, book: ScheduleBook, now: int) -> Finding | None:
        """The first time ahead at which both parties' versions differ."""
        asset, until = self.subject.asset, now + round(self._settings.horizon_h * HOUR)
        ours, theirs = book.steps(asset), book.steps(asset, Party.COUNTERPART)
        times = sorted({now, *(s.start for s in [*ours, *theirs] if now < s.start < until)})
        for t in times:
            if book.holding(asset, t, Party.COUNTERPART) is None:
                continue
            mine, other = value_at(ours, t), value_at(theirs, t)
            if abs(mine - other) > self._settings.tolerance_mw:
                return self._finding(
                    now,
                    _WRONG,
                    abs(mine - other),
                    self._settings.tolerance_mw,
                    unit="MW",
                    texts=Texts(
                        f"{asset}: from {_moment(t)} we hold {mine:g} MW, {self._counterpart} {other:g} MW",
                        "The two parties' schedule versions differ: one of them is not the agreed one.",
                        "Each side follows its own; the difference becomes inadvertent exchange.",
                        f"1. Call {self._counterpart} and agree which version holds. "
                        "2. Take in the right one on both sides.",
                        {"Ours [MW]": mine, "Theirs [MW]": other, "From": _moment(t)},
                    ),
                )
        return None

    def _finding(
        self, at: int, level: int, value: float, limit: float, *, unit: str, texts: Texts
    ) -> Finding:
        return Finding(
            self.subject, at, level, level, value, limit, unit, t_source=at, t_received=at, texts=texts
        )


def _moment(t: int) -> str:
    return datetime.fromtimestamp(t // SECOND, UTC).strftime("%Y-%m-%d %H:%MZ")
