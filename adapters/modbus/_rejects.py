"""What cannot become a reading is kept once with all that is known of it; identical repeats are counted."""

from __future__ import annotations

from collections import OrderedDict

import structlog

from adapters.link import LinkState
from adapters.modbus.codec import ProtocolDoubtError
from ingest.ports import DeadLetter, Intake
from telemetry.errors import StorageError

_log = structlog.get_logger(__name__)

_KEPT_BYTES = 64
_MOST_KNOWN = 1000


class Rejects:
    """Rejected replies of one link."""

    def __init__(self, link: LinkState, intake: Intake) -> None:
        self._link = link
        self._intake = intake
        self._known: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    async def add(self, now_ns: int, device: str, address: str, doubt: ProtocolDoubtError) -> None:
        """Counts a reply that is not provably the answer; the first of its kind is logged and kept.

        Parameters
        ----------
        now_ns
            Wall time of receipt [ns, UTC].
        device
            Device that was asked.
        address
            What was asked for: unit, table, registers.
        doubt
            Why it was rejected, with what was received.

        Raises
        ------
        StorageError
            It could not be kept; the next of its kind will be.

        """
        self._link.count("rejected")
        key = (device, address, doubt.reason.value)
        repeats = self._known.pop(key, 0) + 1
        self._known[key] = repeats
        if repeats > 1:
            self._link.count("rejected_again")
            return
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        first = doubt.received[:_KEPT_BYTES]
        _log.warning(
            "modbus_reply_rejected",
            link=self._link.name,
            device=device,
            address=address,
            reason=doubt.reason.value,
            error=str(doubt),
            first_bytes=first.hex(" "),
        )
        letter = DeadLetter(
            now_ns,
            self._link.name,
            f"{device}: {address}",
            f"modbus_{doubt.reason.value}",
            str(doubt),
            first,
            len(doubt.received),
        )
        try:
            await self._intake.reject([letter])
        except StorageError:
            self._known.pop(key, None)
            raise
