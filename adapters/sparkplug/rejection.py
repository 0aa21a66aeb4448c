"""Why a message, or a part of it, cannot become readings."""

from __future__ import annotations

from enum import StrEnum

from telemetry.errors import GreenbridgeError


class Rejection(StrEnum):
    """Why a message, or a part of it, cannot become readings; the label of a dead letter."""

    BAD_TOPIC = "bad_topic"
    RETAINED = "retained"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_METRICS = "too_many_metrics"
    OVERSIZED = "oversized"
    NOT_PAYLOAD = "not_payload"
    BAD_SEQ = "bad_seq"
    BAD_DEATH = "bad_death"
    BAD_BIRTH = "bad_birth"
    NOT_BORN = "not_born"
    NO_NAME = "no_name"
    UNKNOWN_METRIC = "unknown_metric"
    BAD_STATE = "bad_state"


class RejectedPayloadError(GreenbridgeError):
    """A message that cannot be used; it is kept as a dead letter."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
