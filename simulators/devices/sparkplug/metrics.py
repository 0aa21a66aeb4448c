"""Prometheus metrics of edge nodes; labels are bounded by the configuration."""

from prometheus_client import Counter, Gauge

PUBLISHED = Counter(
    "greenbridge_sim_sparkplug_published_total", "Messages that edge nodes published", ["node", "verb"]
)
IGNORED = Counter(
    "greenbridge_sim_sparkplug_ignored_total", "Messages to edge nodes that had no effect", ["node"]
)
BORN = Gauge("greenbridge_sim_sparkplug_born", "1 while the edge node is in a session", ["node"])
WAITING = Gauge("greenbridge_sim_sparkplug_waiting", "Samples that an edge node keeps for later", ["node"])
DROPPED = Gauge(
    "greenbridge_sim_sparkplug_dropped",
    "Samples dropped since the start, the oldest first, for lack of room",
    ["node"],
)
