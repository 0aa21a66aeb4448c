"""The webhook against a real server on loopback."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.notify.channel import Notification, RefusedError
from alerts.notify.secret import Where, key_in
from alerts.notify.webhook import WebhookChannel
from telemetry.clock import ManualClock
from telemetry.errors import ConfigError, UnavailableError

ALARM = Alarm(
    "R6-A-B-1", "R6/A-B", "R6", 1, "A-B", "KZ", "A-B: 30 MW missing", Priority.HIGH,
    AlarmState.UNACKNOWLEDGED, 30.0, 7.0, "MW", "good", 1, 2, 3, 4, evidence={"P at A [MW]": -322.1},
)  # fmt: skip
NOTE = Notification("R6-A-B-1-1", Occasion.RAISED, 5, ALARM)


class Receiver:
    """A web server that answers with a given status and keeps what it got."""

    def __init__(self) -> None:
        self.status = 204
        self.hold: asyncio.Event | None = None
        self.got: list[tuple[str, dict[str, object]]] = []
        self.raw: list[tuple[Mapping[str, str], bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((request.headers["Idempotency-Key"], json.loads(await request.text())))
        self.raw.append((request.headers.copy(), await request.read()))
        if self.hold is not None:
            await self.hold.wait()
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(status=self.status, text="" if self.status == 204 else "because", headers=headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    app = web.Application()
    app.router.add_post("/hook", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}/hook"
    yield server
    if server.hold is not None:
        server.hold.set()
    await runner.cleanup()


def channel(url: str, timeout_s: float = 10.0) -> WebhookChannel:
    return WebhookChannel("ops", url, ManualClock(), None, timeout_s)


async def test_a_notification_arrives_whole(receiver: Receiver) -> None:
    await channel(receiver.url).deliver(NOTE)
    ((key, body),) = receiver.got
    assert key == "R6-A-B-1-1"
    assert body["occasion"] == "raised"
    assert isinstance(body["alarm"], dict)
    assert body["alarm"]["title"] == "A-B: 30 MW missing"
    assert body["alarm"]["evidence"] == {"P at A [MW]": -322.1}


async def test_a_signature_proves_the_sender_the_time_and_every_byte(receiver: Receiver) -> None:
    """Judged as a receiver would, from Standard Webhooks alone."""
    secret = b"a key that both sides know, 32 bytes or so"
    clock = ManualClock()
    await WebhookChannel("ops", receiver.url, clock, secret, 10).deliver(NOTE)
    ((headers, body),) = receiver.raw
    assert headers["webhook-id"] == headers["Idempotency-Key"] == "R6-A-B-1-1"
    assert int(headers["webhook-timestamp"]) == clock.now_ns() // 10**9
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, signed, "sha256").digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    await channel(receiver.url).deliver(NOTE)
    assert "webhook-signature" not in receiver.raw[1][0], "without a key nothing pretends to be signed"


@pytest.mark.parametrize(
    ("text", "key"),
    [("plain key\n", b"plain key"), ("whsec_a2V5\n", b"key"), ("whsec_a2V", None), ("  \n", None)],
)
def test_keys_in_files(tmp_path: Path, text: str, key: bytes | None) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    where = Where("greenbridge.toml", "alerts.webhook[0].secret_file")
    if key is not None:
        assert key_in(file, where) == key
        return
    with pytest.raises(ConfigError, match=r"greenbridge.toml: alerts.webhook\[0\].secret_file = .*key"):
        key_in(file, where)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (202, None),
        (302, RefusedError),
        (400, RefusedError),
        (404, RefusedError),
        (408, UnavailableError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_answers(receiver: Receiver, status: int, error: type[Exception] | None) -> None:
    receiver.status = status
    if error is None:
        await channel(receiver.url).deliver(NOTE)
    else:
        with pytest.raises(error, match=rf"webhook ops answered {status}: because"):
            await channel(receiver.url).deliver(NOTE)
    assert len(receiver.got) == 1


async def test_no_answer_in_time(receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    with pytest.raises(UnavailableError, match="webhook ops"):
        await channel(receiver.url, timeout_s=0.05).deliver(NOTE)


async def test_nobody_listens(unused_port: int) -> None:
    with pytest.raises(UnavailableError, match="webhook ops"):
        await channel(f"http://127.0.0.1:{unused_port}/").deliver(NOTE)


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
