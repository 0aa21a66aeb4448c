"""Settings of a Modbus gateway: one connection or serial line, shared by the units behind it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from adapters.tls import TlsSettings
from telemetry.points import Identifier
from telemetry.settings import Settings

Seconds = Annotated[float, Field(gt=0, le=3600)]

PORT, TLS_PORT = 502, 802
"""Registered ports of Modbus TCP and of *MODBUS/TCP Security Protocol Specification* v21."""
_SERIAL_COST = 14.0
"""What a request costs on a line: about 13 bytes of frames and two silences, as registers of 2 bytes each."""


class SerialSettings(Settings):
    """A serial line. Its usual setting is 19200 baud, even parity, one stop bit."""

    device: Annotated[str, Field(min_length=1)]
    """Device file, for example ``/dev/ttyUSB0``."""
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 19200
    parity: Literal["even", "odd", "none"] = "even"
    stop_bits: Literal[1, 2] = 1


class GatewaySettings(Settings):
    """One gateway."""

    id: Identifier
    """Name that devices refer to; the link is ``modbus/<id>``."""
    transport: Literal["tcp", "tls", "rtu_over_tcp", "serial"] = "tcp"
    """How it is reached; ``rtu_over_tcp`` carries the frames of a serial line, checksums included."""
    host: Annotated[str, Field(min_length=1)] | None = None
    """Name or address of the gateway; not for a serial line."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port; 502 without it, 802 with TLS."""
    tls: TlsSettings | None = None
    """Keys and certificates for ``transport = "tls"``; devices ask for a client certificate."""
    serial: SerialSettings | None = None
    """The line for ``transport = "serial"``."""
    window: Annotated[int, Field(ge=1, le=32)] = 1
    """Requests in flight at one time, over TCP and TLS; the reads of a device go out together.
    Falls back to 1 when one of several gets no sound reply."""
    timeout_s: Seconds = 1.0
    """Longest wait for a reply [s]; then the connection is closed or drained, so that a late reply is never
    taken for another's."""
    retries: Annotated[int, Field(ge=0, le=5)] = 0
    """Repeats of a request that got no sound reply, on a line that stays open (RTU framing)."""
    connect_timeout_s: Seconds = 3.0
    """Longest wait for a connection [s]."""
    quiet_s: Annotated[float, Field(gt=0, le=60)] = 0.3
    """With RTU framing, how long a line must be silent after a doubt before it is used again [s]."""
    request_cost: Annotated[float, Field(ge=0, le=1000)] | None = None
    """What a request costs besides its registers, in registers: reads across gaps that cost less. Without it
    the profile's ``max_gap`` over TCP, 14 with RTU framing."""
    backoff_first_s: Seconds = 0.5
    """First pause after a failed connection [s]; it doubles from there."""
    backoff_max_s: Seconds = 15.0
    """Longest pause between attempts, for the connection and for each silent unit [s]."""
    max_pending_batches: Annotated[int, Field(ge=1, le=1000)] = 16
    """Polls that may wait for the journal's commit at one time; beyond it, polling waits."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.transport == "serial":
            if self.serial is None:
                raise ValueError('transport = "serial" needs a table serial = { device = ... }')
            if self.host or self.port is not None:
                raise ValueError("a serial line has no host and no port")
        else:
            if not self.host:
                raise ValueError(f'transport = "{self.transport}" needs a host')
            if self.serial is not None:
                raise ValueError('serial = {...} is only for transport = "serial"')
        if (self.tls is not None) != (self.transport == "tls"):
            raise ValueError('tls = {...} and transport = "tls" belong together')
        if self.window > 1 and self.is_rtu:
            raise ValueError("RTU framing allows one request at a time: window = 1")
        return self

    @property
    def is_rtu(self) -> bool:
        """True where frames are those of a serial line, without transaction numbers."""
        return self.transport in {"rtu_over_tcp", "serial"}

    @property
    def tcp_port(self) -> int:
        """TCP port that is called."""
        if self.port is not None:
            return self.port
        return TLS_PORT if self.transport == "tls" else PORT

    @property
    def planning_cost(self) -> float | None:
        """What plans reckon for a request, in registers; None where the profile decides."""
        if self.request_cost is not None:
            return self.request_cost
        return _SERIAL_COST if self.is_rtu else None

    @property
    def where(self) -> str:
        """The other end, for messages."""
        return self.serial.device if self.serial is not None else f"{self.host}:{self.tcp_port}"


class ModbusSettings(Settings):
    """The Modbus part of a configuration."""

    gateway: tuple[GatewaySettings, ...] = ()
