"""A gateway that does to a client whatever a peer on Modbus can do, and tells in every register whose it is.

Four registers hold one value: function, unit and address of the register, and the number of the exchange. So
a value that belongs to another register, unit or exchange shows that it does.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from adapters.modbus.rtu import checksum

VALUE = 4
"""Registers of one value."""
HANG_UP, RESET = "hang up", "reset"
Step = bytes | float | str
"""Bytes to send, a pause [s], or an end of the connection."""


def value_of(function: int, unit: int, address: int, serial: int) -> int:
    """What the value at an address holds; it is exact as a float64."""
    return (function & 1) << 48 | unit << 40 | address << 24 | serial & 0xFFFFFF


def registers(function: int, unit: int, address: int, count: int, serial: int) -> bytes:
    """The bytes of any registers, whatever part of values they cut out."""
    first = address - address % VALUE
    values = (value_of(function, unit, at, serial) for at in range(first, address + count, VALUE))
    data = b"".join(value.to_bytes(8, "big") for value in values)
    return data[2 * (address - first) :][: 2 * count]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and everything of its reply that may be wrong."""

    serial: int
    transaction: int
    unit: int
    function: int
    address: int
    count: int
    rtu: bool

    @property
    def asked(self) -> tuple[int, int, int, int]:
        """Unit, function code, first address and quantity."""
        return (self.unit, self.function, self.address, self.count)

    def data(self) -> bytes:
        """The right registers."""
        return registers(self.function, self.unit, self.address, self.count, self.serial)

    def reply(
        self,
        pdu: bytes | None = None,
        *,
        protocol: int = 0,
        lie: int = 0,
    ) -> bytes:
        """A frame; the right one unless something is given. ``lie`` is added to the length of its header."""
        if pdu is None:
            data = self.data()
            pdu = bytes((self.function, len(data))) + data
        body = bytes((self.unit,)) + pdu
        if self.rtu:
            return body + checksum(body)
        return struct.pack(">HHH", self.transaction & 0xFFFF, protocol, len(body) + lie) + body


