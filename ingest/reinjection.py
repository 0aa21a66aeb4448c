"""Reinjection: dead letters that somebody asked for are decoded again by the source that they came from."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from ingest.deadletters import DeadLetters, StoredLetter
from ingest.ports import Reinjectable, ReinjectionError
from telemetry.clock import Clock

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
"""How often requests are looked for [s]."""


class Reinjection:
    """Serves the requests in a store of dead letters; ``run`` never returns by itself.

    A letter leaves the store after its readings are durable. A crash in between decodes it once more, which
    makes duplicates and changes nothing, because it is decoded as of its receipt.
    """

    def __init__(self, letters: DeadLetters, sources: Mapping[str, Reinjectable], clock: Clock) -> None:
        self._letters = letters
        self._sources = sources
        self._clock = clock

    async def run(self) -> None:
        """Serves requests until it is cancelled.

        Raises
        ------
        StorageError
            Something could not be made durable; run it again.

        """
        while True:
            requested = await self._letters.requested()
            for letter in requested:
                await self._serve(letter)
            if not requested:
                await self._clock.sleep(LOOK_EVERY_S)

    async def _serve(self, stored: StoredLetter) -> None:
        letter = stored.letter
        source = self._sources.get(letter.source)
        try:
            if source is None:
                raise ReinjectionError(
                    f"{letter.source} takes nothing again: only messages of brokers in the configuration can "
                    "be decoded later"
                )
            if letter.size > len(letter.payload):
                raise ReinjectionError(
                    f"only the first {len(letter.payload)} of {letter.size} bytes were kept; raise "
                    "dead_letters.max_payload_bytes for later ones"
                )
            await source.reinject(letter)
        except ReinjectionError as error:
            await self._letters.refuse(stored.id, str(error))
            log.warning("dead_letter_not_reinjected", letter=stored.id, reason=str(error))
        else:
            await self._letters.settle(stored.id)
            log.info("dead_letter_reinjected", letter=stored.id, source=letter.source)
