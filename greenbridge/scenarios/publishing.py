"""Devices that publish, in virtual time: payload bytes through the adapter's decoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from adapters.mqtt.codec import RejectedPayloadError
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.plan import plan_topics
from simulators.faults.link import LinkFaults
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality
from telemetry.site import SitePoint

MAX_WAITING = 20_000
"""Messages that the devices keep while the broker is away; then the oldest are dropped."""

Published = tuple[str, bytes]
"""Topic and payload."""


class PublishedLink:
    """One broker as its source sees it, in virtual seconds from the start."""

    def __init__(
        self, broker: BrokerSettings, points: Sequence[SitePoint], faults: LinkFaults, start_ns: int
    ) -> None:
        self.name = f"mqtt/{broker.id}"
        self.faults = faults
        self._start_ns = start_ns
        self._topics = plan_topics(points)
        self._waiting: deque[Published] = deque(maxlen=MAX_WAITING)
        self._lost = False
        self._session = start_ns
        self._seq = 0
        self.rejected = 0
        """Messages that could not become readings."""

    @property
    def topics(self) -> frozenset[str]:
        """Topics that the site knows."""
        return self._topics.names

    def advance(self, messages: Iterable[Published], until_s: float) -> ReadingBatch | None:
        """Takes what the devices published up to a time [s]; None when nothing came of it."""
        now_ns = self._start_ns + round(until_s * 1e9)
        if not self.faults.accepts:
            self._waiting.extend(messages)
            if self._lost:
                return None
            self._lost = True
            index = list(chain.from_iterable(plan.decoder.index for plan in self._topics.plans))
            n = len(index)
            return self._batch(now_ns, index, [now_ns] * n, [float("nan")] * n, [int(Quality.LINK_LOST)] * n)
        if self._lost:
            self._lost, self._seq = False, 0
            self._session = max(now_ns, self._session + 1)
        arriving = [*self._waiting, *messages]
        self._waiting.clear()
        if not self.faults.healthy:
            arriving = self.faults.deliver(arriving)
        point: list[int] = []
        t_source: list[int] = []
        value: list[float] = []
        quality: list[int] = []
        for topic, payload in arriving:
            if topic not in self._topics.names:
                continue
            try:
                decoded = self._topics.route(topic).decode(payload, now_ns)
            except RejectedPayloadError:
                self.rejected += 1
                continue
            point += decoded.point
            t_source += decoded.t_source
            value += decoded.value
            quality += decoded.quality
        return self._batch(now_ns, point, t_source, value, quality) if point else None

    def _batch(
        self, now_ns: int, point: list[int], t_source: list[int], value: list[float], quality: list[int]
    ) -> ReadingBatch:
        self._seq += 1
        return ReadingBatch(
            self.name,
            self._session,
            self._seq,
            now_ns,
            np.array(point, np.uint32),
            np.array(t_source, np.int64),
            np.array(value, np.float64),
            np.array(quality, np.uint8),
        )
