"""Quality of a reading: good, uncertain or bad, with a bounded reason.

The validity follows IEC 61850-7-3 (good / questionable / invalid); codes are ordered so that the worst of
several qualities is their maximum.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_UNCERTAIN = 64
_BAD = 128


class Validity(IntEnum):
    """How far a value may be trusted."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Quality(IntEnum):
    """Quality code of one reading (uint8): 0 good, 64-127 uncertain, 128-255 bad."""

    GOOD = 0
    RECEIPT_STAMPED = _UNCERTAIN + 1
    """The payload carried no source time; it was stamped at receipt."""
    CLOCK_SUSPECT = _UNCERTAIN + 2
    """The source time is implausible (far from the time of receipt)."""
    SUBSTITUTED = _UNCERTAIN + 3
    """An operator or a model put the value in."""
    RETAINED = _UNCERTAIN + 4
    """A retained message: the last known value of an unknown age."""
    DEVICE_UNCERTAIN = _UNCERTAIN + 5
    """The device itself calls the value uncertain."""
    STALE = _BAD + 1
    """No fresh value within the time limit of the point."""
    LINK_LOST = _BAD + 2
    """The connection to the device is down."""
    DEVICE_TIMEOUT = _BAD + 3
    """The connection stands but the device does not answer in time."""
    DEVICE_REFUSED = _BAD + 4
    """The device answered with an exception or an error of its own."""
    PROTOCOL_DOUBT = _BAD + 5
    """A reply that cannot be proven to belong to the request."""
    NOT_IMPLEMENTED = _BAD + 6
    """The device marks the point as not implemented or not available."""
    OUT_OF_RANGE = _BAD + 7
    """Outside the physical range of the point."""
    FROZEN = _BAD + 8
    """Does not change although it should."""
    NOT_A_NUMBER = _BAD + 9
    """NaN, infinity or text where a number is due."""
    DEVICE_BAD = _BAD + 10
    """The device itself calls the value bad."""

    @property
    def validity(self) -> Validity:
        """Good, uncertain or bad."""
        return validity_of(self.value)

    @property
    def reason(self) -> str:
        """The bounded reason as a metric label, for example ``link_lost``."""
        return self.name.lower()


def validity_of(code: int) -> Validity:
    """Validity of a quality code, also of one that this version does not know."""
    if code >= _BAD:
        return Validity.BAD
    return Validity.UNCERTAIN if code >= _UNCERTAIN else Validity.GOOD


def reason_of(code: int) -> str:
    """Reason label of a quality code; ``unknown_<code>`` for one that this version does not know."""
    try:
        return Quality(code).reason
    except ValueError:
        return f"unknown_{code}"


def usable(quality: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of the readings that a formula may use: good or uncertain."""
    return np.asarray(quality < _BAD)
