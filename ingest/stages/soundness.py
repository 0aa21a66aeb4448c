"""The last check before the commit: a value that is not finite is never marked good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from telemetry.batch import ReadingBatch
from telemetry.quality import Quality, usable


def sound(batch: ReadingBatch) -> tuple[ReadingBatch, int]:
    """The batch with every NaN or infinite value as NaN of bad quality, and how many had not been bad.

    A quality that is already bad keeps its reason.
    """
    finite = np.isfinite(batch.value)
    if finite.all():
        return batch, 0
    wrong = ~finite & usable(batch.quality)
    value = np.where(finite, batch.value, np.nan)
    quality = np.where(wrong, np.uint8(Quality.NOT_A_NUMBER), batch.quality)
    return replace(batch, value=value, quality=quality), int(wrong.sum())
