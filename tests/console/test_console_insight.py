from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from console.insight import Audited, DeviceQuality
from tests.console.rig import Rig, make_alarm

S = 1_000_000_000


def test_completeness_and_gaps_of_an_hour() -> None:
    device = DeviceQuality("d", "l", 1, 1, None, None, 1.0, (60, 30, 0, 0, 60, 0), 60.0)
    assert device.completeness_pct == pytest.approx(100 * 150 / 360)
    assert device.gaps == 2
    # a point that tells more often than it must is not more than complete
    assert replace(device, minutes=(90,)).completeness_pct == 100.0
    # what is reported by exception has nothing due
    assert replace(device, minutes=(), expected_per_minute=0.0).completeness_pct is None


async def test_the_inside_is_told_in_milliseconds(rig: Rig, operator: httpx.AsyncClient) -> None:
    now = rig.clock.now_ns()
    rig.insight.devices = [DeviceQuality("d", "modbus/A", 2, 1, now, now + 2 * S, 1.0, (60, 0), 60.0)]
    rig.insight.entries = [
        Audited(n, now, "anna", "acknowledge", "R6", "done", {"comment": "x"}) for n in (1, 2, 3)
    ]
    rig.insight.fault = "entry 2 is missing"
    rig.insight.words = {"SHY-TAS": {"Explanation": "a tap", "T": 210.0}}

    quality = (await operator.get("/api/v1/quality")).json()
    device = quality["devices"][0]
    assert (device["delay_s"], device["completeness_pct"], device["gaps"]) == (2.0, 50.0, 1)
    assert device["t_source"] == now // 1_000_000
    assert quality["letters"][0]["reason"] == "not_json"
    machinery = (await operator.get("/api/v1/machinery")).json()
    assert machinery["cursors"] == [{"name": "embedded", "offset": 990, "behind": 10}]
    audit = (await operator.get("/api/v1/audit?limit=1&before=3")).json()
    assert ([entry["number"] for entry in audit["entries"]], audit["total"]) == ([2], 3)
    assert audit["fault"] == "entry 2 is missing"
    explanation = (await operator.get("/api/v1/explanation?asset=SHY-TAS")).json()
    assert explanation == {"Explanation": "a tap", "T": 210.0}
    assert (await operator.get("/api/v1/explanation?asset=nobody")).json() == {}


async def test_schedules_and_what_may_deviate(operator: httpx.AsyncClient) -> None:
    agreed = (await operator.get("/api/v1/agreed?start=1000&end=5000")).json()
    assert agreed["schedules"]["SHY-TAS"] == [[1000, 323.0], [5000, 323.0]]
    assert agreed["tolerances"]["SHY-TAS"] == 20.0
    for span in ("start=5000&end=5000", "start=0&end=9999999999999", "end=-1"):
        assert (await operator.get(f"/api/v1/agreed?{span}")).status_code == 400, span


async def test_indicators_of_a_position(rig: Rig, operator: httpx.AsyncClient) -> None:
    await rig.desk.put(make_alarm(rig.clock.now_ns()))
    found = (await operator.get("/api/v1/alarms/indicators")).json()
    assert (found["position"], found["last_day"], found["top"][0]["key"]) == ("all", 1, "R6/SHY-TAS")
    assert (await operator.get("/api/v1/alarms/indicators?position=KZ")).json()["standing"] == 1
    assert (await operator.get("/api/v1/alarms/indicators?position=XX")).status_code == 404
