"""greenbridge itself: what comes in, what is stored, what lags, what it complains of."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.alarms import Priority
from alerts.rules.system_health import RULE as SYSTEM
from grafana.groups import CHOSEN, counts
from grafana.model import Model
from grafana.panels import Panel, above, listing, trend
from grafana.records import alarm_log, own_state
from grafana.sheet import Row, alarm_link

SECONDS, BYTES = "s", "bytes"


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield "Readings", [
        _process("Readings per second", "Made durable in the journal.", "none", "readings_per_s"),
        *_by_area(model),
        _process(
            "Slow from receipt to journal", "99 % of the readings are durable within this time.",
            SECONDS, "p99_s", decimals=3,
        ),
        _process("Dead letters", "Received and not readable, since the beginning.", "none", "dead_letters"),
    ]  # fmt: skip
    yield "Devices and links", [
        _process(
            "Devices heard",
            "Of those in use, how many delivered since the start, and how many there are.",
            "none",
            "devices_seen",
            "devices",
        ),
        _process(
            "Links that are down", "Gateways and brokers.", "none", "links_down", limit=1,
        ),
    ]  # fmt: skip
    yield "Stores", [
        _store("Lag of stores", "Age of the oldest reading that is not applied yet.", SECONDS, "lag_s"),
        _store("Pending readings", "Committed and not yet applied, by store.", "none", "pending"),
        _store(
            "Unaccounted readings",
            "Received less every term that accounts for it: anything but 0 is a defect.",
            "none", "unaccounted", limit=1,
        ),
        _process("Free space", "On the disk of the state directory.", BYTES, "disk_free_bytes"),
    ]  # fmt: skip
    yield (
        "Complaints",
        [
            listing(
                "Alarms about greenbridge itself",
                "Disk, journal, stores, notifications: newest first.",
                alarm_log([SYSTEM]),
                height=8,
                link=alarm_link(model),
            )
        ],
    )


def _process(
    title: str, description: str, unit: str, *fields: str, decimals: int = 0, limit: float | None = None
) -> Panel:
    queries = [(field.replace("_", " "), own_state(field, "process")) for field in fields]
    limits = above((limit, Priority.HIGH)) if limit is not None else ()
    return trend(title, description, unit, queries, decimals=decimals, thresholds=limits)


def _store(title: str, description: str, unit: str, field: str, limit: float | None = None) -> Panel:
    limits = above((limit, Priority.HIGH)) if limit is not None else ()
    queries = [("$tag_name", own_state(field, "store"))]
    return trend(title, description, unit, queries, thresholds=limits)


def _by_area(model: Model) -> Iterator[Panel]:
    measurements = model.measurements_with("TotW")
    if measurements:
        yield trend(
            "Readings of meters by area",
            "Number of readings of TotW that are stored for each interval.",
            "none",
            [("$tag_area", counts(measurements, "TotW", "area", CHOSEN[:2]))],
            decimals=0,
        )
