"""People through apprise: a mail that is really sent, a web service, and services that are away."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.notify.apprise_address import AppriseAddress
from alerts.notify.channel import Notification
from alerts.notify.secret import Where
from alerts.notify.text import Reader, Writer
from telemetry.clock import ManualClock
from telemetry.errors import ConfigError, UnavailableError
from tests.support.apprise import apprise_workers

__all__ = ["apprise_workers"]
pytestmark = pytest.mark.usefixtures("apprise_workers")
ALARM = Alarm(
    "R6-A-B-1", "R6/A-B", "R6", 1, "A-B", "KZ", "A-B: 30 MW missing", Priority.URGENT,
    AlarmState.UNACKNOWLEDGED, 30.0, 7.0, "MW", "good", 1, 2, 3, 4, response="Call both dispatchers.",
)  # fmt: skip
NOTE = Notification("ann-1", Occasion.RAISED, 5, ALARM)
WHERE = Where("greenbridge.toml", "alerts.notify.recipient[0].address[0].apprise_file")


class Post:
    """A mail server that keeps what it takes, or takes nothing."""

    def __init__(self) -> None:
        self.answer = "250 OK"
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return self.answer


@asynccontextmanager
async def post_office(post: Post) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(post, hostname="localhost", loop=loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def address(url: str, language: str = "en", timeout_s: float = 10.0) -> AppriseAddress:
    return AppriseAddress(
        "ann/mail",
        url,
        WHERE,
        reader=Reader("ann", language, "Asia/Almaty"),
        writer=Writer("Green corridor", None),
        clock=ManualClock(),
        timeout_s=timeout_s,
    )


def mailto(port: int) -> str:
    return (
        f"mailto://127.0.0.1:{port}?from=greenbridge@example.org&to=ann@example.org&mode=insecure&format=text"
    )


@pytest.mark.parametrize(
    ("language", "subject"), [("en", "URGENT: A-B: 30 MW missing"), ("ru", "СРОЧНО: A-B: 30 MW missing")]
)
async def test_a_mail_arrives_whole(language: str, subject: str) -> None:
    post = Post()
    async with post_office(post) as port:
        await address(mailto(port), language).deliver(NOTE)
    (mail,) = post.mails
    assert mail["Subject"] == subject
    assert "ann@example.org" in mail["To"]
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Call both dispatchers." in body.get_content()
    assert "A-B, KZ" in body.get_content()


async def test_a_mail_server_that_takes_nothing_is_tried_again() -> None:
    post = Post()
    post.answer = "451 try again later"
    async with post_office(post) as port:
        with pytest.raises(UnavailableError, match=r'ann/mail: Sending email to "ann@example\.org" failed'):
            await address(mailto(port)).deliver(NOTE)
        post.answer = "250 OK"
        await address(mailto(port)).deliver(NOTE)
    assert len(post.mails) == 1


async def test_a_mail_server_that_does_not_answer() -> None:
    released = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UnavailableError, match=r"ann/mail: no answer within 0\.2 s"):
        await address(mailto(port), timeout_s=0.2).deliver(NOTE)
    released.set()
    server.close()
    await server.wait_closed()


async def test_nobody_listens(unused_tcp_port: int) -> None:
    with pytest.raises(UnavailableError, match=r"ann/mail: .+"):
        await address(mailto(unused_tcp_port), timeout_s=2).deliver(NOTE)


async def test_a_web_service(unused_tcp_port: int) -> None:
    got: list[dict[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append(json.loads(await request.text()))
        return web.Response(status=500 if len(got) == 1 else 200)

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    try:
        channel = address(f"json://127.0.0.1:{unused_tcp_port}/")
        with pytest.raises(UnavailableError):
            await channel.deliver(NOTE)
        await channel.deliver(NOTE)
    finally:
        await runner.cleanup()
    assert [document["title"] for document in got] == ["URGENT: A-B: 30 MW missing"] * 2


@pytest.mark.parametrize("url", ["nonsense", "mailto://", "", "gopher://127.0.0.1"])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="holds no address that apprise understands") as caught:
        address(url)
    assert "greenbridge.toml: alerts.notify.recipient[0].address[0].apprise_file" in str(caught.value)
    assert not url or url not in str(caught.value)
