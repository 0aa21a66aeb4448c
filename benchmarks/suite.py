"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from benchmarks import (
    asking,
    catching_up,
    decoding,
    estimating,
    influx,
    judging,
    polling,
    publishing,
    querying,
    receiving,
    serving,
    stepping,
    storage,
)
from benchmarks.harness import Benchmark

ALL: tuple[Benchmark, ...] = (
    stepping.STEPS,
    serving.SERVED,
    serving.PIPELINED,
    asking.ASKED,
    asking.WINDOW,
    polling.SITE,
    polling.DEAD,
    publishing.QOS0,
    publishing.QOS1,
    receiving.RECEIVED,
    decoding.REGISTERS,
    decoding.JSON,
    decoding.SPARKPLUG,
    estimating.ESTIMATED,
    judging.JUDGED,
    storage.STORED,
    storage.SUSTAINED,
    storage.WIDE,
    storage.DURABLE,
    querying.TREND,
    querying.NEWEST,
    influx.WRITTEN,
    catching_up.CAUGHT_UP,
)
