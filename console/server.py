"""The console as a running server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import structlog
import uvicorn

from console.api import Api
from console.app import Console
from console.config import ConsoleSettings, ConsoleTls
from console.connections import Connection
from console.corridor import site_view
from console.feed import Feed
from console.ports import Ports
from console.sessions import Sessions
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.site import Site

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 256
"""Open connections; more are answered 503."""
MAX_PER_ADDRESS = 64
"""Open connections of one address."""
REQUEST_S = 30.0
"""Longest time that a request may take to arrive [s]."""
GRACE_S = 2
"""How long a stop waits for requests that are being answered [s]."""


class ConsoleError(GreenbridgeError):
    """The console cannot listen where it is told to."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the application decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A console that is open to people."""

    def __init__(self, url: str, api: Api, feed: Feed) -> None:
        self.url = url
        """The address of the page, for example ``http://127.0.0.1:8080``."""
        self._api = api
        self._feed = feed

    async def show(self, site: Site) -> None:
        """Shows another site; open pages load themselves again."""
        view = await asyncio.to_thread(site_view, site)
        self._api.show(site, view)
        self._feed.show(view)
        await self._feed.turn()


@asynccontextmanager
async def serving(
    settings: ConsoleSettings,
    clock: Clock,
    site: Site,
    ports: Ports,
    sessions: Sessions,
) -> AsyncIterator[Serving]:
    """Serves the console while the context is open; at its end streams end at once, requests within 2 s.

    Arguments
    ---------
    settings
        The ``[console]`` table.
    clock
        Time.
    site
        What is shown.
    ports
        What is asked for values, alarms and status.
    sessions
        Opened by the caller, who also offers it the one-time token.

    Yields
    ------
    Serving
        The console with the address of its page.

    Raises
    ------
    ConsoleError
        The address cannot be listened on, or key and certificate cannot be used.

    """
    tls = None if settings.tls is None else await asyncio.to_thread(context_of, settings.tls)
    view = await asyncio.to_thread(site_view, site)
    feed = Feed(clock, view, ports)
    api = Api(settings, clock=clock, site=site, view=view, ports=ports, sessions=sessions, feed=feed)
    console = Console(settings, api, sessions, feed, ports.status)
    listener = _listener(settings)
    # behind a proxy every connection is its
    per_address = None if settings.behind_proxy else MAX_PER_ADDRESS
    http = partial(Connection, request_s=REQUEST_S, per_address=per_address)
    host, port = listener.getsockname()[:2]
    server = _Server(
        uvicorn.Config(
            console.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http=cast("type[Connection]", http),
            loop="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
    )
    scheme = "http" if tls is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    async with asyncio.TaskGroup() as tasks:
        feeding = tasks.create_task(feed.run(), name="console feed")
        answering = tasks.create_task(server.serve([listener]), name="console server")
        log.info("console_listens", url=url)
        try:
            yield Serving(url, api, feed)
        finally:
            await feed.close()
            server.should_exit = True
            await asyncio.wait({answering})
            feeding.cancel()
            log.info("console_stopped")


async def run(
    settings: ConsoleSettings,
    clock: Clock,
    site: Site,
    ports: Ports,
    sessions: Sessions,
) -> None:
    """Serves the console until cancelled; arguments and errors as :func:`serving`."""
    async with serving(settings, clock, site, ports, sessions):
        await asyncio.Event().wait()


def context_of(tls: ConsoleTls) -> ssl.SSLContext:
    """What the console answers TLS with: version 1.2 or later.

    Raises
    ------
    ConsoleError
        A file cannot be read, or key and certificate do not belong together.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        password = ""
        if tls.key_password_file is not None:
            password = (Path(tls.key_password_file).read_text("utf-8").splitlines() or [""])[0]
        # a password must be given: without one OpenSSL would ask at the terminal
        context.load_cert_chain(tls.certificate_file, tls.key_file, lambda: password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = ", ".join(filter(None, (tls.certificate_file, tls.key_file, tls.key_password_file)))
        reason = getattr(error, "strerror", None) or str(error)
        raise ConsoleError(
            f"the console cannot use the files of [console.tls], {files}: {reason}; name readable PEM files "
            "that belong to each other"
        ) from None
    return context


def _listener(settings: ConsoleSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host.strip("[]"), settings.port))
        # from now on who connects waits for the server instead of being refused
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConsoleError(
            f"the console cannot listen on {settings.host} port {settings.port} ({error.strerror}); stop "
            "what uses the port, or set another one as port in [console]"
        ) from error
    return listener
