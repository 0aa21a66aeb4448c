"""Metrics of rules, alarms and notifications."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVALUATIONS = Counter("greenbridge_rule_evaluations", "Judgements of rules", ["rule"])
RULE_FAILURES = Counter(
    "greenbridge_rule_failures", "Rules disabled because they raised an exception", ["rule"]
)
INDETERMINATE = Gauge("greenbridge_rules_indeterminate", "Rules that cannot be judged now")
ACTIVE = Gauge("greenbridge_alarms_active", "Alarms that are not normal", ["priority"])
HELD_ALARMS = Gauge(
    "greenbridge_alarms_held", "Alarms that are shelved, suppressed or out of service", ["state"]
)
TRANSITIONS = Counter("greenbridge_alarm_transitions", "Steps of alarms", ["rule", "event"])
READ_TO_ALARM = Histogram(
    "greenbridge_read_to_alarm_seconds",
    "From the receipt of the data that raised an alarm to the alarm, without the on-delay",
    ["rule"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 3.5, 4, 5, 7.5, 10, 30, 60),
)
ESTIMATES = Counter("greenbridge_state_estimates", "State estimates: solved, failed", ["result"])
ESTIMATE_SECONDS = Histogram(
    "greenbridge_state_estimate_seconds",
    "Duration of a state estimate",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
SCANS_DROPPED = Counter(
    "greenbridge_state_estimate_scans_dropped", "Scans that the estimator was too slow to look at"
)
WATERMARK_LAG = Gauge("greenbridge_alerts_watermark_lag_seconds", "Time from the judged instant to now")
LATE_READINGS = Counter(
    "greenbridge_alerts_late_readings", "Readings of rule inputs that came after their instant was judged"
)
CLOCK_STEPS = Counter("greenbridge_alerts_clock_steps", "Steps of the wall clock that made rules start anew")
SCHEDULES = Counter(
    "greenbridge_schedules", "Schedules sent in, one for each tie or contract", ["party", "result"]
)
INTERVALS = Counter(
    "greenbridge_settlement_intervals", "Intervals of the ledger: closed, revised", ["minutes", "result"]
)
SETTLEMENT_FAILURES = Counter(
    "greenbridge_settlement_failures", "Looks of the settlement that storage held up; each is repeated"
)
COMMIT_FAILURES = Counter("greenbridge_alarm_commit_failures", "Failed commits of the alarm journal")
NOTIFICATIONS = Counter(
    "greenbridge_notifications",
    "Ends of notifications: delivered, refused, expired, overflow, channel_removed",
    ["channel", "result"],
)
NOTIFICATION_RETRIES = Counter(
    "greenbridge_notification_retries", "Attempts to be repeated later", ["channel"]
)
NOTIFICATIONS_PENDING = Gauge(
    "greenbridge_notifications_pending", "Notifications not yet delivered", ["channel"]
)
