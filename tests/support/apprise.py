"""Threads that apprise keeps for the life of a process, begun before and ended after tests that need them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from apprise import apprise as internals


@pytest.fixture(scope="module")
def apprise_workers() -> Iterator[None]:
    """Two of them: one may be waiting for a server that does not answer."""
    workers = internals.get_shared_executor()
    met = threading.Barrier(3)
    waiting = [workers.submit(met.wait) for _ in range(2)]
    met.wait()
    for one in waiting:
        one.result()
    yield
    workers.shutdown()
    internals._shared_executor = None  # the next one is made when it is needed
