"""Modbus TCP gateways: one server with the meters behind it as unit identifiers, served by pymodbus."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.devices.registers import RegisterMap
from simulators.world.meters import NOTHING, Reading
from telemetry.errors import UnavailableError

READ_FUNCTIONS = frozenset({3, 4})
"""Read holding registers and read input registers (Modbus Application Protocol V1.1b3, 6.3 and 6.4)."""
_ANY_UNIT = 0


class MeterUnit:
    """One meter: the words of its block, replaced as a whole, so that every read sees one moment."""

    def __init__(self, layout: RegisterMap, reading: Reading = NOTHING) -> None:
        self.layout = layout
        self._reading = reading
        self._words: list[int] | None = None

    @property
    def words(self) -> list[int]:
        """The whole block as clients see it; encoded when it is first asked for."""
        if self._words is None:
            self._words = self.layout.encode(self._reading)
        return self._words

    def show(self, reading: Reading) -> None:
        """Makes a reading visible to clients."""
        self._reading = reading
        self._words = None

    def as_device(self, unit: int) -> SimDevice:
        """The meter as pymodbus serves it."""
        block = SimData(self.layout.start, count=self.layout.length, datatype=DataType.REGISTERS)
        return SimDevice(unit, [block], action=self._answer)

    async def _answer(  # noqa: PLR0917 (pymodbus calls it by position)
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        current: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        del values
        if function not in READ_FUNCTIONS:
            return ExcCodes.ILLEGAL_FUNCTION
        at, words = address - start, self.words
        current[at : at + count] = words[at : at + count]
        return None


async def _no_such_unit(
    _function: int,
    _start: int,
    _address: int,
    _count: int,
    _current: list[int],
    _values: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """What a gateway answers for a unit that is not wired to it (V1.1b3, 7: exception 0B)."""
    return ExcCodes.GATEWAY_NO_RESPONSE


class Gateway:
    """One TCP server. ``async with`` listens, leaving closes every connection.

    Raises
    ------
    UnavailableError
        On entering: the port cannot be listened on.

    """

    def __init__(self, name: str, host: str, port: int, units: Mapping[int, MeterUnit]) -> None:
        self.name = name
        self._host = host
        self._wanted_port = port
        self._units = units
        self._server: ModbusTcpServer | None = None

    @property
    def port(self) -> int:
        """Port that is listened on."""
        if self._server is None:
            return self._wanted_port
        return int(self._server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        devices = [meter.as_device(unit) for unit, meter in self._units.items()]
        every_address = SimData(0, count=65536, datatype=DataType.REGISTERS)
        devices.append(SimDevice(_ANY_UNIT, [every_address], action=_no_such_unit))
        server = ModbusTcpServer(devices, address=(self._host, self._wanted_port))
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            raise UnavailableError(
                f"gateway {self.name}: cannot listen on {self._host}:{self._wanted_port} ({error}); "
                "stop what holds the port or choose another"
            ) from None
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
