"""A client of the simulators' control interface."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from telemetry.errors import UnavailableError

_TIMEOUT_S = 5.0


async def ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Answer of a request below ``/api/v1/``, decoded.

    Raises
    ------
    UnavailableError
        The simulators do not answer or refuse, with their reason.

    """
    data = None if body is None else msgspec.json.encode(body)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session,
            session.request(method, f"{url.rstrip('/')}/api/v1/{path}", data=data) as response,
        ):
            raw = await response.read()
            status = response.status
    except aiohttp.InvalidURL:
        raise UnavailableError(f"{url} is no address; write it like http://127.0.0.1:15500") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = str(error) or f"no answer in {_TIMEOUT_S:g} s"
        raise UnavailableError(
            f"the simulators at {url} do not answer ({reason}); start them or name their --control address"
        ) from None
    try:
        answer = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise UnavailableError(f"{url} is not the control interface of simulators") from None
    if status >= 400:
        raise UnavailableError(f"the simulators refuse: {answer.get('error', status)}")
    return answer
