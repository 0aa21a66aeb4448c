"""The MQTT broker of the demonstration: mosquitto when it is on PATH, else the NATS server."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from telemetry.errors import GreenbridgeError


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker with its configuration written."""

    name: str
    command: tuple[str, ...]


def prepare(directory: Path, port: int, *, prefer: str = "") -> Broker:
    """Writes the configuration of the broker that this machine has.

    ``prefer`` names one of ``mosquitto`` and ``nats-server``; empty takes the first that is there.

    Raises
    ------
    GreenbridgeError
        Neither program is there.

    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (prefer,) if prefer else ("mosquitto", "nats-server"):
        path = _find(name)
        if path is not None:
            return _mosquitto(path, directory, port) if name == "mosquitto" else _nats(path, directory, port)
    raise GreenbridgeError(
        "no MQTT broker: mosquitto is not on PATH and nats-server is not installed beside greenbridge; "
        "install mosquitto, or install greenbridge with its pinned requirements"
    )


def _find(name: str) -> str | None:
    """On PATH, in the directories that Debian keeps servers in, or beside this Python."""
    beside = str(Path(sys.executable).parent)
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", beside])
    return shutil.which(name, path=places)


def _mosquitto(path: str, directory: Path, port: int) -> Broker:
    # The defaults of mosquitto drop queued messages and lose them when it is killed; these settings do not.
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\n"
        "allow_anonymous true\n"
        f"persistence true\npersistence_location {directory}/\n"
        "autosave_on_changes true\nautosave_interval 1\n"
        "max_queued_messages 0\nmax_queued_bytes 268435456\n"
        "max_inflight_messages 1000\nset_tcp_nodelay true\n"
        "log_dest stdout\nlog_type error\nlog_type warning\n"
        # started as root it would give up its rights to this directory
        f"user {'root' if os.geteuid() == 0 else 'mosquitto'}\n"
    )
    return Broker("mosquitto", (path, "-c", str(config)))


def _nats(path: str, directory: Path, port: int) -> Broker:
    config = directory / "nats-server.conf"
    # the server refuses subscriptions once their pending limits exceed 65535 in sum: room for 130 topics
    config.write_text(
        'server_name: "greenbridge-demo"\n'
        'host: "127.0.0.1"\nport: -1\n'
        f'jetstream {{ store_dir: "{directory}/jetstream", max_file_store: 1GB, max_memory_store: 64MB }}\n'
        f'mqtt {{ host: "127.0.0.1", port: {port}, ack_wait: "2s", max_ack_pending: 500 }}\n'
        "logtime: true\n"
    )
    return Broker("nats-server", (path, "-c", str(config)))
