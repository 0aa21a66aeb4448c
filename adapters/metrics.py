"""Prometheus metrics of the adapters. Labels are links (bounded by the configuration) and fixed words."""

from prometheus_client import Counter, Gauge, Histogram

LINK_EVENTS = Counter(
    "greenbridge_link_events_total",
    "What happened on a link, by kind: requests, replies, timeouts, rejected payloads, reconnects ...",
    ["link", "event"],
)
LINK_UP = Gauge("greenbridge_link_up", "1 while the link is connected.", ["link"])
ROUND_TRIP = Histogram(
    "greenbridge_modbus_round_trip_seconds",
    "Longest wait for a verified Modbus reply in each poll of a device.",
    ["link"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
NODES_ONLINE = Gauge(
    "greenbridge_sparkplug_nodes_online", "Sparkplug edge nodes that are born and not dead.", ["link"]
)
