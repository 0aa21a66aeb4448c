"""Settings of a Sparkplug host application: one connection to one broker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adapters.broker import BrokerConnection
from telemetry.devices import SparkplugId
from telemetry.settings import Settings

Positive = Annotated[float, Field(gt=0, le=3600)]


class HostSettings(BrokerConnection):
    """A host application; the link is ``sparkplug/<id>``. Its session is always a clean one."""

    host_id: SparkplugId
    """Name in the topic of its STATE, unique in the infrastructure; edge nodes may wait for it."""
    groups: tuple[SparkplugId, ...] = ()
    """Groups that are listened to; without any all of the broker's."""
    reorder_timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long a message may be missing before the edge node is asked for its births [s]. Keep it below
    ``alerts.watermark_s``, so that the rules see what was put in order."""
    birth_wait_s: Positive = 3.0
    """How long a configured edge node may stay unborn after the connection before it is asked [s]."""
    rebirth_pause_s: Positive = 10.0
    """Pause between the first two requests to one edge node [s]; it doubles."""
    rebirth_max_pause_s: Positive = 600.0
    """Longest pause between two requests to one edge node [s]."""
    rebirths_per_s: Annotated[float, Field(gt=0, le=1000)] = 20.0
    """Requests to all edge nodes together [1/s]."""
    request_rebirths: bool = True
    """False where another host application is in charge: then nothing is ever sent to edge nodes."""
    max_nodes: Annotated[int, Field(ge=1, le=100_000)] = 20_000
    """Edge nodes that are remembered, configured or not; messages of more are dead letters."""
    max_node_metrics: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Metrics of one edge node and its devices that are remembered; a birth with more is a dead letter. Each
    256 bytes of a birth count as a metric at least."""
    max_metrics: Annotated[int, Field(ge=1, le=100_000_000)] = 2_000_000
    """Metrics that are remembered, likewise, of all edge nodes together that are not configured; and that are
    listed for people."""


class SparkplugSettings(Settings):
    """The Sparkplug part of a configuration."""

    host: tuple[HostSettings, ...] = ()
