"""Topics of the Sparkplug namespace (Sparkplug 3.0, 4)."""

from __future__ import annotations

from enum import StrEnum

NAMESPACE = "spBv1.0"
"""tck-id-topic-structure-namespace-a."""
RESERVED = frozenset("+/#")
"""Characters that no identifier may have (tck-id-topic-structure-namespace-valid-edge-node-id)."""


class Verb(StrEnum):
    """Types of message (Sparkplug 3.0, 4.2)."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"
    DCMD = "DCMD"


def node_topic(group: str, verb: Verb, node: str, device: str | None = None) -> str:
    """Topic of a message of an edge node or of one of its devices (tck-id-topic-structure)."""
    tail = "" if device is None else f"/{device}"
    return f"{NAMESPACE}/{group}/{verb.value}/{node}{tail}"


def is_data(topic: str) -> bool:
    """Whether a topic is that of data: not of a birth, death or command."""
    return topic.split("/")[2] in {Verb.NDATA, Verb.DDATA}


def state_topic(host: str) -> str:
    """Topic of a host application's state (tck-id-host-topic-phid-birth-topic)."""
    return f"{NAMESPACE}/STATE/{host}"
