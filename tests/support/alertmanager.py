"""A real Prometheus Alertmanager on loopback, with a receiver that is a list."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from aiohttp import web

CONFIG = """
route:
  receiver: people
  group_by: [alertname, asset, site]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 4h
receivers:
  - name: people
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


class Manager:
    """A running server and what its receiver was sent."""

    def __init__(self, url: str, told: list[dict[str, Any]]) -> None:
        self.url = url
        self.told = told
        """Alerts that people were sent, in order; one that was sent twice stands there twice."""

    async def alerts(self) -> list[dict[str, Any]]:
        """Alerts that are active."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/api/v2/alerts", params={"active": "true"})
        return msgspec.json.decode(answer.content, type=list[dict[str, Any]])

    async def until_told(self, alertname: str, status: str) -> dict[str, Any]:
        """Returns an alert as soon as people were sent it."""
        while True:
            for alert in self.told:
                if alert["labels"]["alertname"] == alertname and alert["status"] == status:
                    return alert
            await asyncio.sleep(0.05)  # noqa: TID251 - the server's time, not ours

    def names(self, status: str) -> list[str]:
        """Names of the alerts that people were sent, without the heartbeat."""
        return [
            a["labels"]["alertname"] for a in self.told if a["status"] == status and "asset" in a["labels"]
        ]


@asynccontextmanager
async def alertmanager(directory: Path) -> AsyncIterator[Manager]:
    """Debian's prometheus-alertmanager, alone and without a cluster."""
    told: list[dict[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        document = msgspec.json.decode(await request.read(), type=dict[str, Any])
        told.extend(document["alerts"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file = directory / "alertmanager.yml"
    file.write_text(CONFIG.format(url=f"http://127.0.0.1:{runner.addresses[0][1]}/"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = (directory / "alertmanager.log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220 - it only starts it
        [
            "prometheus-alertmanager",
            f"--config.file={file}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        async with httpx.AsyncClient() as client:
            while True:
                assert process.poll() is None, (directory / "alertmanager.log").read_text()[-2000:]
                try:
                    if (await client.get(f"http://{address}/-/ready")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)  # noqa: TID251 - the server's time, not ours
        yield Manager(f"http://{address}", told)
    finally:
        process.terminate()
        process.wait(10)
        log.close()
        await runner.cleanup()
