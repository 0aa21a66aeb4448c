"""Modbus without any input or output: requests, framing over TCP, verification of replies.

Only function codes 1 to 4 and device identification (43/14) exist here; there is no code that writes to a
device, and :func:`framed` refuses to send anything else.

Sources: *MODBUS Application Protocol Specification V1.1b3* ("[APP]"), *MODBUS Messaging on TCP/IP
Implementation Guide V1.0b* ("[TCP]").
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from adapters.modbus.decoding import BlockDecoder, Slot
from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable

__all__ = [
    "EXCEPTION_NAMES",
    "FUNCTION_OF_TABLE",
    "MAX_COILS",
    "MAX_REGISTERS",
    "READ_ONLY",
    "BlockDecoder",
    "DeviceRefusedError",
    "Doubt",
    "Frame",
    "FunctionCode",
    "MbapFramer",
    "ProtocolDoubtError",
    "Query",
    "Request",
    "Slot",
    "behind_number",
    "framed",
    "holds_beginning",
    "may_begin",
    "verified",
    "verified_data",
]

MAX_REGISTERS = 125
"""Largest quantity of registers in one read, [APP] 6.3 and 6.4."""
MAX_COILS = 2000
"""Largest quantity of single bits in one read, [APP] 6.1 and 6.2."""

_HEADER = struct.Struct(">HHHB")  # transaction, protocol, length, unit: [TCP] 3.1.3
_BEHIND = struct.Struct(">HHB")  # the same without the transaction
_START = struct.Struct(">HH")
_READ = struct.Struct(">BHH")
_SHORTEST, _LONGEST = 3, 254  # unit, then 2 to 253 bytes: [APP] 4.1
_EXCEPTION_BIT = 0x80


class FunctionCode(IntEnum):
    """The function codes that this adapter knows, [APP] 6.1 to 6.4 and 6.21."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    READ_DEVICE_IDENTIFICATION = 43


