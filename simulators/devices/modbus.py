"""Modbus servers: TCP, RTU over TCP and serial lines, with simulated devices as unit identifiers.

pymodbus listens, frames and checks; what a unit answers, exceptions and identification included, is decided
here, so that a device behaves as its kind does and not as the library.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.devices.identification import NOT_IDENTIFIED, Identification, Refusal
from simulators.devices.registers import Held, RegisterMap, WordOrder
from simulators.faults.frames import RTU, TCP, Framing
from telemetry.errors import UnavailableError

T = TypeVar("T")

HOLDING, INPUT, ENCAPSULATED = 3, 4, 43
_MOST_PARTS = 64
"""Different reads that are remembered until the next change."""
MAX_READ = 125
"""Registers in one answer (Modbus Application Protocol V1.1b3, 6.3)."""


class Transport(StrEnum):
    """How a server is reached."""

    TCP = "tcp"
    RTU_OVER_TCP = "rtu-over-tcp"
    SERIAL = "serial"

    @property
    def framing(self) -> Framing:
        """How frames travel on it."""
        return TCP if self is Transport.TCP else RTU


class Unit(Protocol):
    """A device behind a unit identifier."""

    exception: Refusal | None
    """Answered to every request while it is set."""

    @property
    def identification(self) -> Identification:
        """What function 43/14 tells."""
        ...

    def read(self, function: int, address: int, count: int) -> list[int] | Refusal:
        """Words from an address on, or why not."""
        ...

    def registers(self) -> list[Held]:
        """What every register holds right now."""
        ...


class MappedUnit(Generic[T]):
    """A device with a register map over what it observes.

    What it observes changes only by :meth:`refresh`, so that every read until then sees one moment.

    Raises
    ------
    ValueError
        The offset moves registers out of the address space.

    """

    def __init__(
        self,
        layout: RegisterMap[T],
        look: Callable[[], T],
        *,
        word_order: WordOrder = WordOrder.ABCD,
        offset: int = 0,
        identification: Identification = NOT_IDENTIFIED,
        exception: Refusal | None = None,
    ) -> None:
        self.layout = layout
        self.exception = exception
        self._look = look
        self._order = word_order
        self._identification = identification
        self._offset = offset
        first = layout.start + offset
        if first < 0 or first + layout.length > 0x10000:
            raise ValueError(
                f"registers {first} to {first + layout.length - 1} are not all within 0 to 65535"
            )
        self._read: dict[tuple[int, int], list[int]] = {}

    @property
    def identification(self) -> Identification:
        """What function 43/14 tells."""
        return self._identification

    @property
    def word_order(self) -> WordOrder:
        """Order in which numbers lie in registers; a fault may change it."""
        return self._order

    @word_order.setter
    def word_order(self, order: WordOrder) -> None:
        self._order = order
        self._read.clear()

    @property
    def words(self) -> list[int]:
        """The whole block as clients see it."""
        return self._part(self.layout.start, self.layout.length)

    def refresh(self) -> None:
        """Makes what it observes now visible to clients."""
        self._read.clear()

    def read(self, function: int, address: int, count: int) -> list[int] | Refusal:
        """Words from an address on, or why not."""
        if function not in self.layout.functions:
            return Refusal.ILLEGAL_FUNCTION
        if not self.layout.readable(address - self._offset, count):
            return Refusal.ILLEGAL_ADDRESS
        return self._part(address - self._offset, count)

    def _part(self, address: int, count: int) -> list[int]:
        """Registers by their place in the map; encoded when they are first asked for after a change."""
        part = self._read.get((address, count))
        if part is None:
            if len(self._read) >= _MOST_PARTS:
                self._read.clear()
            part = self.layout.window(self._look(), address, count, self._order)
            self._read[address, count] = part
        return part

    def registers(self) -> list[Held]:
        """What every register holds right now."""
        return self.layout.held(self.words, self._order, self._offset)


@dataclass(frozen=True, slots=True)
class Line:
    """Where a server listens."""

    transport: Transport
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    serial_port: str = ""
    baudrate: int = 19200
    parity: str = "E"
    stopbits: int = 1

    def __str__(self) -> str:
        return self.serial_port if self.transport is Transport.SERIAL else f"{self.host}:{self.port}"


class Gateway:
    """One server. ``async with`` listens, leaving closes every connection.

    A unit that is not there: a Modbus TCP gateway answers exception 0B (V1.1b3, 7); on a serial line, and on
    one that is carried over TCP, nobody answers.

    Raises
    ------
    UnavailableError
        On entering: it cannot listen there.

    """

    def __init__(self, name: str, line: Line, units: Mapping[int, Unit]) -> None:
        self.name = name
        self.line = line
        self._units = units
        self._server: ModbusTcpServer | ModbusSerialServer | None = None

    @property
    def port(self) -> int:
        """TCP port that is listened on; 0 on a serial line."""
        if self._server is None or self.line.transport is Transport.SERIAL:
            return self.line.port
        return int(self._server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        # the library logs a line for each bad frame; whoever sends garbage would fill the log
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        server = self._build()
        try:
            await server.serve_forever(background=True)
        except (RuntimeError, OSError) as error:
            raise UnavailableError(
                f"gateway {self.name}: cannot listen on {self.line} ({error}); "
                "stop what holds it or choose another"
            ) from None
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def answer(self, request: Request) -> ModbusPDU | None:
        """The answer to a request; None for silence."""
        unit = self._units.get(request.dev_id)
        if unit is None:
            if self.line.transport is not Transport.TCP:
                return None
            return ExceptionResponse(request.function_code, Refusal.TARGET_FAILED)
        result = unit.exception or _result(unit, request)
        if isinstance(result, Refusal):
            return ExceptionResponse(request.function_code, result)
        return _Answer(request.function_code, result)

    def _build(self) -> ModbusTcpServer | ModbusSerialServer:
        # the library wants a device; no request reaches it, since every request answers itself
        nothing = SimDevice(0, [SimData(0, datatype=DataType.REGISTERS)])
        options: dict[str, Any] = {
            "custom_pdu": REQUESTS,
            "trace_pdu": self._received,
            "ignore_missing_devices": True,
        }
        if self.line.transport is Transport.SERIAL:
            return ModbusSerialServer(
                nothing,
                port=self.line.serial_port,
                baudrate=self.line.baudrate,
                parity=self.line.parity,
                stopbits=self.line.stopbits,
                **options,
            )
        framer = FramerType.SOCKET if self.line.transport is Transport.TCP else FramerType.RTU
        return ModbusTcpServer(nothing, framer=framer, address=(self.line.host, self.line.port), **options)

    def _received(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending and isinstance(pdu, Request):
            pdu.gateway = self
        return pdu


def _result(unit: Unit, request: Request) -> bytes | Refusal:
    function, data = request.function_code, request.data
    if function == ENCAPSULATED:
        return unit.identification.answer(data)
    if function not in {HOLDING, INPUT}:
        return Refusal.ILLEGAL_FUNCTION
    if len(data) != 4:
        return Refusal.ILLEGAL_VALUE
    address, count = struct.unpack(">HH", data)
    if not 1 <= count <= MAX_READ:
        return Refusal.ILLEGAL_VALUE
    words = unit.read(function, address, count)
    if isinstance(words, Refusal):
        return words
    return struct.pack(f">B{count}H", 2 * count, *words)


class Request(ModbusPDU):
    """Any request, its data untouched: what no device understands gets the answer that a device gives."""

    gateway: Gateway | None = None

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def decode(self, data: bytes) -> None:
        """Keeps the data behind the function code."""
        self.data = bytes(data)

    async def datastore_update(self, context: Any, device_id: int) -> ModbusPDU:
        """The answer.

        Raises
        ------
        NoSuchIdException
            There is none: the server stays silent.

        """
        del context
        response = None if self.gateway is None else self.gateway.answer(self)
        if response is None:
            raise NoSuchIdException(f"no unit {device_id}")
        return response

    @classmethod
    def calculateRtuFrameSize(cls, data: bytes) -> int:  # noqa: N802 (pymodbus calls it so)
        """Size of a serial frame with its checksum; of an unknown function, all that has arrived."""
        function = cls.function_code
        if function in _RTU_SIZE:
            return _RTU_SIZE[function]
        at = _RTU_BYTE_COUNT_AT.get(function)
        if at is None:
            return max(4, len(data))
        return data[at] + at + 3 if len(data) > at else 0


_RTU_SIZE = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6, 43: 7}
"""Sizes of requests without a variable part (V1.1b3, 6)."""
_RTU_BYTE_COUNT_AT = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}

REQUESTS: list[type[ModbusPDU]] = [
    type(f"Request{function}", (Request,), {"function_code": function}) for function in range(1, 0x80)
]
"""A class for each function code, as pymodbus wants them."""


class _Answer(ModbusPDU):
    """A response whose data is ready."""

    def __init__(self, function: int, data: bytes) -> None:
        super().__init__()
        self.function_code = function
        self._data = data

    def encode(self) -> bytes:
        return self._data