class HostileGateway:
    """Answers reads of registers; ``async with`` listens. What it did is counted in ``deeds``.

    Parameters
    ----------
    seed
        Of its whims.
    timeout_s
        How long its client waits for a reply [s].
    rtu
        Frames are those of a serial line. What no client could tell is then left out: a reply that is sent
        twice or again later has nothing to know it by.
    honest
        Fraction of exchanges that are answered at once and right.

    """

    def __init__(self, seed: int, timeout_s: float, *, rtu: bool = False, honest: float = 0.6) -> None:
        self.port = 0
        self.exchanges = 0
        self.deeds: Counter[str] = Counter()
        self.asked: dict[tuple[int, int, int, int, int], Exchange] = {}
        """Every request of the present connection, by all that it said; the newest where two are alike."""
        self.newest: Exchange | None = None
        self._random = random.Random(seed)  # noqa: S311 - whims, not secrets
        self._timeout_s = timeout_s
        self.rtu = rtu
        self._honest = honest
        self._storm = 0
        self._before = b""
        self._held: list[bytes] = []
        self._current: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        deeds = ALL_DEEDS if rtu else ALL_DEEDS | TCP_DEEDS
        self._deeds = list(deeds.items())

    async def __aenter__(self) -> HostileGateway:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: asyncio.Queue[Exchange] = asyncio.Queue()
        self._current = writer
        self.asked.clear()
        acting = asyncio.create_task(self._act(requests, writer))
        for task in (acting, asyncio.current_task()):
            if task is not None:
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while not acting.done():
                    frame = await reader.readexactly(8 if self.rtu else 12)
                    if self._current is not writer:
                        return  # what is left of an older connection is answered to nobody
                    requests.put_nowait(self._noted(frame))
        finally:
            acting.cancel()
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    def _noted(self, frame: bytes) -> Exchange:
        """What a request asks for; it counts from its arrival, whatever the gateway is doing."""
        transaction = 0 if self.rtu else int.from_bytes(frame[:2], "big")
        unit, function, address, count = struct.unpack(">BBHH", frame[:6] if self.rtu else frame[6:])
        self.exchanges += 1
        self.newest = Exchange(self.exchanges, transaction, unit, function, address, count, self.rtu)
        self.asked[transaction, *self.newest.asked] = self.newest
        return self.newest

    async def _act(self, requests: asyncio.Queue[Exchange], writer: asyncio.StreamWriter) -> None:
        while True:
            exchange = await requests.get()
            name, deed = self._chosen()
            self.deeds[name] += 1
            if self._held and name not in SILENT:
                # whatever is owed comes before this, if ever: a device answers in order
                if self._random.random() < 0.7:
                    writer.write(b"".join(self._held) if self._random.random() < 0.5 else self._held[0])
                self._held.clear()
            for step in deed(self, exchange):
                if writer.is_closing():
                    return
                if isinstance(step, bytes):
                    writer.write(step)
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                elif step == RESET:
                    writer.transport.abort()
                    return
                else:
                    writer.close()
                    return
            self._before = exchange.reply()

    def _chosen(self) -> tuple[str, Deed]:
        if self._storm:
            self._storm -= 1
            return "exception in a storm", HostileGateway.exception
        if self._random.random() < self._honest:
            return "honest", HostileGateway.honest
        return self._random.choice(self._deeds)

    def honest(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply()

    def late(self, exchange: Exchange) -> Iterator[Step]:
        """In time, or not quite, or after the client has gone on to other things."""
        yield self._timeout_s * self._random.choice([0.5, 0.9, 1.0, 1.1, 1.6, 3.0])
        yield exchange.reply()

    def lost(self, _: Exchange) -> Iterator[Step]:
        yield from ()

    def held_back(self, exchange: Exchange) -> Iterator[Step]:
        """It comes with a later exchange, perhaps on another connection."""
        self._held.append(exchange.reply())
        yield from ()

    def held_back_exception(self, exchange: Exchange) -> Iterator[Step]:
        self._held.append(exchange.reply(bytes((exchange.function | 0x80, 2))))
        yield from ()

    def held_back_until_the_timeout(self, exchange: Exchange) -> Iterator[Step]:
        yield 1.05 * self._timeout_s
        yield exchange.reply()

    def wrong_unit(self, exchange: Exchange) -> Iterator[Step]:
        """Another unit's registers."""
        yield replace(exchange, unit=exchange.unit ^ self._random.randrange(1, 256)).reply()

    def wrong_function(self, exchange: Exchange) -> Iterator[Step]:
        """The other table's registers, or a function that was never asked for."""
        function = self._random.choice([7 - exchange.function, 1, 2, 6, 16, 43, 0, 127])
        yield replace(exchange, function=function).reply()

    def another_count(self, exchange: Exchange) -> Iterator[Step]:
        """Sound in itself, but too short or too long."""
        count = self._random.choice([0, 1, exchange.count - 1, exchange.count + 1, 20, 125])
        if count == exchange.count:
            count += 1
        data = registers(exchange.function, exchange.unit, exchange.address, count, exchange.serial)
        yield exchange.reply(bytes((exchange.function, len(data))) + data)

    def wrong_byte_count(self, exchange: Exchange) -> Iterator[Step]:
        data = exchange.data()
        yield exchange.reply(bytes((exchange.function, (len(data) + 2) % 256)) + data)

    def cut_short(self, exchange: Exchange) -> Iterator[Step]:
        reply = exchange.reply()
        yield reply[: self._random.randrange(len(reply))]

    def cut_short_and_gone(self, exchange: Exchange) -> Iterator[Step]:
        yield from self.cut_short(exchange)
        yield self._random.choice([HANG_UP, RESET])

    def with_a_tail(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply() + self._random.randbytes(self._random.randrange(1, 20))

    def behind_junk(self, exchange: Exchange) -> Iterator[Step]:
        yield self._random.randbytes(self._random.randrange(1, 20)) + exchange.reply()

    def garbage(self, _: Exchange) -> Iterator[Step]:
        yield self._random.randbytes(self._random.randrange(1, 300))

    def in_pieces(self, exchange: Exchange) -> Iterator[Step]:
        rest = exchange.reply()
        while rest:
            cut = self._random.randrange(1, 8)
            yield rest[:cut]
            yield 0.0
            rest = rest[cut:]

    def twice(self, exchange: Exchange) -> Iterator[Step]:
        yield 2 * exchange.reply()

    def exception(self, exchange: Exchange) -> Iterator[Step]:
        code = self._random.choice([1, 2, 2, 3, 4, 5, 6, 8, 10, 11, 0, 255])
        yield exchange.reply(bytes((exchange.function | 0x80, code)))

    def storm_of_exceptions(self, exchange: Exchange) -> Iterator[Step]:
        self._storm = self._random.randrange(2, 10)
        yield from self.exception(exchange)

    def exception_with_data(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply(bytes((exchange.function | 0x80,)) + exchange.data())

    def hang_up(self, _: Exchange) -> Iterator[Step]:
        yield HANG_UP

    def reset(self, _: Exchange) -> Iterator[Step]:
        yield RESET

    def reply_and_reset(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply()
        yield RESET

    def flipped_bit(self, exchange: Exchange) -> Iterator[Step]:
        """Where there is a checksum, anywhere; else only in the header, which alone can be checked."""
        reply = bytearray(exchange.reply())
        at = self._random.randrange(len(reply) if self.rtu else 9)
        reply[at] ^= 1 << self._random.randrange(8)
        yield bytes(reply)

    def reply_before(self, _: Exchange) -> Iterator[Step]:
        """The one of the exchange before, in place of this one's."""
        yield self._before

    def reply_before_and_this(self, exchange: Exchange) -> Iterator[Step]:
        yield self._before + exchange.reply()

    def wrong_transaction(self, exchange: Exchange) -> Iterator[Step]:
        """Registers from elsewhere, as if they had been asked for."""
        number = exchange.transaction
        other = self._random.choice([0, number + 1, number - 1, self._random.randrange(1 << 16)])
        elsewhere = replace(exchange, transaction=other if other != number else number + 1)
        yield replace(elsewhere, address=exchange.address ^ 64).reply()

    def wrong_protocol(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply(protocol=self._random.randrange(1, 1 << 16))

    def wrong_length(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply(lie=self._random.choice([-3, -2, -1, 1, 2, 7, 250, 5000]))

    def twice_with_a_pause(self, exchange: Exchange) -> Iterator[Step]:
        yield exchange.reply()
        yield 0.001
        yield exchange.reply()

    def unasked(self, exchange: Exchange) -> Iterator[Step]:
        """Afterwards, when nothing is asked or the next request is under way."""
        yield exchange.reply()
        yield 0.0005
        yield replace(exchange, transaction=exchange.transaction - self._random.randrange(3)).reply()


Deed = Callable[[HostileGateway, Exchange], Iterator[Step]]


def _deeds(*deeds: Deed) -> dict[str, Deed]:
    return {deed.__name__.replace("_", " "): deed for deed in deeds}


ALL_DEEDS = _deeds(
    HostileGateway.late,
    HostileGateway.lost,
    HostileGateway.held_back,
    HostileGateway.held_back_exception,
    HostileGateway.held_back_until_the_timeout,
    HostileGateway.wrong_unit,
    HostileGateway.wrong_function,
    HostileGateway.another_count,
    HostileGateway.wrong_byte_count,
    HostileGateway.cut_short,
    HostileGateway.cut_short_and_gone,
    HostileGateway.with_a_tail,
    HostileGateway.behind_junk,
    HostileGateway.garbage,
    HostileGateway.in_pieces,
    HostileGateway.twice,
    HostileGateway.exception,
    HostileGateway.storm_of_exceptions,
    HostileGateway.exception_with_data,
    HostileGateway.hang_up,
    HostileGateway.reset,
    HostileGateway.reply_and_reset,
    HostileGateway.flipped_bit,
)
TCP_DEEDS = _deeds(
    HostileGateway.reply_before,
    HostileGateway.reply_before_and_this,
    HostileGateway.wrong_transaction,
    HostileGateway.wrong_protocol,
    HostileGateway.wrong_length,
    HostileGateway.twice_with_a_pause,
    HostileGateway.unasked,
)
SILENT = {"lost", "held back", "held back exception", "hang up", "reset"}
"""Deeds that send nothing."""