READ_ONLY = frozenset(FunctionCode)
"""What may be sent."""
FUNCTION_OF_TABLE = {
    RegisterTable.COIL: FunctionCode.READ_COILS,
    RegisterTable.DISCRETE: FunctionCode.READ_DISCRETE_INPUTS,
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
    CHECKSUM = "checksum"
    CONTENT = "content"


class ProtocolDoubtError(GreenbridgeError):
    """Something received that is not provably the answer; the connection must be closed or drained."""

    def __init__(self, reason: Doubt, detail: str, received: bytes = b"") -> None:
        super().__init__(f"{reason.value}: {detail}; the connection is given up")
        self.reason = reason
        self.received = received
        """What was received, as far as it is known."""


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
    def is_splittable(self) -> bool:
        """True when smaller reads may succeed: a register does not exist, or the device takes fewer."""
        return self.code in {2, 3}

    @property
    def is_unreachable(self) -> bool:
        """True when a gateway answers in place of a unit that it cannot reach."""
        return self.code in {10, 11}


class Query(Protocol):
    """A question to one unit, and how to tell its answer."""

    @property
    def unit(self) -> int:
        """Unit identifier."""
        ...

    @property
    def transaction(self) -> int:
        """Number that a reply over TCP has to repeat."""
        ...

    @property
    def function(self) -> FunctionCode:
        """Function code."""
        ...

    @property
    def asks(self) -> bytes:
        """What stands behind the number in its frame over TCP."""
        ...

    @property
    def answers(self) -> bytes:
        """What stands behind the number in the reply over TCP, up to its data; empty if that can differ."""
        ...

    def numbered(self, transaction: int) -> Query:
        """The same question with another transaction number."""
        ...

    def pdu(self) -> bytes:
        """Function code and data."""
        ...

    def accepted(self, pdu: bytes) -> bytes:
        """The content of a reply's function code and data, which has been checked.

        Raises
        ------
        ProtocolDoubtError
            It is not the answer to this question.

        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A read of consecutive registers, or single bits, of one unit.

    Raises
    ------
    ValueError
        A number does not fit its field, or the quantity is not 1 to 125 (2000 single bits).

    """

    transaction: int
    unit: int
    table: RegisterTable
    address: int
    count: int
    function: FunctionCode = field(init=False, repr=False, compare=False)
    """Function code of the table."""
    reply_bytes: int = field(init=False, repr=False, compare=False)
    """Size of the data of a reply [B]."""
    asks: bytes = field(init=False, repr=False, compare=False)
    """What stands behind the number in its frame over TCP."""
    answers: bytes = field(init=False, repr=False, compare=False)
    """What stands behind the number in the reply over TCP, up to its registers; empty for single bits."""
    _pdu: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (0 <= self.transaction <= 0xFFFF and 0 <= self.unit <= 0xFF):
            raise ValueError(f"transaction {self.transaction} or unit {self.unit} does not fit its field")
        most = MAX_COILS if self.table.is_bits else MAX_REGISTERS
        if not (1 <= self.count <= most and 0 <= self.address <= 0x10000 - self.count):
            raise ValueError(f"a read of {self.count} registers from {self.address} is not possible")
        size = (self.count + 7) // 8 if self.table.is_bits else 2 * self.count
        function = FUNCTION_OF_TABLE[self.table]
        pdu = _READ.pack(function, self.address, self.count)
        answers = b"" if self.table.is_bits else behind_number(self.unit, bytes((function, size)), size)
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "reply_bytes", size)
        object.__setattr__(self, "asks", behind_number(self.unit, pdu))
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "_pdu", pdu)

    def numbered(self, transaction: int) -> Request:
        """The same question with another transaction number."""
        return Request(transaction, self.unit, self.table, self.address, self.count)

    def pdu(self) -> bytes:
        """Function code, first address and quantity."""
        return self._pdu

    def encode(self) -> bytes:
        """The whole frame over TCP, header included."""
        return framed(self)

    def accepted(self, pdu: bytes) -> bytes:
        """The register bytes of a reply; a single bit becomes a register of 0 or 1.

        Raises
        ------
        ProtocolDoubtError
            Byte count or length are not those of the answer.

        """
        due = self.reply_bytes
        if len(pdu) < 2 or pdu[1] != due:
            shown = pdu[1] if len(pdu) > 1 else "none"
            raise ProtocolDoubtError(Doubt.BYTE_COUNT, f"byte count {shown} where {due} is due", pdu)
        if len(pdu) != 2 + due:
            raise ProtocolDoubtError(Doubt.LENGTH, f"{len(pdu) - 2} data bytes where {due} are due", pdu)
        return _registers_of_bits(pdu[2:], self.count) if self.table.is_bits else pdu[2:]

    def __str__(self) -> str:
        return f"unit {self.unit} {self.table} {self.address}+{self.count}"


def _registers_of_bits(data: bytes, count: int) -> bytes:
    """Single bits, the first in the least significant place ([APP] 6.1), as registers of 0 or 1."""
    number = int.from_bytes(data, "little")
    return b"".join(_BIT[number >> i & 1] for i in range(count))


_BIT = (b"\0\0", b"\0\1")


def behind_number(unit: int, pdu: bytes, more: int = 0) -> bytes:
    """What stands behind the number in a frame over TCP whose data go on for ``more`` bytes."""
    return _BEHIND.pack(0, 1 + len(pdu) + more, unit) + pdu


def framed(query: Query, transaction: int | None = None) -> bytes:
    """The frame of a question over TCP, header included, under its own number or another.

    Raises
    ------
    ValueError
        It would not only read.

    """
    frame = (query.transaction if transaction is None else transaction).to_bytes(2, "big") + query.asks
    if frame[7] not in READ_ONLY:
        raise ValueError(f"function code {frame[7]} is not one that only reads")
    return frame


class Frame(NamedTuple):
    """One received frame; its header is sound, its content is not verified yet."""

    transaction: int | None
    """None where the framing has none."""
    unit: int
    pdu: bytes
    """Function code and data, 2 to 253 bytes."""


