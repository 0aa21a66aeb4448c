"""Modbus TCP without any input or output: requests, framing, verification of replies, decoding.

Only function codes 3 and 4 exist here; there is no code that writes to a device.

Sources: *MODBUS Application Protocol Specification V1.1b3* ("[APP]"), *MODBUS Messaging on TCP/IP
Implementation Guide V1.0b* ("[TCP]").
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable, RegisterType, WordOrder
from telemetry.quality import Quality

MAX_REGISTERS = 125
"""Largest quantity of one read, [APP] 6.3 and 6.4."""

_HEADER = struct.Struct(">HHHB")  # transaction, protocol, length, unit: [TCP] 3.1.3
_REQUEST = struct.Struct(">HHHBBHH")
_LENGTH_WITHIN = range(3, 255)  # unit, then 2 to 253 bytes: [APP] 4.1
_EXCEPTION_BIT = 0x80


class FunctionCode(IntEnum):
    """The function codes that this adapter knows, [APP] 6.3 and 6.4."""

    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4


FUNCTION_OF_TABLE = {
    RegisterTable.HOLDING: FunctionCode.READ_HOLDING_REGISTERS,
    RegisterTable.INPUT: FunctionCode.READ_INPUT_REGISTERS,
}

EXCEPTION_NAMES = {
    1: "illegal_function",
    2: "illegal_data_address",
    3: "illegal_data_value",
    4: "server_device_failure",
    5: "acknowledge",
    6: "server_device_busy",
    8: "memory_parity_error",
    10: "gateway_path_unavailable",
    11: "gateway_target_failed_to_respond",
}
"""Exception codes, [APP] 7."""


class Doubt(StrEnum):
    """Why a reply cannot be proven to belong to its request."""

    TRANSACTION = "transaction"
    PROTOCOL = "protocol"
    UNIT = "unit"
    FUNCTION = "function"
    BYTE_COUNT = "byte_count"
    LENGTH = "length"
    UNSOLICITED = "unsolicited"


class ProtocolDoubtError(GreenbridgeError):
    """Something received that is not provably the answer; the connection must be closed."""

    def __init__(self, reason: Doubt, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}; the connection is closed")
        self.reason = reason


class DeviceRefusedError(GreenbridgeError):
    """The device answered with an exception; the connection stays in step."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = EXCEPTION_NAMES.get(code, "unknown_exception")
        """Bounded label of the exception code."""
        super().__init__(f"the device refused the read: {self.name} (exception {code})")

    @property
    def is_address(self) -> bool:
        """True when a register of the read does not exist."""
        return self.code == 2

    @property
    def is_unreachable(self) -> bool:
        """True when a gateway answers in place of a unit that it cannot reach."""
        return self.code in {10, 11}


@dataclass(frozen=True, slots=True)
class Request:
    """A read of consecutive registers of one unit.

    Raises
    ------
    ValueError
        A number does not fit its field, or the quantity is not 1 to 125.

    """

    transaction: int
    unit: int
    table: RegisterTable
    address: int
    count: int

    def __post_init__(self) -> None:
        if not (0 <= self.transaction <= 0xFFFF and 0 <= self.unit <= 0xFF):
            raise ValueError(f"transaction {self.transaction} or unit {self.unit} does not fit its field")
        if not (1 <= self.count <= MAX_REGISTERS and 0 <= self.address <= 0x10000 - self.count):
            raise ValueError(f"a read of {self.count} registers from {self.address} is not possible")

    @property
    def function(self) -> FunctionCode:
        """Function code of the table."""
        return FUNCTION_OF_TABLE[self.table]

    def encode(self) -> bytes:
        """The whole frame, header included."""
        return _REQUEST.pack(self.transaction, 0, 6, self.unit, self.function, self.address, self.count)


@dataclass(frozen=True, slots=True)
class Frame:
    """One received frame; its header is sound, its content is not verified yet."""

    transaction: int
    unit: int
    pdu: bytes
    """Function code and data, 2 to 253 bytes."""


class MbapFramer:
    """Cuts a byte stream into frames; holds at most one incomplete frame beyond what was fed last."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that are received but belong to no returned frame [B]."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Appends received bytes; any cut of the stream gives the same frames."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next complete frame; None until more bytes are fed.

        Raises
        ------
        ProtocolDoubtError
            The header cannot be that of a reply; the stream is lost from here on.

        """
        buffer = self._buffer
        if len(buffer) >= 4 and (protocol := int.from_bytes(buffer[2:4], "big")):
            raise ProtocolDoubtError(Doubt.PROTOCOL, f"protocol identifier {protocol} where 0 is due")
        if len(buffer) < 6:
            return None
        length = int.from_bytes(buffer[4:6], "big")
        if length not in _LENGTH_WITHIN:
            raise ProtocolDoubtError(Doubt.LENGTH, f"frame length {length} is not 3 to 254")
        if len(buffer) < 6 + length:
            return None
        transaction, _, _, unit = _HEADER.unpack_from(buffer)
        frame = Frame(transaction, unit, bytes(buffer[7 : 6 + length]))
        del buffer[: 6 + length]
        return frame


