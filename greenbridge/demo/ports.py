"""Picks loopback ports that are free."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from telemetry.errors import GreenbridgeError

_STEP = 200
_TRIES = 40


def free_shift(ports: Iterable[int]) -> int:
    """Smallest multiple of 200 by which all ports can be shifted so that each is free on loopback.

    Raises
    ------
    GreenbridgeError
        None of 40 shifts fits.

    """
    wanted = list(ports)
    for shift in range(0, _STEP * _TRIES, _STEP):
        if all(_is_free(port + shift) for port in wanted):
            return shift
    raise GreenbridgeError(f"no free ports from {min(wanted)} upwards on 127.0.0.1; stop what uses them")


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
