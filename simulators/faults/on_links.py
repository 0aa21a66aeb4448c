"""Kinds of faults on links: what becomes of the bytes that devices send."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulators.faults.fault import Fault, Where


class Down(Fault):
    """Nothing listens; connections that stood are broken off."""

    where = Where.LINK
    title_format = "loss of link {target}"
    kind: Literal["down"]


class HalfOpen(Fault):
    """The connection stands, and nothing comes through it."""

    where = Where.GATEWAY
    title_format = "half-open link {target}"
    kind: Literal["half_open"]


class Slow(Fault):
    """Every answer takes longer."""

    where = Where.GATEWAY
    title_format = "delay of {delay_s:g} s on link {target}"
    kind: Literal["slow"]
    delay_s: Annotated[float, Field(gt=0, le=600)]


class Trickle(Fault):
    """Bytes come one by one."""

    where = Where.GATEWAY
    title_format = "trickle of {bytes_per_s:g} B/s on link {target}"
    kind: Literal["trickle"]
    bytes_per_s: Annotated[float, Field(gt=0, le=1e6)]


class Intermittent(Fault):
    """A fault that strikes one answer in ``every``."""

    every: Annotated[int, Field(ge=1, le=1000)] = 1


class Garbage(Intermittent):
    """Random bytes come in place of an answer."""

    where = Where.GATEWAY
    title_format = "storm of garbage on link {target}"
    kind: Literal["garbage"]


class ShortFrame(Intermittent):
    """An answer lacks its last register; its lengths are consistent with that."""

    where = Where.GATEWAY
    title_format = "run of short frames on link {target}"
    kind: Literal["short_frame"]


class WrongTransaction(Intermittent):
    """In place of an answer comes the one to the question before, with that one's transaction identifier."""

    where = Where.GATEWAY
    title_format = "run of wrong transaction identifiers on link {target}"
    kind: Literal["wrong_transaction"]


class LateReply(Intermittent):
    """An answer comes long after the question was given up."""

    where = Where.GATEWAY
    title_format = "run of replies {delay_s:g} s late on link {target}"
    kind: Literal["late_reply"]
    delay_s: Annotated[float, Field(gt=0, le=600)]


class ExceptionStorm(Intermittent):
    """The device answers with an exception (Modbus Application Protocol V1.1b3, section 7)."""

    where = Where.GATEWAY
    title_format = "storm of exception {code} on link {target}"
    kind: Literal["exception_storm"]
    code: Annotated[int, Field(ge=1, le=255)] = 6


class BrokerRestart(Fault):
    """The broker goes away and comes back; what was published meanwhile comes late."""

    where = Where.BROKER
    title_format = "restart of the broker"
    kind: Literal["broker_restart"]


class Duplicate(Intermittent):
    """A message is delivered twice, as QoS 1 allows (MQTT 3.1.1, section 4.3.2)."""

    where = Where.BROKER
    title_format = "run of duplicated messages"
    kind: Literal["duplicate"]


class OutOfOrder(Intermittent):
    """A message is overtaken by the ``by`` messages after it."""

    where = Where.BROKER
    title_format = "run of messages out of order"
    kind: Literal["out_of_order"]
    every: Annotated[int, Field(ge=2, le=1000)] = 5
    by: Annotated[int, Field(ge=1, le=10_000)] = 40
