"""Topics of the Sparkplug namespace.

Section numbers and ``tck-id-...`` names are those of the Sparkplug specification, version 3.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from adapters.sparkplug.rejection import RejectedPayloadError, Rejection

NAMESPACE = "spBv1.0"
"""tck-id-topic-structure-namespace-a."""
STATE = "STATE"


class Verb(StrEnum):
    """Types of message of an edge node (4.2)."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"


COMMANDS = frozenset({"NCMD", "DCMD"})
"""Messages to edge nodes: nothing for a host that only listens."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Where a message of an edge node comes from (4.1)."""

    group: str
    verb: Verb
    edge: str
    device: str | None

    @property
    def text(self) -> str:
        """As it is on the wire."""
        tail = "" if self.device is None else f"/{self.device}"
        return f"{NAMESPACE}/{self.group}/{self.verb.value}/{self.edge}{tail}"


@lru_cache(maxsize=65_536)
def parse_topic(topic: str) -> Topic | None:
    """The parts of a topic; None for a command to an edge node, which is nothing to a listener.

    Raises
    ------
    RejectedPayloadError
        It is not of the form of tck-id-topic-structure.

    """
    levels = topic.split("/")
    if len(levels) not in {4, 5} or levels[0] != NAMESPACE or not all(levels):
        raise RejectedPayloadError(Rejection.BAD_TOPIC, "not namespace/group/type/edge node/[device]")
    group, kind, edge = levels[1:4]
    device = levels[4] if len(levels) == 5 else None
    if kind in COMMANDS:
        return None
    try:
        verb = Verb(kind)
    except ValueError:
        raise RejectedPayloadError(Rejection.BAD_TOPIC, f"no type of message is called {kind}") from None
    if (device is None) is verb.value.startswith("D"):
        # tck-id-topic-structure-namespace-device-id-associated-message-types, -non-associated-
        wanted = "needs a device" if device is None else "names a device"
        raise RejectedPayloadError(Rejection.BAD_TOPIC, f"a {verb.value} {wanted}")
    return Topic(group, verb, edge, device)


def state_topic(host_id: str) -> str:
    """Topic of a host's certificates (tck-id-host-topic-phid-birth-topic)."""
    return f"{NAMESPACE}/{STATE}/{host_id}"


def command_topic(group: str, edge: str) -> str:
    """Topic of commands to an edge node (tck-id-topics-ncmd-topic)."""
    return f"{NAMESPACE}/{group}/NCMD/{edge}"
