from __future__ import annotations

import random
from itertools import pairwise

from telemetry.backoff import Backoff


def test_pauses_double_up_to_a_limit_with_jitter_and_begin_again() -> None:
    longest = Backoff(0.5, 15.0, lambda: 1.0)
    assert [longest.next() for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    longest.reset()
    assert longest.next() == 0.5
    drawn = Backoff(8.0, 8.0, random.Random(1).random)  # noqa: S311
    pauses = [drawn.next() for _ in range(100)]
    assert all(4 <= pause < 8 for pause in pauses)
    assert all(one != two for one, two in pairwise(pauses))
