"""The state of a link, kept by its source and read by status pages."""

from __future__ import annotations

import collections

from prometheus_client import Counter

from adapters import metrics


class LinkState:
    """Whether a link is up, since when, its latest error, and how often what happened on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connected_since: int | None = None
        """Wall time of the connection [ns, UTC]; None while there is none."""
        self.last_error = ""
        """Latest error in words; it stays after the link has recovered."""
        self.last_error_at: int | None = None
        """Wall time of the latest error [ns, UTC]."""
        self.note = ""
        """What people who look after the link should know though it is up; empty for nothing."""
        self.counts: collections.Counter[str] = collections.Counter()
        """Events by kind since the source was made; the kinds are listed in the adapter's README."""
        self._counters: dict[str, Counter] = {}
        # shows 0 at first; where a source is prepared beside one that runs, what that has set stays
        metrics.LINK_UP.labels(name)

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self.connected_since is not None

    def up(self, now_ns: int) -> None:
        """Notes that the connection stands."""
        self.connected_since = now_ns
        metrics.LINK_UP.labels(self.name).set(1)

    def down(self) -> None:
        """Notes that there is no connection any more."""
        self.connected_since = None
        metrics.LINK_UP.labels(self.name).set(0)

    def failed(self, now_ns: int, error: str) -> None:
        """Keeps the words of an error."""
        self.last_error, self.last_error_at = error, now_ns

    def count(self, event: str, n: int = 1) -> None:
        """Counts events of a kind; the kind is a metric label, so it must be one of a few words."""
        self.counts[event] += n
        counter = self._counters.get(event)
        if counter is None:
            counter = self._counters[event] = metrics.LINK_EVENTS.labels(self.name, event)
        counter.inc(n)