def verified_data(request: Request, frame: Frame) -> bytes:
    """The register bytes of a reply, after everything that can be checked was checked.

    Raises
    ------
    ProtocolDoubtError
        The frame is not provably the reply to the request.
    DeviceRefusedError
        The frame is a sound exception reply to the request.

    """
    if frame.transaction != request.transaction:
        raise ProtocolDoubtError(
            Doubt.TRANSACTION, f"transaction {frame.transaction} where {request.transaction} is due"
        )
    if frame.unit != request.unit:
        raise ProtocolDoubtError(Doubt.UNIT, f"unit {frame.unit} where {request.unit} is due")
    function, pdu = frame.pdu[0], frame.pdu
    if function == request.function | _EXCEPTION_BIT:
        if len(pdu) != 2:
            raise ProtocolDoubtError(Doubt.LENGTH, f"exception reply of {len(pdu)} bytes where 2 are due")
        raise DeviceRefusedError(pdu[1])
    if function != request.function:
        raise ProtocolDoubtError(
            Doubt.FUNCTION, f"function code {function} where {request.function.value} is due"
        )
    due = 2 * request.count
    if pdu[1] != due:
        raise ProtocolDoubtError(Doubt.BYTE_COUNT, f"byte count {pdu[1]} where {due} is due")
    if len(pdu) != 2 + due:
        raise ProtocolDoubtError(Doubt.LENGTH, f"{len(pdu) - 2} data bytes where {due} are due")
    return pdu[2:]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one value stands in the registers of a read, and how it is to be understood."""

    offset: int
    """First register, counted from the start of the read."""
    type: RegisterType
    scale: float = 1.0
    """value = raw * scale + shift."""
    shift: float = 0.0
    not_implemented: int | None = None
    """Bit pattern that marks the value as not implemented; a negative number is its two's complement."""
    low: float = -np.inf
    high: float = np.inf
    """Physical range, ends included."""


_DTYPES = {
    RegisterType.INT16: ">i2",
    RegisterType.UINT16: ">u2",
    RegisterType.INT32: ">i4",
    RegisterType.UINT32: ">u4",
    RegisterType.INT64: ">i8",
    RegisterType.UINT64: ">u8",
    RegisterType.FLOAT32: ">f4",
    RegisterType.FLOAT64: ">f8",
}


class _Group:
    """The slots of one type, decoded together."""

    def __init__(
        self, kind: RegisterType, order: WordOrder, slots: Sequence[Slot], column: list[int]
    ) -> None:
        words = np.arange(kind.registers)
        if order is WordOrder.LITTLE:
            words = words[::-1]
        bits = 16 * kind.registers
        self.dtype = np.dtype(_DTYPES[kind])
        self.pattern = np.dtype(f">u{bits // 8}")
        self.gather = np.array([slot.offset for slot in slots])[:, None] + words
        self.scale = np.array([slot.scale for slot in slots])
        self.shift = np.array([slot.shift for slot in slots])
        self.marked = np.array([slot.not_implemented is not None for slot in slots])
        self.mark = np.array([(slot.not_implemented or 0) % (1 << bits) for slot in slots], self.pattern)
        self.column = np.array(column)


class BlockDecoder:
    """Turns the registers of one read into values and qualities, all slots at once."""

    def __init__(self, slots: Sequence[Slot], order: WordOrder) -> None:
        self._size = len(slots)
        by_type: dict[RegisterType, list[int]] = {}
        for column, slot in enumerate(slots):
            by_type.setdefault(slot.type, []).append(column)
        self._groups = [
            _Group(kind, order, [slots[c] for c in columns], columns) for kind, columns in by_type.items()
        ]
        self._low = np.array([slot.low for slot in slots])
        self._high = np.array([slot.high for slot in slots])

    def decode(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """Values [unit of the point] and quality codes, in the order of the slots.

        A value that is not a finite number or is marked as not implemented is NaN; one out of range is kept.
        """
        registers = np.frombuffer(data, ">u2")
        value = np.empty(self._size)
        absent = np.zeros(self._size, np.bool_)
        with np.errstate(over="ignore", invalid="ignore"):
            for group in self._groups:
                words = np.ascontiguousarray(registers[group.gather])
                raw = words.view(group.dtype)[:, 0]
                value[group.column] = raw.astype(np.float64) * group.scale + group.shift
                absent[group.column] = group.marked & (words.view(group.pattern)[:, 0] == group.mark)
        quality = np.zeros(self._size, np.uint8)
        quality[(value < self._low) | (value > self._high)] = Quality.OUT_OF_RANGE
        quality[~np.isfinite(value)] = Quality.NOT_A_NUMBER
        quality[absent] = Quality.NOT_IMPLEMENTED
        value[(quality == Quality.NOT_A_NUMBER) | absent] = np.nan
        return value, quality
