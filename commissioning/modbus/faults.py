"""Why a device did not answer as wished, and what to do about it, in words for people; pure.

Exceptions: *MODBUS Application Protocol Specification V1.1b3* 7.
"""

from __future__ import annotations

import ssl

from adapters.modbus.codec import DeviceRefusedError, Doubt, ProtocolDoubtError
from adapters.modbus.config import GatewaySettings

EXCEPTION_FIXES = {
    1: "the device does not know this function: try another --table (holding, input, coil, discrete)",
    2: "a register of the read does not exist: mind lists that count from 1 or from 40001 "
    "(wire addresses count from 0), or find what there is with --scan-registers",
    3: "the device does not take this quantity: read fewer at a time (--max-registers), or see --tune",
    4: "the device failed while it answered: look at its own display and log",
    5: "the device is still at work on something long: try again in a while",
    6: "the device is busy with another master: try again, with a longer --pause",
    8: "the device found its memory damaged: have it repaired",
    10: "the gateway has no path to this unit: check which port or line its unit table names",
    11: "the gateway reaches no such unit: check its number (--scan-units finds units), wiring and supply",
}


UNREACHED = frozenset({10, 11})
"""Exceptions of a gateway that does not reach the unit."""


def exception_name(code: int) -> str:
    """An exception in short."""
    return f"exception {code} ({DeviceRefusedError(code).name.replace('_', ' ')})"


def exception_text(code: int) -> str:
    """An exception in words, with what to do about it."""
    return f"{exception_name(code)}: {EXCEPTION_FIXES.get(code, 'see the manual of the device')}"


def unreachable_text(gateway: GatewaySettings, error: BaseException) -> str:
    """Why there is no connection, and what to do about it."""
    cause = error.__context__ if isinstance(error.__context__, OSError) else None
    return f"{error}; {_connection_fix(gateway, cause)}"


def _connection_fix(gateway: GatewaySettings, cause: OSError | None) -> str:
    if gateway.serial is not None:
        return "check the device file, who else holds it, and that you may open it (group dialout)"
    usual = 802 if gateway.transport == "tls" else 502
    if gateway.transport == "tls" and isinstance(cause, TimeoutError):
        return f"check address and firewalls, and that the device speaks TLS on this port (usually {usual})"
    for kind, fix in _FIXES:
        if isinstance(cause, kind):
            return fix.format(usual=usual)
    return "check the name or address of the host and the route to it"


_FIXES: tuple[tuple[type[OSError], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "name the authority of the device's certificate with --ca-file, and call the device as it says",
    ),
    (ssl.SSLError, "check that the device speaks TLS on this port and takes your --certificate-file"),
    (
        ConnectionRefusedError,
        "nothing listens there: check the port (usually {usual}) and that the device's server is switched on",
    ),
    (TimeoutError, "check address, cabling and firewalls; a ping tells whether the host is there"),
    (
        ConnectionResetError,
        "it hung up: does it speak TLS, are its connections used up, does it admit your address?",
    ),
)
"""What to do about a failed connection, the more special causes first."""


def silent_text(gateway: GatewaySettings, unit: int) -> str:
    """What may be wrong when nobody answers."""
    line = gateway.serial
    if line is not None:
        parity = "no" if line.parity == "none" else line.parity
        set_to = (
            f"{line.baudrate} baud, {parity} parity, {line.stop_bits} stop bit{'s' * (line.stop_bits > 1)}"
        )
        return (
            f"check unit {unit}, the line's settings ({set_to}), polarity (A/B) and termination; "
            "--scan-units finds units"
        )
    framing = "tcp" if gateway.is_rtu else "rtu_over_tcp"
    return (
        f"it connects, but unit {unit} stays silent: check the unit number (--scan-units finds units), "
        f"try --transport {framing}, or wait longer with --timeout"
    )


def doubt_text(gateway: GatewaySettings, doubt: ProtocolDoubtError) -> str:
    """What may be wrong when something comes that is no answer."""
    head = f"{doubt}" + (f" (received {doubt.received[:16].hex(' ')})" if doubt.received else "")
    if doubt.reason in {Doubt.PROTOCOL, Doubt.LENGTH} and not gateway.is_rtu:
        return f"{head}; if this is a serial line carried over TCP, add --transport rtu_over_tcp"
    if doubt.reason in {Doubt.CHECKSUM, Doubt.FUNCTION} and gateway.transport == "rtu_over_tcp":
        return f"{head}; if this is plain Modbus TCP, add --transport tcp"
    if gateway.is_rtu:
        return f"{head}; check baud rate, parity and termination, and that there is one master on the line"
    return f"{head}; is another master using the same connection of the gateway?"
