"""The shell around the state estimator: runs it in a thread beside the rules, and never stops them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import structlog

from alerts import metrics
from alerts.alignment import SECOND, Snapshot
from alerts.config import StateEstimateSettings
from alerts.estimator.judgement import RULE, Judge, Outcome
from alerts.estimator.least_squares import NotSolvedError
from alerts.estimator.measurements import Scan
from alerts.estimator.plan import plan_of
from alerts.rules.finding import Finding, Grade, Timing
from ingest.threads import OwnerThread
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.site import Site

_log = structlog.get_logger(__name__)

WAITING = 30
"""Scans that wait for the thread; of more the oldest are dropped and counted."""
EXPLAINED = frozenset({"R2", "R3", "R4", "R5", "R6", "R7", "R8"})
"""Rules whose alarms get the explanation as evidence."""
_VALID = 15 * SECOND
"""Age from which an outcome says nothing about an instant any more [ns]."""
_SHOWN = 60 * SECOND
"""Age from which an outcome is not shown to people any more [ns]."""

Publish = Callable[[Outcome], Awaitable[None]]


class EstimationFailedError(GreenbridgeError):
    """The estimator did not manage a scan; the next one is tried."""


class _Waiting(NamedTuple):
    scan: Scan
    calm: bool
    known: tuple[str, ...]


class Estimating:
    """State estimation of a site beside its rules.

    Scans come in with :meth:`take`; :meth:`run` works on the newest one each time, in its own thread. An
    estimate that fails is logged and counted, and the rules go on without it.

    Parameters
    ----------
    site
        What is measured.
    settings
        Of R18.
    clock
        Measures how long an estimate takes.
    publish
        Told of every outcome.

    """

    def __init__(
        self, site: Site, settings: StateEstimateSettings, clock: Clock, publish: Publish | None = None
    ) -> None:
        self._clock = clock
        self._plan = plan_of(site, settings.clock_sigma_s)
        self._judge = Judge(site, self._plan)
        self._publish = publish
        self.raises = settings.alarm
        """R18 has alarms of its own."""
        self._every = round(settings.every_s * SECOND)
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        """Of R18."""
        self._scans: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._begun = 0
        self._outcome: Outcome | None = None
        self._findings: tuple[Finding, ...] = ()
        self._complaint = ""

    @property
    def inputs(self) -> Sequence[int]:
        """Indices of the points that it reads."""
        return self._plan.inputs

    def take(self, snapshot: Snapshot, active: Collection[str]) -> None:
        """Takes what the meters read at an instant.

        Parameters
        ----------
        snapshot
            Of the instant.
        active
            Keys of the conditions that hold, or that a delay runs for.

        """
        rules = {key.partition("/")[0] for key in active}
        known = tuple(key.partition("/")[2] for key in active if key.startswith(f"{RULE}/"))
        self._scans.append(_Waiting(self._plan.scan(snapshot), not rules & {*EXPLAINED, RULE}, known))
        while len(self._scans) > WAITING:
            self._scans.popleft()
            metrics.SCANS_DROPPED.inc()
        self._arrived.set()

    def findings(self) -> Sequence[Finding]:
        """What R18 says since the last call."""
        findings, self._findings = self._findings, ()
        return findings

    def evidence(self, rule: str, asset: str, at: int) -> Mapping[str, float | str]:
        """What the newest estimate says about the asset of an alarm; nothing if it is of another time."""
        outcome = self._outcome
        if rule not in EXPLAINED or outcome is None or abs(at - outcome.diagnosis.instant) > _VALID:
            return {}
        return outcome.evidence.get(asset, {})

    def told(self, asset: str, now: int) -> Mapping[str, float | str]:
        """What the newest estimate says about an asset; nothing if there is none or it is too old."""
        outcome = self._outcome
        if outcome is None or now - outcome.diagnosis.instant > _SHOWN:
            return {}
        return outcome.evidence.get(asset, {})

    async def run(self) -> None:
        """Estimates until cancelled."""
        thread = OwnerThread("estimator")
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                waiting, self._scans = list(self._scans), deque()
                begun = self._clock.monotonic()
                try:
                    outcome = await thread.call(self._work, waiting)
                except EstimationFailedError as error:
                    self._failed(error)
                    continue
                if outcome is not None:
                    metrics.ESTIMATE_SECONDS.observe(self._clock.monotonic() - begun)
                    self._show(outcome)
                    if self._publish is not None:
                        await self._publish(outcome)
        finally:
            await thread.close()

    def _work(self, waiting: Sequence[_Waiting]) -> Outcome | None:
        """In the thread: keeps all scans, and estimates from the newest one if it is time."""
        newest = waiting[-1]
        try:
            for each in waiting:
                self._judge.keep(each.scan)
            if 0 <= newest.scan.instant - self._begun < self._every:
                return None
            self._begun = newest.scan.instant
            return self._judge.judge(newest.scan, newest.calm, newest.known)
        except Exception as error:
            raise EstimationFailedError(
                f"state estimation failed: {type(error).__name__}: {error}"
            ) from error

    def _show(self, outcome: Outcome) -> None:
        self._outcome, self._findings = outcome, outcome.findings if self.raises else ()
        metrics.ESTIMATES.labels("solved").inc()
        if self._complaint:
            self._complaint = ""
            _log.info("state_estimation_works_again")

    def _failed(self, error: EstimationFailedError) -> None:
        metrics.ESTIMATES.labels("failed").inc()
        self._outcome = None
        if str(error) != self._complaint:
            # once for each reason: it may last for days
            self._complaint = str(error)
            if isinstance(
                error.__cause__, NotSolvedError
            ):  # as at a start, while not every meter has been read
                _log.warning("state_not_estimated", reason=str(error.__cause__))
            else:
                _log.error("state_estimation_failed", error=str(error), exc_info=error)
