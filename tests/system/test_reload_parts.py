"""A store, a webhook and a Sparkplug host that come and go while a site runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
from aiohttp import web

from tests.adapters.brokers import free_port
from tests.support.demo import CLOCK
from tests.support.influx import InfluxBench, influx, influxd
from tests.system.test_reload import Bed, bed
from tests.system.test_sparkplug_site import Still, edge_node

__all__ = ["influx", "influxd"]

GUARD_S = 170
PARTS = """
[influx]
url = "{influx}"
org = "{org}"
bucket = "{bucket}"
token_file = "{token_file}"
[[sparkplug.host]]
id = "plants"
host_id = "scada"
host = "127.0.0.1"
port = {broker}
client_id = "reload-host"
[[modbus.gateway]]
id = "GONE"
host = "127.0.0.1"
port = {gone}
[alerts.R13]
on_s = 2.0
[[alerts.webhook]]
id = "duty"
url = "{webhook}"
"""
MORE = """
[[device]]
id = "mast"
profile = "spb-mast"
node = "SHY"
role = "unit"
sparkplug = { host = "plants", group = "corridor", edge = "site", device = "mast" }
[[device]]
id = "gone"
profile = "pm5xxx"
node = "TAS"
role = "injection"
modbus = { gateway = "GONE", unit = 1 }
"""


@asynccontextmanager
async def webhook(posts: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A receiver of notifications."""

    async def receive(request: web.Request) -> web.Response:
        posts.append(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/notify", receive)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
    finally:
        await runner.cleanup()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():
        await CLOCK.sleep(0.2)


async def oldest_and_count(influx: InfluxBench) -> tuple[int, int]:
    """Source time [ns] of the first reading of a meter that was always there, and how many there are."""
    where = "FROM pm5xxx WHERE device = 'steady'"
    (first,) = await influx.ask(f"SELECT first(TotW) {where}")
    (count,) = await influx.ask(f"SELECT count(TotW) {where}")
    if "series" not in first:
        return 0, 0
    return first["series"][0]["values"][0][0], count["series"][0]["values"][0][1]


async def state_of_host(port: int) -> str:
    """What a broker keeps of the host application."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/STATE/scada", qos=1)
        async for message in client.messages:
            return bytes(message.payload).decode()
    return ""


def stores(status: dict[str, Any]) -> list[str]:
    return [store["name"] for store in status["stores"]]


@pytest.mark.system("mosquitto", "influxd")
async def test_a_store_a_webhook_and_a_host_come_and_go(tmp_path: Path, influx: InfluxBench) -> None:
    posts: list[dict[str, Any]] = []
    (tmp_path / "token").write_text(influx.token)
    async with asyncio.timeout(GUARD_S), webhook(posts) as address, bed(tmp_path) as site:
        file = tmp_path / "greenbridge.toml"
        plain = file.read_text()
        broker = int(plain.partition("[[mqtt.broker]]")[2].partition("port = ")[2].split()[0])
        await site.seen(4)
        await site.readings(100)
        assert await oldest_and_count(influx) == (0, 0)

        reloaded_ns = CLOCK.now_ns()
        parts = PARTS.format(
            influx=influx.url,
            org=influx.org,
            bucket=influx.bucket,
            token_file=tmp_path / "token",
            broker=broker,
            gone=free_port(),
            webhook=address,
        )
        file.write_text(plain.replace("[console]", parts + "[console]"))
        site.write(more=MORE)
        async with edge_node(broker, Still()):
            code, told = await site.reload(str(file), "--yes")
            assert (code, told.splitlines()[-1]) == (0, "Applied."), told
            await _took_effect(site, influx, posts)
            assert '"online":true' in (await state_of_host(broker)).replace(" ", "")
        oldest, _ = await oldest_and_count(influx)
        assert 0 < oldest < reloaded_ns, "what came before the store was there is filled in"

        file.write_text(plain)
        site.write()
        code, told = await site.reload(str(file), "--yes")
        assert (code, told.splitlines()[-1]) == (0, "Applied."), told
        await site.seen(4)
        status = await site.client.get("/api/v1/status")
        assert stores(status) == ["embedded"]
        _, kept = await oldest_and_count(influx)
        await site.readings(100)
        assert (await oldest_and_count(influx))[1] == kept, "a store that was taken out gets no more"
        assert '"online":false' in (await state_of_host(broker)).replace(" ", "")
        assert (await site.client.get("/api/v1/status"))["stores"][0]["holds"]
    assert "Traceback" not in (tmp_path / "greenbridge.log").read_text()


async def _took_effect(site: Bed, influx: InfluxBench, posts: list[dict[str, Any]]) -> None:
    async def mast_is_seen() -> bool:
        status = await site.client.get("/api/v1/status")
        return (status["devices"], status["devices_seen"]) == (6, 5)

    async def filled() -> bool:
        status = await site.client.get("/api/v1/status")
        return stores(status) == ["embedded", "influx"] and (await oldest_and_count(influx))[1] > 0

    async def told() -> bool:
        raised = [post for post in posts if post["occasion"] == "raised"]
        return any("GONE" in post["alarm"]["title"] + post["alarm"]["key"] for post in raised)

    for fact in (mast_is_seen, filled, told):
        await until(fact)
