"""Records that are judged together are judged as if they had come one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.evaluation import Evaluation
from alerts.heard import Heard
from alerts.occurrence import Change
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality
from telemetry.site import Site

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
VALUES = {"TotW": (-322.0, 323.0, 0.0, 380.0), "TotVAr": (-40.0, 10.0), "PPV": (502.0, 498.0)}
QUALITIES = (*[0] * 60, int(Quality.OUT_OF_RANGE), int(Quality.DEVICE_TIMEOUT))
BLOCKS, BLOCK = 20, 60
"""Between two blocks of records the rules look at what follows from time alone."""


def story(site: Site, seed: int) -> list[JournalRecord]:
    """Some minutes of what devices say, each for itself, some late, one silent, once the clock back."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    devices, t = list(site.devices), T0
    records: list[JournalRecord] = []
    steady = {d: {n: chance.choice(values) for n, values in VALUES.items()} for d in devices}
    for number in range(1, BLOCKS * BLOCK + 1):
        t += chance.choice((0, 0, 1, 30, 200, 900)) * SECOND // 1000
        t -= 100 * SECOND * (seed % 3 == 0 and number == 10 * BLOCK)
        device = chance.choice(devices[: -1 if 4 * BLOCK < number < 14 * BLOCK else None])
        points = [p for p in site.points_of(device) if p.key.name in VALUES] * chance.choice((1, 1, 2))
        ages = [chance.choice((0, 200, 800, 4000)) * SECOND // 1000 for _ in points]
        batch = ReadingBatch.of(
            device,
            1,
            number,
            t - chance.choice((0, 0, 400)) * SECOND // 1000,
            point=[p.index for p in points],
            t_source=[t - age for age in ages],
            value=[steady[device][p.key.name] for p in points],
            quality=[chance.choice(QUALITIES) for _ in points],
        )
        records.append(JournalRecord(number, t, 0, batch))
    return records


def judged(
    site: Site, blocks: Sequence[Sequence[Sequence[JournalRecord]]]
) -> tuple[list[Change], Evaluation]:
    """What comes of blocks of records, each taken in portions."""
    evaluation = Evaluation(site, AlertsSettings.model_validate({}), AlarmBook())
    evaluation.begin(T0)
    changes: list[Change] = []
    for portions in blocks:
        for portion in portions:
            changes += evaluation.take(portion, T0)
        changes += evaluation.tick(portions[-1][-1].t_committed, True)
    return changes, evaluation


@pytest.mark.parametrize("seed", range(4))
def test_records_together_are_judged_like_records_one_by_one(site: Site, seed: int) -> None:
    records = story(site, seed)
    chance = random.Random(seed)  # noqa: S311 - see above
    blocks = [records[i : i + BLOCK] for i in range(0, len(records), BLOCK)]
    cuts = [sorted({0, BLOCK, *chance.sample(range(BLOCK), 3)}) for _ in blocks]
    alone, one = judged(site, [[[record] for record in block] for block in blocks])
    joint, other = judged(
        site, [[block[i:j] for i, j in pairwise(cut)] for block, cut in zip(blocks, cuts, strict=True)]
    )
    assert joint == alone
    assert {change.alarm.rule for change in alone} >= {"R6", "R13"}
    assert other.book.indeterminate() == one.book.indeterminate()
    assert (other.instant, other.resume_after) == (one.instant, one.resume_after)


def test_each_reading_keeps_the_receipt_of_its_own_batch() -> None:
    def batch(seq: int, points: Sequence[int]) -> ReadingBatch:
        n = len(points)
        return ReadingBatch.of(
            "s", 1, seq, T0 + seq, point=points, t_source=[T0] * n, value=[float(seq)] * n, quality=[0] * n
        )

    heard = Heard.of([batch(1, [4, 5]), batch(2, [6])])
    assert len(heard) == 3
    assert heard.point.tolist() == [4, 5, 6]
    assert heard.value.tolist() == [1.0, 1.0, 2.0]
    assert heard.t_received.tolist() == [T0 + 1, T0 + 1, T0 + 2]
