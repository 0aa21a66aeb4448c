from __future__ import annotations

from console.backoff import Backoff


def test_waits_double_up_to_the_ceiling() -> None:
    backoff = Backoff(free=2, first_s=1.0, ceiling_s=5.0)
    waits = []
    for _ in range(6):
        waits.append(backoff.wait_s("a", 100.0))
        backoff.failed("a", 100.0)
    assert waits == [0, 0, 1, 2, 4, 5]


def test_a_wait_passes_and_a_success_ends_it() -> None:
    backoff = Backoff(free=1, first_s=4.0)
    backoff.failed("a", 100.0)
    assert backoff.wait_s("a", 101.0) == 3.0
    assert backoff.wait_s("a", 104.0) == 0.0
    assert backoff.wait_s("b", 101.0) == 0.0
    backoff.succeeded("a")
    assert backoff.wait_s("a", 101.0) == 0.0


def test_thousands_of_failures_do_not_overflow_and_memory_is_bounded() -> None:
    backoff = Backoff(free=1, ceiling_s=60.0, max_clients=2)
    for _ in range(5000):
        backoff.failed("a", 0.0)
    assert backoff.wait_s("a", 0.0) == 60.0
    for client in ("b", "c"):
        backoff.failed(client, 0.0)
    assert [backoff.wait_s(client, 0.0) > 0 for client in "abc"] == [False, True, True]
