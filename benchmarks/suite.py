"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from benchmarks import decoding, influx, publishing, querying, serving, stepping, storage
from benchmarks.harness import Benchmark

ALL: tuple[Benchmark, ...] = (
    stepping.STEPS,
    serving.SERVED,
    serving.PIPELINED,
    publishing.QOS0,
    publishing.QOS1,
    decoding.REGISTERS,
    decoding.JSON,
    storage.STORED,
    querying.TREND,
    querying.NEWEST,
    influx.WRITTEN,
)
