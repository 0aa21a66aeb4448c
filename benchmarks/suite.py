"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from benchmarks import decoding, publishing, serving, stepping, storage
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
)
