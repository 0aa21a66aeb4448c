"""What a service manager is told of this process: systemd's notification protocol (sd_notify(3)).

Without systemd nothing is told. The watchdog hears from the event loop itself: one that hangs is killed and
started again.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog

from telemetry.clock import SystemClock

_log = structlog.get_logger(__name__)

READY, STOPPING = "READY=1", "STOPPING=1"
_ALIVE = "WATCHDOG=1"


class ServiceManager:
    """The manager that started this process, if one did.

    Parameters
    ----------
    environment
        With ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` as systemd sets them.
    pid
        Of this process.

    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # sd_notify(3): an "@" stands for the null byte of an abstract address
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self.watchdog_s = _watchdog_s(environment, pid) if name else None
        """Silence after which the manager kills this process [s]; None if it never does."""

    def tell(self, *states: str) -> None:
        """Sends states; a manager that does not take them is no reason to stop."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.connect(self._address)
                channel.send("\n".join(states).encode())
        except OSError as error:
            _log.warning("service_manager_not_told", states=states, error=str(error))

    async def watch(self) -> None:
        """Says that this process is alive, at half the time that the manager allows, until cancelled."""
        if self.watchdog_s is None:
            return
        # the manager's time is the machine's, whatever the pace of the site
        clock = SystemClock()
        while True:
            self.tell(_ALIVE)
            await clock.sleep(self.watchdog_s / 2)


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """What sd_watchdog_enabled(3) makes of the environment."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / 1e6 or None
