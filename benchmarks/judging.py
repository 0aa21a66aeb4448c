"""Rules at work: 10,000 of them on 100,000 points, and what they cost while little changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from alerts.alarms import Priority
from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.custom_config import Level, ThresholdRule
from alerts.evaluation import Evaluation
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.devices import Device, MqttAddress, Role
from telemetry.grid import Area, Grid, LineParameters, Node
from telemetry.profiles import parse_profile
from telemetry.registry import PointRegistry
from telemetry.site import Site, point_keys

DEVICES, POINTS, WATCHED = 1000, 100, 10
"""Devices, points of each, and how many of them a rule watches."""
_SECOND = 10**9
_START = 1_700_000_000 * _SECOND
_PERIOD_S = 3600.0
"""Nothing is stale because it did not change."""


def site(devices: int) -> Site:
    """A site of devices with a hundred points each."""
    names = [f"P{i:02}" for i in range(POINTS)]
    points = "".join(f'{name} = {{ title = "Power", unit = "MW" }}\n' for name in names)
    fields = "".join(f'{name} = {{ field = "{name}" }}\n' for name in names)
    head = f'id = "many"\ntitle = "Many"\nsource = "benchmark"\nperiod_s = {_PERIOD_S}\n'
    profile = parse_profile(f"{head}[points]\n{points}[json.fields]\n{fields}", "many.toml")
    line = LineParameters(r_ohm_per_km=0.025, x_ohm_per_km=0.306, b_us_per_km=3.6, corona_kw_per_km=2.4)
    grid = Grid(
        u_rated_kv=500.0,
        line_parameters=line,
        area=(Area(id="X", name="", utc_offset_h=0.0, sync_area="S"),),
        node=(Node(id="N", name="", area="X", latitude=0.0, longitude=0.0),),
    )
    address = MqttAddress(broker="b")
    all_devices = [
        Device(id=f"D{i}", profile="many", node="N", role=Role.UNIT, mqtt=address) for i in range(devices)
    ]
    profiles = {"many": profile}
    return Site.of("many", grid, all_devices, profiles, PointRegistry(point_keys(all_devices, profiles)))


def rules(devices: int) -> tuple[ThresholdRule, ...]:
    """Ten thresholds for each device, none of which is passed."""
    limits = (Level(priority=Priority.LOW, above=500.0), Level(priority=Priority.HIGH, above=900.0))
    return tuple(
        ThresholdRule(
            id=f"R{i}-{k}", title="Power", kind="threshold", point=f"D{i}/P{k:02}", unit="MW", limits=limits
        )
        for i in range(devices)
        for k in range(WATCHED)
    )


def _records(many: Site, devices: Sequence[str], second: int) -> list[JournalRecord]:
    """What devices report in one second."""
    now = _START + second * _SECOND
    return [
        JournalRecord(
            second * DEVICES + number + 1,
            now,
            0,
            ReadingBatch.of(
                device,
                1,
                second,
                now,
                point=[point.index for point in many.points_of(device)],
                t_source=[now] * POINTS,
                value=[100.0 + second % 7] * POINTS,
                quality=[0] * POINTS,
            ),
        )
        for number, device in enumerate(devices)
    ]


class _Judged:
    """A site under judgement, second by second; what is reported is made outside of what is measured."""

    def __init__(self, devices: int, reporting: int) -> None:
        self._site = site(devices)
        self._evaluation = Evaluation(self._site, AlertsSettings(rule=rules(devices)), AlarmBook())
        self._reporting = [*self._site.devices][:reporting]
        self._second = 0
        # all points are known before, and every condition is calm
        for reporting_now in ([*self._site.devices], [*self._site.devices], self._reporting):
            self._take(_records(self._site, reporting_now, self._second))
            self._second += 5

    def _take(self, records: Sequence[JournalRecord]) -> None:
        self._evaluation.take(records, records[0].batch.t_received)

    def sample(self, size: Size) -> Sample:
        """Judges what some seconds bring."""
        seconds = max(2, round(4 * size.seconds))
        ready = [_records(self._site, self._reporting, self._second + n) for n in range(seconds)]
        self._second += seconds
        watch = Watch()
        for records in ready:
            self._take(records)
        return watch.sample(seconds)


@contextmanager
def _contenders(size: Size) -> Iterator[Contenders]:
    few = DEVICES // 100
    whole = _Judged(DEVICES, DEVICES)
    calm = _Judged(DEVICES, few)
    small = _Judged(few, few)
    yield {
        "10,000 rules, every input is new": partial(whole.sample, size),
        "10,000 rules, one input of 100 is new": partial(calm.sample, size),
        "100 rules, every input is new": partial(small.sample, size),
    }


JUDGED = Benchmark(
    "rules",
    "One second at 1 Hz of 100,000 points with 10,000 thresholds on them",
    "second",
    _contenders,
    target_per_s=2,
    per_core=True,
    note="below half a core; the second and third judge the same inputs, with 10,000 rules and with 100",
)
