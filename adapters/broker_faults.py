"""What to do when a broker cannot be reached, by what was said of it; pure.

Reason codes of CONNACK: MQTT 5.0, 3.2.2.2; those of MQTT 3.1.1 (3.2.2.3) come translated into them.
"""

from __future__ import annotations

import re

PORT, TLS_PORT = 1883, 8883

_NOISE = re.compile(r"\[(Errno \d+|[A-Z0-9]+: [A-Z0-9_]+)\] | \(_ssl\.c:\d+\)")
_PORT = f"check the port (usually {PORT}, or {TLS_PORT} with TLS), and that the broker runs"
_CREDENTIALS = "check username and password, and what the broker lets this client do"
_CERTIFICATE = "give a certificate that the broker's authority vouches for (certificate_file, key_file)"
_FIXES = (
    (
        r"cannot be found|no name of a host",
        "check its name, and that this machine can resolve it",
    ),
    (r"cannot be reached|has no address", _PORT),
    (r"code:13[45]\b|[Bb]ad user ?name|[Nn]ot authori[sz]ed", _CREDENTIALS),
    (r"code:133\b|[Ii]dentifier", "give a client_id that the broker accepts"),
    (r"code:132\b|protocol version", "set the other version of MQTT, 3.1.1 or 5"),
    (r"code:\d+", "ask those who run the broker: it answers, and refuses"),
    (r"mismatch|not valid for", "call the broker by a name that its certificate bears"),
    (r"has expired|not yet valid", "renew the broker's certificate, or set this machine's clock"),
    (r"certificate verify failed", "name the authority that vouches for the broker (ca_file)"),
    (r"alert .*(certificate|unknown ca|handshake failure)", _CERTIFICATE),
)
"""The first that is found in a fault counts."""


def explained(host: str, port: int, fault: str, *, tls: bool) -> str:
    """A fault of a connection attempt, with the broker that it is of and what to do about it.

    Parameters
    ----------
    host, port
        The broker.
    fault
        What the system, OpenSSL or the broker said.
    tls
        The connection was to be encrypted.

    """
    said = _NOISE.sub("", fault).rstrip(".")
    if not said.startswith(host):
        said = f"{host}:{port}: {said}"
    for pattern, fix in _FIXES:
        if re.search(pattern, fault):
            return f"{said}; {fix}"
    if tls:
        return f"{said}; does it speak TLS on this port (usually {TLS_PORT}), and want a certificate of ours?"
    if "timed out" in fault or "hung up" in fault:
        return f"{said}; something listens there: is it an MQTT broker, and does it want TLS?"
    return f"{said}; look into the broker's log"
