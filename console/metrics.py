"""Metrics of the console itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

REQUESTS = Counter(
    "greenbridge_console_requests",
    "Requests answered, by route pattern and class of status",
    ["route", "status"],
)
REFUSED = Counter(
    "greenbridge_console_refused",
    "Requests refused before a route saw them, by reason",
    ["reason"],
)
SIGN_INS = Counter("greenbridge_console_sign_ins", "Attempts to sign in, by result", ["result"])
STREAMS = Gauge("greenbridge_console_streams", "Open event streams")
STREAMS_ENDED = Counter(
    "greenbridge_console_streams_ended", "Event streams that ended, by reason", ["reason"]
)
EVENTS = Counter("greenbridge_console_events", "Events sent to open streams, by name", ["event"])
