"""A site on Sparkplug, whole: edge node, broker, the process, and what its console and its files say."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from greenbridge.demo.operator import ConsoleClient, console_client
from simulators.bench import Broker as BrokerSettings
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.payloads import DataType
from simulators.devices.sparkplug.plan import DevicePlan, MetricPlan, NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner, Moment
from telemetry.errors import UnavailableError
from tests.adapters.brokers import Broker, free_port, mosquitto_broker
from tests.support.demo import CLOCK

pytestmark = pytest.mark.system("mosquitto")

GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.03, x_ohm_per_km = 0.3, b_us_per_km = 3.6, corona_kw_per_km = 2.4 }
area = [{ id = "KZ", name = "Kazakhstan", utc_offset_h = 5.0, sync_area = "IPS/UPS" }]
node = [{ id = "SHU", name = "Shu", area = "KZ", latitude = 43.6, longitude = 73.7 }]
"""
MAIN = """
name = "One mast"
state_dir = "{state}"
[console]
port = {console}
[[sparkplug.host]]
id = "main"
host_id = "scada"
host = "127.0.0.1"
port = {broker}
client_id = "greenbridge"
backoff_first_s = 0.05
backoff_max_s = 0.2
"""
DEVICES = """
[[device]]
id = "mast"
profile = "spb-mast"
node = "SHU"
role = "unit"
sparkplug = { host = "main", group = "corridor", edge = "site", device = "mast" }
"""
PLAN = NodePlan(
    "corridor",
    "site",
    (
        DevicePlan(
            "mast",
            tuple(
                MetricPlan(name, DataType.FLOAT, unit)
                for name, unit in (("HorWdSpd", "m/s"), ("HorWdDir", "deg"), ("EnvTmp", "degC"))
            ),
        ),
        DevicePlan("new", (MetricPlan("W", DataType.INT32, "kW"), MetricPlan("Name", DataType.STRING))),
    ),
)
Ask = Callable[[dict[str, dict[str, Any]]], bool]


class Still:
    """Devices whose values never change by themselves."""

    speed = 7.5

    def __call__(self, moment: Moment) -> dict[str, dict[str, Sample] | None]:
        now_ms = moment.own_ms
        mast = {"HorWdSpd": self.speed, "HorWdDir": 270.0, "EnvTmp": -4.0}
        return {
            "mast": {name: Sample(value, now_ms) for name, value in mast.items()},
            "new": {"W": Sample(-1500, now_ms), "Name": Sample("unit 9", now_ms)},
        }


@asynccontextmanager
async def edge_node(port: int, devices: Still) -> AsyncIterator[None]:
    runner = EdgeNodeRunner(PLAN, BrokerSettings(port=port), CLOCK, devices, period_s=0.1)
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def running(folder: Path, broker: Broker) -> AsyncIterator[ConsoleClient]:
    console = free_port()
    (folder / "grid.toml").write_text(GRID)
    (folder / "devices.toml").write_text(DEVICES)
    main = MAIN.format(state=folder / "state", console=console, broker=broker.port)
    (folder / "greenbridge.toml").write_text(main)
    token = secrets.token_urlsafe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "run", str(folder)),
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "GREENBRIDGE_SIGNIN_TOKEN": token},
    )
    try:
        async with console_client(f"http://127.0.0.1:{console}") as client:
            while True:
                assert process.returncode is None
                with suppress(UnavailableError):
                    await client.sign_in(token)
                    break
                await CLOCK.sleep(0.1)
            yield client
        process.terminate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
        await process.wait()


async def readings(client: ConsoleClient, wanted: Ask) -> dict[str, dict[str, Any]]:
    """Newest readings of the mast by point, once they are as wanted."""
    names = {p["index"]: p["name"] for p in (await client.get("/api/v1/site"))["points"]}
    while True:
        rows = await client.get("/api/v1/last?device=mast")
        found = {
            names[point]: {"value": value, "reason": reason, "t": t} for point, value, _, reason, t in rows
        }
        if wanted(found):
            return found
        await CLOCK.sleep(0.1)


def all_are(reason: str) -> Ask:
    return lambda found: len(found) == 3 and {row["reason"] for row in found.values()} == {reason}


async def test_a_site_on_sparkplug(tmp_path: Path) -> None:
    devices = Still()
    async with asyncio.timeout(120), mosquitto_broker(tmp_path) as broker:
        async with running(tmp_path, broker) as client:
            async with edge_node(broker.port, devices):
                found = await readings(client, all_are("good"))
                assert found["HorWdSpd"]["value"] == 7.5
                first = found["HorWdDir"]["t"]

                # longer than any limit of a periodic point: nothing changed, so nothing came
                await CLOCK.sleep(11)
                found = await readings(client, lambda _: True)
                assert all_are("good")(found)
                assert found["HorWdDir"]["t"] == first
                status = await client.get("/api/v1/status")
                assert [(link["link"], link["up"]) for link in status["links"]] == [("sparkplug/main", True)]
                assert (status["devices_seen"], status["dead_letters"]) == (1, 0)
                assert (await client.get("/api/v1/alarms"))["alarms"] == []
                picture = await client.get("/api/v1/series?point=mast/HorWdDir")
                assert [m for m in picture["mean"] if m is not None][-1] == 270.0
                assert picture["t"][-1] - picture["t"][0] > 9000, "drawn on until now"

                assert "1 metrics of 1 devices could be configured" in status["links"][0]["detail"]
                born = json.loads((tmp_path / "state" / "sparkplug-main.json").read_text())["devices"]
                states = {m["name"]: m["state"] for d in born if d["device"] == "new" for m in d["metrics"]}
                assert states == {"W": "proposed", "Name": "refused"}

                devices.speed = 9.0
                await readings(client, lambda f: f["HorWdSpd"]["value"] == 9.0)
            await readings(client, all_are("stale"))
            async with edge_node(broker.port, devices):
                await readings(client, all_are("good"))
                await broker.stop()
                await readings(client, all_are("link_lost"))
                await broker.start()
                await readings(client, all_are("good"))

        # what was good when the process ended does not hold when it begins again without the edge node
        async with running(tmp_path, broker) as client:
            await readings(client, all_are("stale"))
