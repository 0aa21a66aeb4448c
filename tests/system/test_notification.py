"""From a dead gateway to people: two greenbridge processes, a mail server and an Alertmanager."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ingest.audit import entries
from tests.adapters.brokers import free_port
from tests.alerts.test_alerts_apprise import Post, mailto, post_office
from tests.support.alertmanager import Manager, alertmanager
from tests.support.demo import CLOCK

GUARD_S = 170
EXAMPLE = Path(__file__).parents[2] / "examples" / "first-site"
SITE = """
name = "Pair"
state_dir = "{state}"
[[modbus.gateway]]
id = "north"
host = "127.0.0.1"
port = {dead}
[[modbus.gateway]]
id = "south"
host = "127.0.0.1"
port = {dead}
[console]
port = {port}
[alerts.R13]
on_s = 0
[[alerts.alertmanager]]
id = "am"
url = "{manager}"
every_s = 5
"""
PEOPLE = """
[[alerts.notify.recipient]]
id = "ann"
address = [{{ id = "mail", apprise_file = "{mail}" }}]
[[alerts.notify.route]]
id = "all"
to = ["ann"]
[alerts.notify.flood]
group_s = 1
[alerts.notify.links]
console_url = "http://127.0.0.1:{port}"
key_file = "{key}"
"""


@asynccontextmanager
async def running(directory: Path, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """``greenbridge run`` on a directory, and a stranger at its console."""
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "greenbridge", "run", str(directory), stdout=log, stderr=log, env=os.environ
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"origin": url}) as client:
            while True:
                assert process.returncode is None, (directory / "log").read_text()[-3000:]
                try:
                    if (await client.get("/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await CLOCK.sleep(0.1)
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def site(tmp_path: Path, name: str, manager: Manager, dead: int, people: str = "") -> tuple[Path, int]:
    """A directory with a configuration of its own, and the port of its console."""
    directory, port = tmp_path / name, free_port()
    shutil.copytree(EXAMPLE, directory)
    text = SITE.format(state=directory / "state", dead=dead, port=port, manager=manager.url)
    mail, key = tmp_path / "mail", tmp_path / "key"
    (directory / "greenbridge.toml").write_text(text + people.format(port=port, mail=mail, key=key))
    return directory, port


async def delivered(client: httpx.AsyncClient, count: int) -> None:
    """Returns when a process has handed so many notifications to the Alertmanager."""
    sample = 'greenbridge_notifications_total{channel="am",result="delivered"} '
    while True:
        text = (await client.get("/metrics")).text
        found = [line.removeprefix(sample) for line in text.splitlines() if line.startswith(sample)]
        if found and float(found[0]) >= count:
            return
        await CLOCK.sleep(0.1)


@pytest.mark.system("prometheus-alertmanager")
async def test_two_processes_reach_people_once_and_a_link_in_a_mail_acknowledges(tmp_path: Path) -> None:
    post = Post()
    (tmp_path / "key").write_text("a key of links that is long enough 0123456789")
    async with (
        asyncio.timeout(GUARD_S),
        alertmanager(tmp_path) as manager,
        post_office(post) as mail_port,
    ):
        (tmp_path / "mail").write_text(mailto(mail_port))
        dead = free_port()
        first = site(tmp_path, "first", manager, dead, PEOPLE)
        second = site(tmp_path, "second", manager, dead)
        async with running(*first) as client, running(*second) as other:
            await delivered(client, 2)
            await delivered(other, 2)
            # both have posted; an alert that was posted last reaches people after all that go before
            for number in range(2):
                while len(manager.names("firing")) < 2:
                    await CLOCK.sleep(0.1)
                document = {"labels": {"alertname": "Marker", "number": str(number)}}
                async with httpx.AsyncClient() as anybody:
                    await anybody.post(f"{manager.url}/api/v2/alerts", json=[document])
                await manager.until_told("Marker", "firing")
                manager.told[:] = [a for a in manager.told if a["labels"]["alertname"] != "Marker"]
            assert sorted(a["labels"]["asset"] for a in manager.told if "asset" in a["labels"]) == [
                "modbus/north",
                "modbus/south",
            ]

            while not post.mails:
                await CLOCK.sleep(0.1)
            body = post.mails[0].get_body(("plain",))
            assert body is not None
            (link, *_) = re.findall(r"http://127\.0\.0\.1:\d+/acknowledge/(\S+)", body.get_content())
            assert (await client.get(f"/acknowledge/{link}")).status_code == 200
            looked = (await client.get(f"/api/v1/acknowledgements/{link}")).json()
            assert (looked["waits"], looked["site"], looked["recipient"]) == (True, "Pair", "ann")
            done = await client.post(f"/api/v1/acknowledgements/{link}", json={"comment": "on my way"})
            assert done.json()["alarm"]["acknowledged_by"] == "ann (link)"
            elsewhere = await other.post(f"/api/v1/acknowledgements/{link}", json={})
            assert elsewhere.status_code == 404, "the other process has no links, and knows no such key"
        acts = [entry.act for entry in entries(first[0] / "state" / "audit.sqlite")]
        assert [(act.who, act.action, act.subject) for act in acts] == [
            ("ann (link)", "acknowledge", looked["alarm"]["id"])
        ]
