"""What a device says of itself: function code 43/14, read device identification; pure.

Source: *MODBUS Application Protocol Specification V1.1b3* 6.21.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from adapters.modbus.codec import Doubt, FunctionCode, ProtocolDoubtError, behind_number

OBJECT_NAMES: Mapping[int, str] = {
    0: "vendor",
    1: "product_code",
    2: "revision",
    3: "vendor_url",
    4: "product_name",
    5: "model_name",
    6: "application_name",
}
"""Objects of the basic and regular category, 6.21 table "Object Id"."""
BASIC, REGULAR, EXTENDED = 1, 2, 3
_MEI_TYPE = 14
_MORE = 0xFF
_MAX_QUERIES = 64


@dataclass(frozen=True, slots=True)
class IdentificationQuery:
    """Asks for the objects of a category, from one on.

    Raises
    ------
    ValueError
        A number does not fit its field.

    """

    transaction: int
    unit: int
    category: int = BASIC
    first: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.transaction <= 0xFFFF and 0 <= self.unit <= 0xFF and 0 <= self.first <= 0xFF):
            raise ValueError("transaction, unit or object does not fit its field")
        if self.category not in {BASIC, REGULAR, EXTENDED}:
            raise ValueError(f"category {self.category} is not 1 to 3")

    @property
    def function(self) -> FunctionCode:
        """Function code 43."""
        return FunctionCode.READ_DEVICE_IDENTIFICATION

    @property
    def asks(self) -> bytes:
        """What stands behind the number in its frame over TCP."""
        return behind_number(self.unit, self.pdu())

    @property
    def answers(self) -> bytes:
        """Nothing: the length of the reply is not known in advance."""
        return b""

    def numbered(self, transaction: int) -> IdentificationQuery:
        """The same question with another transaction number."""
        return replace(self, transaction=transaction)

    def pdu(self) -> bytes:
        """Function code, type of the interface, category and first object."""
        return bytes((self.function, _MEI_TYPE, self.category, self.first))

    def accepted(self, pdu: bytes) -> bytes:
        """The data of a reply behind its category.

        Raises
        ------
        ProtocolDoubtError
            It answers another question, or its length is not that of its objects.

        """
        if len(pdu) < 7 or pdu[1] != _MEI_TYPE or pdu[2] != self.category:
            raise ProtocolDoubtError(Doubt.CONTENT, "not an identification of this category", pdu)
        if size_of_reply(pdu) != len(pdu):
            raise ProtocolDoubtError(Doubt.LENGTH, "objects do not fill the reply", pdu)
        return pdu[3:]

    def __str__(self) -> str:
        return f"unit {self.unit} identification from object {self.first}"


def size_of_reply(pdu: bytes) -> int | None:
    """Full size of a reply [B] whose beginning was received; None while that is not known yet."""
    if len(pdu) < 7:
        return None
    at = 7
    for _ in range(pdu[6]):
        if len(pdu) < at + 2:
            return None
        at += 2 + pdu[at + 1]
    return at


def identification(unit: int) -> Generator[IdentificationQuery, bytes | None, dict[int, str]]:
    """Asks for everything that a device says of itself.

    Yields queries with transaction 0, is sent the accepted data of each reply or None where the device
    refused, and returns texts by object.
    """
    objects: dict[int, str] = {}
    for category in (BASIC, REGULAR, EXTENDED):
        first, level = 0, 0
        for _ in range(_MAX_QUERIES):
            data = yield IdentificationQuery(0, unit, category, first)
            if data is None:
                return objects
            level, more, first, count = data[:4]
            at = 4
            for _ in range(count):
                number, size = data[at], data[at + 1]
                objects[number] = data[at + 2 : at + 2 + size].decode("ascii", "replace")
                at += 2 + size
            if more != _MORE or first == 0:
                break
        if level & 0x7F <= category:  # the conformity level says that there is nothing beyond
            return objects
    return objects
