"""The rules at work, without clock or file: records and ticks in, changes of alarms out.

Rules on aligned inputs are judged at every whole second that the watermark has passed, and only if an input
changed or has become too old since. Telemetry health (R13) is judged at ticks.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import structlog

from alerts import metrics
from alerts.alarms import Priority
from alerts.alignment import SECOND, Alignment, Snapshot, stale_after_s
from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.estimating import Estimating
from alerts.estimator.judgement import RULE as ESTIMATE
from alerts.estimator.judgement import WHOLE as NETWORK
from alerts.heard import Heard
from alerts.occurrence import Change
from alerts.rules.blindness import RULE as BLIND
from alerts.rules.blindness import VERSION as BLIND_VERSION
from alerts.rules.blindness import Blindness
from alerts.rules.catalogue import rules_of
from alerts.rules.clock_skew import RULE as SKEW
from alerts.rules.clock_skew import VERSION as SKEW_VERSION
from alerts.rules.clock_skew import ClockSkew
from alerts.rules.custom import Stale
from alerts.rules.finding import Finding, Grade, Rule, Subject, Texts, Timing
from alerts.rules.ledger import ledger_rules_of
from alerts.rules.system_health import JOURNAL, PREFIX, SystemHealth
from alerts.rules.telemetry_health import RULE, VERSION, WHOLE, TelemetryHealth
from alerts.schedules import ScheduleBook
from alerts.settlement.view import LedgerView
from ingest.ports import Ailment, JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.errors import GreenbridgeError
from telemetry.points import PointKind
from telemetry.site import Site, SitePoint

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)

STEP = SECOND
"""Distance of the instants that are judged [ns]."""

CLOCK_STEP = 60 * SECOND
"""Receipts that go back by more than this mean that the wall clock was stepped back [ns]."""

JUMP = 120 * SECOND
"""After a gap longer than this only its end is judged [ns]."""

WARM_UP = 90 * SECOND
"""Readings that a restart reads again, to fill buffers and means [ns]."""

FAILED_RULE = "RULES"
"""Rule name of the alarms about rules that raised an exception."""

_HEALTH = Subject(RULE, VERSION, WHOLE, "")
_ESTIMATE = Subject(ESTIMATE, 1, NETWORK, "")
_BLIND = Subject(BLIND, BLIND_VERSION, WHOLE, "")
_SKEW = Subject(SKEW, SKEW_VERSION, WHOLE, "")
_FAILED_TIMING = Timing((Grade(Priority.HIGH, 0.0),), 0.0)


class RuleFailedError(GreenbridgeError):
    """A rule that raised an exception; it is disabled until the next start."""

    def __init__(self, subject: Subject, cause: Exception) -> None:
        super().__init__(f"rule {subject.key} failed: {type(cause).__name__}: {cause}")
        self.subject = subject
        self.detail = f"{type(cause).__name__}: {cause}"


class _Mark(NamedTuple):
    """A place in the journal, by time of receipt."""

    t_received: int
    after: int


class Evaluation:
    """All rules of a site on their way through the journal.

    Parameters
    ----------
    site
        What is measured.
    settings
        Rules and thresholds.
    book
        Alarms as the latest commit left them.
    instant
        Newest instant that was judged before [ns, UTC]; it is not judged again.
    estimating
        The state estimation that runs beside the rules, if any.
    schedules
        Agreed exchanges; without it the standing ones of the grid.
    ledger
        Gives what the rules on settlement see.

    """

    def __init__(
        self,
        site: Site,
        settings: AlertsSettings,
        book: AlarmBook,
        instant: int = 0,
        estimating: Estimating | None = None,
        *,
        schedules: ScheduleBook | None = None,
        ledger: Callable[[], LedgerView | None] = lambda: None,
    ) -> None:
        self.book = book
        rules, gaps = rules_of(site, settings, schedules)
        self._rules: dict[str, Rule] = {rule.subject.key: rule for rule in rules}
        self._ledger = ledger
        self._ledger_rules = {rule.subject.key: rule for rule in ledger_rules_of(site, settings)}
        self._ledger_at = 0
        self._system = SystemHealth()
        self._deaf = False
        self._health = TelemetryHealth(site, settings.health) if settings.health.enabled else None
        self._health_started = False
        self._skew = ClockSkew(site, settings.skew) if settings.skew.enabled else None
        self._blindness = Blindness(site, settings.blind) if settings.blind.enabled else None
        self._delay = round(settings.watermark_s * SECOND)
        self._estimating = estimating
        watched = {point for rule in rules for point in rule.inputs}
        points = sorted(watched.union(() if estimating is None else estimating.inputs))
        periods = {point: _period_s(site.points[point]) for point in points}
        silent = {point for point in points if site.points[point].profile.by_exception}
        stepped = {point for point in points if site.points[point].spec.kind is PointKind.STATE}
        self._alignment = Alignment(periods, settings.watermark_s, silent, stepped)
        self._constant = {rule.subject.key for rule in rules if silent.intersection(rule.inputs)}
        """Rules whose inputs hold without a word: they are judged at every instant."""
        self._turn = {key: (book.rank(rule.subject.rule), key) for key, rule in self._rules.items()}
        """Causes are judged before the consequences that they explain."""
        self._readers: dict[int, list[str]] = {point: [] for point in points}
        self._expiry: dict[str, int] = {}
        for rule in rules:
            limits = [stale_after_s(periods[point]) for point in rule.inputs]
            self._expiry[rule.subject.key] = round(max(limits) * SECOND)
            for point in rule.inputs:
                self._readers[point].append(rule.subject.key)
        prefix = f"{FAILED_RULE}/"
        kept = book.kept_keys()
        self._failed_before = {key.removeprefix(prefix) for key in kept if key.startswith(prefix)}
        """Rules that failed in an earlier run and have not been judged since."""
        # a point that was never heard of changes nothing, and is stale all the same
        self._changed = {rule.subject.key for rule in rules if isinstance(rule, Stale)}
        self._judged: OrderedDict[str, int] = OrderedDict()
        self._settled = instant
        self._instant = 0
        self._newest = 0
        self._marks: deque[_Mark] = deque()
        self._gaps = gaps

    @property
    def instant(self) -> int:
        """Newest instant that was judged, in this run or before it [ns, UTC]."""
        return max(self._instant, self._settled)

    @property
    def resume_after(self) -> int:
        """Record after which a restart must begin to read, to fill buffers and means again."""
        return self._marks[0].after if self._marks else 0

    def begin(self, now: int) -> list[Change]:
        """Compares the book with the configuration, once, before the first new record.

        Alarms whose rule or asset is no longer configured return to normal; rules whose asset is not measured
        are indeterminate.

        Parameters
        ----------
        now
            Wall time [ns, UTC].

        """
        subjects = [rule.subject for rule in self._rules.values()]
        subjects += [rule.subject for rule in self._ledger_rules.values()]
        known = {subject.key for subject in subjects} | {_failed(subject).key for subject in subjects}
        if self._health is not None:
            known |= {*self._health.keys, _failed(_HEALTH).key}
            self._health.resume(
                {
                    key: tracked.alarm.t_received
                    for key in self._health.keys
                    if (tracked := self.book.tracked(key)) is not None and tracked.alarm and tracked.level
                }
            )
        if self._blindness is not None:
            known |= {*self._blindness.keys, _failed(_BLIND).key}
        if self._skew is not None:
            known |= {*self._skew.keys, _failed(_SKEW).key}
        known |= {key for key in self.book.kept_keys() if key.startswith(PREFIX)}
        if self._estimating is not None:
            if self._estimating.raises:
                known |= {key for key in self.book.kept_keys() if key.startswith(f"{ESTIMATE}/")}
            known.add(_failed(_ESTIMATE).key)
        changes = self.book.retire(sorted(self.book.kept_keys() - known), now)
        for gap in self._gaps:
            if gap.blind:
                self.book.judge(gap.subject.unknown(now, gap.reason), _FAILED_TIMING, now)
        return changes

    def take(self, records: Sequence[JournalRecord], now: int) -> list[Change]:
        """Takes records and judges every instant that they let the watermark pass.

        Judgement is as if they came one by one; records of different sources between two instants are put
        into the buffers together, since numpy's cost is that of calls rather than of readings.

        Parameters
        ----------
        records
            The next records of the journal.
        now
            Wall time, for labels [ns, UTC].

        """
        changes: list[Change] = []
        together: dict[str, ReadingBatch] = {}
        for record in records:
            batch = record.batch
            if batch.source in together or batch.t_received < self._newest - CLOCK_STEP:
                self._put(together)
            self._follow_clock(batch.t_received, now)
            self._newest = max(self._newest, batch.t_received)
            if not self._marks or batch.t_received >= self._marks[-1].t_received + STEP:
                self._marks.append(_Mark(batch.t_received, record.offset - 1))
                while len(self._marks) > 1 and self._marks[1].t_received <= self._newest - WARM_UP:
                    self._marks.popleft()
            together[batch.source] = batch
            if self._instant == 0 or self._watermark(batch.t_received) > self._instant:
                self._put(together)
                changes += self._advance(batch.t_received, now)
        self._put(together)
        return changes

    def _put(self, together: dict[str, ReadingBatch]) -> None:
        """Puts batches of different sources, which share no point, into the buffers, and forgets them."""
        if not together:
            return
        batches = list(together.values())
        together.clear()
        heard = batches[0] if len(batches) == 1 else Heard.of(batches)
        if self._health is not None:
            self._health.observe(heard)
        if self._skew is not None:
            self._skew.observe(heard)
        late = self._alignment.late_readings
        for point in self._alignment.push(heard).tolist():
            self._changed.update(self._readers[point])
        metrics.LATE_READINGS.inc(self._alignment.late_readings - late)

    def reconsider(self, points: Iterable[int]) -> None:
        """Has the rules that read some points judged at the next instant, though nothing new was measured."""
        for point in points:
            self._changed.update(self._readers.get(point, ()))

    def judge_system(self, ailments: Sequence[Ailment], now: int) -> list[Change]:
        """Judges what the parts of greenbridge say of themselves.

        While the journal takes nothing, no silence of the telemetry is judged: nothing could be heard.

        Parameters
        ----------
        ailments
            What they complain of now.
        now
            Wall time [ns, UTC].

        """
        self._deaf = any(ailment.part == JOURNAL for ailment in ailments)
        changes = []
        for finding, timing in self._system.findings(now, ailments, self.book.open_keys()):
            change = self.book.judge(finding, timing, now)
            changes += [change] if change is not None else []
        return changes

    def tick(self, now: int, at_head: bool) -> list[Change]:
        """Judges what follows from time alone; only to be called near the head of the journal.

        Parameters
        ----------
        now
            Wall time [ns, UTC].
        at_head
            Every record of the journal was taken, so that what was received before the watermark is known.

        """
        self._follow_clock(now, now)
        changes = self._advance(now, now) if at_head else []
        changes += self._judge_ledger(now)
        if self._deaf:
            return changes
        changes += self._judge_clocks(now)
        changes += self._judge_blindness(now)
        return changes + self._judge_health(now)

    def _judge_clocks(self, now: int) -> list[Change]:
        skew = self._skew
        if skew is None:
            return []
        open_keys = self.book.open_keys() & skew.keys
        try:
            return self._judged_at(now, _SKEW, lambda: list(skew.findings(now, open_keys)), skew.timing)
        except RuleFailedError as error:
            self._skew = None
            return self._disabled(error, now)

    def _judge_blindness(self, now: int) -> list[Change]:
        blindness = self._blindness
        if blindness is None:
            return []
        open_keys = self.book.open_keys() & blindness.keys
        gaps = {(gap.subject.rule, gap.subject.asset) for gap in self._gaps}
        unknown = [u for u in self.book.indeterminate() if (u.rule, u.asset) not in gaps]
        try:
            return self._judged_at(
                now, _BLIND, lambda: list(blindness.findings(now, unknown, open_keys)), blindness.timing
            )
        except RuleFailedError as error:
            self._blindness = None
            return self._disabled(error, now)

    def _judge_health(self, now: int) -> list[Change]:
        health = self._health
        if health is None:
            return []
        if not self._health_started:
            health.start(now)
            self._health_started = True
        open_keys = self.book.open_keys() & health.keys
        try:
            return self._judged_at(now, _HEALTH, lambda: list(health.findings(now, open_keys)), health.timing)
        except RuleFailedError as error:
            self._health = None
            return self._disabled(error, now)

    def _judged_at(
        self,
        now: int,
        subject: Subject,
        work: Callable[[], list[Finding]],
        timing: Callable[[str], Timing],
    ) -> list[Change]:
        """Takes the findings of a rule on many assets that is judged by time.

        Raises
        ------
        RuleFailedError
            The rule raised an exception.

        """
        findings = _guarded(subject, work)
        metrics.EVALUATIONS.labels(subject.rule).inc(len(findings))
        changes = self._recovered(subject, now)
        for finding in findings:
            change = self.book.judge(finding, timing(finding.subject.key), now)
            changes += [change] if change is not None else []
        return changes

    def _judge_ledger(self, now: int) -> list[Change]:
        """Judges the ledger's latest look, once."""
        view, changes = self._ledger(), []
        if view is None or view.at <= self._ledger_at:
            return []
        self._ledger_at = view.at
        for key, rule in list(self._ledger_rules.items()):
            metrics.EVALUATIONS.labels(rule.subject.rule).inc()
            try:
                finding = _guarded(rule.subject, partial(rule.judge, view))
            except RuleFailedError as error:
                del self._ledger_rules[key]
                changes += self._disabled(error, now)
                continue
            if finding is not None:
                change = self.book.judge(self._with_evidence(finding), rule.timing, now)
                changes += [change] if change is not None else []
                changes += self._recovered(rule.subject, now)
        return changes

    def _advance(self, frontier: int, now: int) -> list[Change]:
        """Judges the instants up to the watermark behind a time of receipt [ns, UTC]."""
        last = self._watermark(frontier)
        if self._instant == 0 or last - self._instant > JUMP:
            self._instant = last - STEP
        changes: list[Change] = []
        while self._instant < last:
            self._instant += STEP
            self._alignment.settled = self._instant
            changes += self._judge_instant(now)
        return changes

    def _watermark(self, frontier: int) -> int:
        """Newest instant that may be judged when something was received at ``frontier`` [ns, UTC]."""
        return (frontier - self._delay) // STEP * STEP

    def _judge_instant(self, now: int) -> list[Change]:
        instant = self._instant
        due = self._changed | self._constant
        self._changed = set()
        while self._judged:
            key, judged_at = next(iter(self._judged.items()))
            if instant - judged_at <= self._expiry[key]:
                break
            # nothing new came for so long that an input is stale by now
            due.add(key)
            self._judged.move_to_end(key)
            self._judged[key] = instant
        snapshot = Snapshot(instant, self._alignment)
        changes: list[Change] = []
        judged = Counter[str]()
        judging = [self._rules[key] for key in sorted(due, key=self._turn.__getitem__) if key in self._rules]
        if judging:
            self._alignment.look(instant, {point for rule in judging for point in rule.inputs})
        for rule in judging:
            key = rule.subject.key
            self._judged[key] = instant
            self._judged.move_to_end(key)
            judged[rule.subject.rule] += 1
            try:
                finding = _judgement(rule, snapshot)
            except RuleFailedError as error:
                changes += self._disabled(error, now)
                continue
            if instant > self._settled:
                change = self.book.judge(self._with_evidence(finding), rule.timing, now)
                if change is not None:
                    changes.append(change)
                if key in self._failed_before:
                    changes += self._recovered(rule.subject, now)
        for name, count in judged.items():
            metrics.EVALUATIONS.labels(name).inc(count)
        if self._estimating is not None and instant > self._settled:
            changes += self._estimated(self._estimating, snapshot, now)
        return changes

    def _estimated(self, estimating: Estimating, snapshot: Snapshot, now: int) -> list[Change]:
        """Hands the instant to the state estimation, and judges what it has found meanwhile."""
        changes = []
        for finding in estimating.findings():
            metrics.EVALUATIONS.labels(ESTIMATE).inc()
            change = self.book.judge(finding, estimating.timing, now)
            changes += [change] if change is not None else []
        try:
            _guarded(_ESTIMATE, lambda: estimating.take(snapshot, self.book.open_keys()))
        except RuleFailedError as error:
            self._estimating = None
            return changes + self._disabled(error, now)
        return changes + self._recovered(_ESTIMATE, now)

    def _with_evidence(self, finding: Finding) -> Finding:
        """A finding with what the state estimate says of its asset."""
        if finding.texts is None or self._estimating is None:
            return finding
        subject = finding.subject
        further = self._estimating.evidence(subject.rule, subject.asset, finding.at)
        texts = replace(finding.texts, evidence={**finding.texts.evidence, **further})
        return replace(finding, texts=texts)

    def _follow_clock(self, t_received: int, now: int) -> None:
        """Begins anew when the wall clock was stepped back: buffers hold times that now lie in the future."""
        if t_received >= self._newest - CLOCK_STEP:
            return
        _log.warning("clock_stepped_back", seconds=(self._newest - t_received) / SECOND)
        metrics.CLOCK_STEPS.inc()
        self._alignment.clear()
        self._judged.clear()
        self._marks.clear()
        self._newest = t_received
        self._settled = self._instant = 0
        if self._skew is not None:
            self._skew.forget()
        if self._health is not None:
            self._health.forget()
            self._health.start(now)

    def _disabled(self, error: RuleFailedError, now: int) -> list[Change]:
        subject = error.subject
        _log.error(
            "rule_disabled", rule=subject.rule, asset=subject.asset, error=error.detail, exc_info=error
        )
        metrics.RULE_FAILURES.labels(subject.rule).inc()
        rule = self._rules.pop(subject.key, None)
        timing = rule.timing if rule is not None else _FAILED_TIMING
        self._judged.pop(subject.key, None)
        unknown = subject.unknown(self.instant, "the rule is disabled because it failed")
        self.book.judge(unknown, timing, now)
        failed = Finding(
            _failed(subject),
            now,
            level=1,
            held_level=1,
            value=1.0,
            limit=0.0,
            unit="1",
            t_source=now,
            t_received=now,
            texts=Texts(
                f"Rule {subject.rule} no longer watches {subject.asset}: it failed",
                f"The rule raised an exception ({error.detail}) and was disabled; the other rules go on.",
                f"Nobody is told when {subject.asset} breaks rule {subject.rule}.",
                "1. Watch this asset by hand. 2. Send the log of this event to the maintainers. "
                "3. Restart greenbridge to try the rule again.",
                {"Error": error.detail},
            ),
        )
        change = self.book.judge(failed, _FAILED_TIMING, now)
        return [change] if change is not None else []

    def _recovered(self, subject: Subject, now: int) -> list[Change]:
        """Ends the alarm about a rule that failed before the restart and works now."""
        failed = _failed(subject)
        tracked = self.book.tracked(failed.key)
        self._failed_before.discard(subject.key)
        if tracked is None or not tracked.level:
            return []
        change = self.book.judge(Finding(failed, now, value=0.0, limit=0.0), _FAILED_TIMING, now)
        return [change] if change is not None else []


def _period_s(point: SitePoint) -> float:
    """Expected time between two readings of a point [s]."""
    return point.profile.period_of(point.key.name)


def _failed(subject: Subject) -> Subject:
    return Subject(FAILED_RULE, 1, subject.key, subject.area)


def _judgement(rule: Rule, snapshot: Snapshot) -> Finding:
    return _guarded(rule.subject, lambda: rule.evaluate(snapshot))


def _guarded(subject: Subject, work: Callable[[], Result]) -> Result:
    """Runs a rule; whatever it raises becomes one named error, so that one rule cannot stop the others."""
    try:
        return work()
    except Exception as error:
        raise RuleFailedError(subject, error) from error
