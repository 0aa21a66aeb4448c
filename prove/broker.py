"""A real mosquitto, sources that publish through it, and the subject's side of that link."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from benchmarks import machine
from ingest.intake import JournalIntake
from ingest.ports import Committed, DeadLetter
from prove.influxd import free_ports
from prove.ledger import POINTS, SESSION, SOURCES, START, Ledger, Message, conversation, values
from prove.subject import CLOCK
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.devices import Device, MqttAddress, Role
from telemetry.errors import UnavailableError
from telemetry.points import PointKey
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint

STRIKES = ("restart", "kill", "silent")
"""How it fails: it ends and keeps its state; ``kill -9``; it hears nothing and says nothing (half-open)."""
AGAIN_S = 2.0
"""What is not confirmed for so long is published again [s]: a killed broker may have forgotten it."""
KEEPALIVE_S = 5
_CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
set_tcp_nodelay true
user root
"""
_PROFILE = 'id = "prove"\ntitle = "Counts"\nsource = "made up"\n' + "".join(
    f'[points.P{i}]\ntitle = "number {i}"\nunit = "1"\n' for i in range(POINTS)
) + '[json]\ntime_field = "t"\ntime_format = "ns"\n[json.fields]\n' + "".join(
    f'P{i} = {{ field = "v{i}" }}\n' for i in range(POINTS)
)  # fmt: skip


class TellingIntake:
    """A :class:`ingest.ports.Intake` that tells which messages are durable, before the broker hears of it."""

    def __init__(self, intake: JournalIntake, say: Callable[[str], None]) -> None:
        self._intake = intake
        self._say = say

    async def submit(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable."""
        committed = await self._intake.submit(batch)
        first = (batch.point % POINTS == 0) & (batch.quality != Quality.LINK_LOST)
        for point, time in zip(batch.point[first].tolist(), batch.t_source[first].tolist(), strict=True):
            session, seq = divmod((time - START) // 1000, SESSION)
            self._say(f"M {point // POINTS} {session} {seq} 0")
        return committed

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        """Makes dead letters durable."""
        await self._intake.reject(letters)


def mqtt_source(port: int, intake: JournalIntake, clock: Clock, say: Callable[[str], None]) -> MqttSource:
    """Receives from every source, each a device with its points."""
    profile = parse_profile(_PROFILE, "prove.toml")
    points = []
    for i in range(SOURCES * POINTS):
        name = f"source{i // POINTS}"
        device = Device(
            id=name, profile="prove", node="N", role=Role.INJECTION,
            mqtt=MqttAddress(broker="main", topic=f"prove/{i // POINTS}"),
        )  # fmt: skip
        key = PointKey(name, f"P{i % POINTS}", "1")
        points.append(SitePoint(i, key, profile.points[key.name], device, profile))
    settings = BrokerSettings(
        id="main", host="127.0.0.1", port=port, client_id="prove", keepalive_s=KEEPALIVE_S, backoff_max_s=2
    )
    return MqttSource(settings, points, TellingIntake(intake, say), clock)


class Mosquitto:
    """The broker, in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        program = machine.find("mosquitto")
        if program is None:
            raise UnavailableError("mosquitto is not there; on Debian: apt-get install mosquitto")
        folder.mkdir()
        self.port, _ = free_ports()
        config = folder / "mosquitto.conf"
        config.write_text(_CONFIG.format(port=self.port, folder=folder))
        self._command = [program, "-c", str(config)]
        self._process = self._start()

    def strike(self, how: str) -> None:
        """Lets it fail; it is back with ``recover``."""
        number = {"restart": signal.SIGTERM, "kill": signal.SIGKILL, "silent": signal.SIGSTOP}[how]
        self._process.send_signal(number)
        if how != "silent":
            self._process.wait()

    def recover(self) -> None:
        """Lets it go on, or starts it again."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        else:
            self._process = self._start()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(self._command, stdout=quiet, stderr=quiet)


class Sources:
    """Publish to the broker: each goes on when its message is confirmed, and says it again if it is not."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._ledger = ledger
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="sources", clean_session=False)
        self._client.on_publish = self._note_taken
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_timeout = 1.0
        self._client.connect_async("127.0.0.1", port, keepalive=KEEPALIVE_S)
        self._client.loop_start()
        self._under_way: dict[int, tuple[Message, float, int]] = {}
        self._with_broker: set[int] = set()
        self._owed: list[Message] = []
        self._talks: dict[int, Iterator[Message]] = {}
        self.again = 0
        """Messages that were published more than once."""

    def begin(self, session: int) -> None:
        """A new conversation of each source; what the last one left unconfirmed is never said again.

        The broker owes it to the subject if it has taken it.
        """
        self.end()
        for source in range(SOURCES):
            # no revisions: a broker that was killed may deliver an older message once more after its revision
            self._talks[source] = (m for m in conversation(session, source) if m.version == 0)
        self.go_on()

    def end(self) -> None:
        """Ends the conversations."""
        for message, _, packet in self._under_way.values():
            if packet in self._with_broker:
                self._owed.append(message)
        self._under_way.clear()
        self._talks.clear()

    def go_on(self) -> None:
        """Publishes what is due; to be called often."""
        now = CLOCK.monotonic()
        for source, talk in self._talks.items():
            message, since, _ = self._under_way.get(source, (None, 0.0, 0))
            if message is None or self._ledger.newest.get((source, message.session), -1) >= message.seq:
                message = next(talk)
                while message[:3] in self._ledger.versions:  # a repetition is confirmed by what it repeats
                    self._publish(message)
                    message = next(talk)
            elif now - since < AGAIN_S:
                continue
            else:
                self.again += 1
            self._under_way[source] = message, now, self._publish(message)

    @property
    def taken(self) -> int:
        """Messages under way that the broker has taken."""
        return sum(packet in self._with_broker for _, _, packet in self._under_way.values())

    @property
    def owed(self) -> int:
        """Messages that the broker took and that were never confirmed."""
        return sum(message[:3] not in self._ledger.versions for message in self._owed)

    def close(self) -> None:
        """Ends the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def _note_taken(self, _client: Client, _data: object, packet: int, *_: object) -> None:
        self._with_broker.add(packet)

    def _publish(self, message: Message) -> int:
        """Returns the number of the packet."""
        numbers = values(np.full(POINTS, message.time), np.arange(POINTS), 0).tolist()
        payload = {"t": message.time} | {f"v{i}": number for i, number in enumerate(numbers)}
        packet = self._client.publish(f"prove/{message.source}", msgspec.json.encode(payload), qos=1).mid
        self._with_broker.discard(packet)
        return packet


@contextmanager
def mosquitto(folder: Path, ledger: Ledger) -> Iterator[tuple[Mosquitto, Sources]]:
    """A broker with its sources.

    Raises
    ------
    UnavailableError
        mosquitto is not installed.

    """
    broker = Mosquitto(folder)
    try:
        sources = Sources(broker.port, ledger)
        try:
            yield broker, sources
        finally:
            broker.recover()
            sources.close()
    finally:
        broker.close()
