"""Prometheus metrics of the bench."""

from prometheus_client import Counter, Gauge

STEPS = Counter("greenbridge_sim_steps_total", "Seconds that the simulated world has been stepped")
STEPS_SKIPPED = Counter(
    "greenbridge_sim_steps_skipped_total",
    "Seconds that were stepped up to a minute at a time because the process could not keep up",
)
COLLAPSED = Gauge("greenbridge_sim_collapsed", "1 while the simulated grid is down")
PUBLISHED = Counter("greenbridge_sim_published_total", "MQTT messages that the broker acknowledged")
PUBLISH_DROPPED = Counter(
    "greenbridge_sim_publish_dropped_total",
    "MQTT messages dropped, the oldest first, while the broker was away",
)
PUBLISH_PENDING = Gauge("greenbridge_sim_publish_pending", "MQTT messages not yet acknowledged by the broker")
BROKER_CONNECTED = Gauge("greenbridge_sim_broker_connected", "1 while the publisher has a connection")
