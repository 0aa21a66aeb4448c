"""Birth and death certificates of a host application.

Section numbers and ``tck-id-...`` names are those of the Sparkplug specification, version 3.0.0.
"""

from __future__ import annotations

import msgspec

from adapters.sparkplug.rejection import RejectedPayloadError, Rejection


class HostState(msgspec.Struct, frozen=True):
    """State of a host application (4.3.1)."""

    online: bool
    timestamp: int
    """[ms since 1970, UTC]."""


def state(online: bool, timestamp_ms: int) -> bytes:
    """Birth or death certificate of a host (tck-id-host-topic-phid-birth-payload, -death-payload)."""
    return msgspec.json.encode(HostState(online, timestamp_ms))


def read_state(payload: bytes) -> HostState:
    """Reads a birth or death certificate of a host.

    Raises
    ------
    RejectedPayloadError
        It is not JSON of that form.

    """
    try:
        return msgspec.json.decode(payload, type=HostState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedPayloadError(Rejection.BAD_STATE, str(error)) from None