class MbapFramer:
    """Cuts a byte stream into frames; holds at most one incomplete frame beyond what was fed last."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    @property
    def pending(self) -> int:
        """Bytes that are received but belong to no returned frame [B]."""
        return len(self._data) - self._at

    @property
    def begun(self) -> bytes:
        """The first of those bytes, as far as :func:`may_begin` looks."""
        return self._data[self._at : self._at + _HEADER.size + 1]

    def feed(self, data: bytes) -> None:
        """Appends received bytes; any cut of the stream gives the same frames."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def sound(self, begins: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """The next frames, as far as each is complete and beyond doubt the data reply to a question.

        Parameters
        ----------
        begins
            With which nine bytes each reply begins, by the first four (transaction and protocol). They hold
            everything that :func:`verified` checks.

        Returns
        -------
            Of each, the first four bytes, and function code and data. Whatever comes next is for
            :meth:`next_frame`.

        """
        data, at, found = self._data, self._at, []
        size = len(data)
        while begin := begins.get(number := data[at : at + 4]):
            end = at + len(begin) + begin[-1]
            if end > size or not data.startswith(begin, at):
                break
            found.append((number, data[at + _HEADER.size : end]))
            at = end
        self._at = at
        return found

    def next_frame(self) -> Frame | None:
        """The next complete frame; None until more bytes are fed.

        Raises
        ------
        ProtocolDoubtError
            The header cannot be that of a reply; the stream is lost from here on.

        """
        data, at = self._data, self._at
        size = len(data) - at
        if size > _HEADER.size:  # the common case first: nothing is amiss
            transaction, protocol, length, unit = _HEADER.unpack_from(data, at)
            if not protocol and _SHORTEST <= length <= _LONGEST and size >= 6 + length:
                self._at = at + 6 + length
                return Frame(transaction, unit, data[at + 7 : self._at])
        if size >= 4 and (protocol := int.from_bytes(data[at + 2 : at + 4], "big")):
            detail = f"protocol identifier {protocol} where 0 is due"
            raise ProtocolDoubtError(Doubt.PROTOCOL, detail, data[at:])
        if size < 6:
            return None
        length = int.from_bytes(data[at + 4 : at + 6], "big")
        if not _SHORTEST <= length <= _LONGEST:
            raise ProtocolDoubtError(Doubt.LENGTH, f"frame length {length} is not 3 to 254", data[at:])
        return None


def may_begin(received: bytes, query: Query) -> bool:
    """Whether received bytes may be the beginning of the reply to a question over TCP."""
    if received[:4] != _start(query)[: len(received)]:
        return False
    if len(received) > 6 and received[6] != query.unit:
        return False
    return len(received) < 8 or received[7] & ~_EXCEPTION_BIT == query.function


def holds_beginning(pdu: bytes, query: Query) -> bool:
    """Whether a reply holds the beginning of the reply to another question.

    Nothing over TCP but the length of its header says where a reply ends. If a gateway leaves bytes out, the
    next reply fills the place of what is missing.
    """
    start = _start(query)
    at = pdu.find(start)
    while at >= 0:
        head = pdu[at : at + _HEADER.size + 1]
        sized = len(head) > _HEADER.size and _SHORTEST <= int.from_bytes(head[4:6], "big") <= _LONGEST
        if sized and may_begin(head, query):
            return True
        at = pdu.find(start, at + 1)
    return False


def _start(query: Query) -> bytes:
    """What the reply to a question begins with: transaction and protocol."""
    return _START.pack(query.transaction, 0)


def verified(query: Query, frame: Frame) -> bytes:
    """The content of a reply, after everything that can be checked was checked.

    Raises
    ------
    ProtocolDoubtError
        The frame is not provably the reply to the question.
    DeviceRefusedError
        The frame is a sound exception reply to the question.

    """
    pdu = frame.pdu
    if frame.transaction is not None and frame.transaction != query.transaction:
        detail = f"transaction {frame.transaction} where {query.transaction} is due"
        raise ProtocolDoubtError(Doubt.TRANSACTION, detail, pdu)
    if frame.unit != query.unit:
        raise ProtocolDoubtError(Doubt.UNIT, f"unit {frame.unit} where {query.unit} is due", pdu)
    function, due = pdu[0], query.function.value
    if function == due | _EXCEPTION_BIT:
        if len(pdu) != 2:
            detail = f"exception reply of {len(pdu)} bytes where 2 are due"
            raise ProtocolDoubtError(Doubt.LENGTH, detail, pdu)
        raise DeviceRefusedError(pdu[1])
    if function != due:
        raise ProtocolDoubtError(Doubt.FUNCTION, f"function code {function} where {due} is due", pdu)
    return query.accepted(pdu)


def verified_data(request: Request, frame: Frame) -> bytes:
    """The register bytes of the reply to a read; raises as :func:`verified`."""
    return verified(request, frame)
