"""SYSTEM: greenbridge itself cannot do its work, and people must hear of it whatever else is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from alerts.alarms import Priority
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from ingest.ports import Ailment

RULE, VERSION = "SYSTEM", 1
PREFIX = f"{RULE}/"
"""What the key of every such condition begins with."""

JOURNAL, ALARMS = "journal", "alarms"
"""Parts whose ailment means that something is not recorded at all."""

_ON_S, _OFF_S = 2.0, 10.0


class _Meaning(NamedTuple):
    """What an ailment means for people."""

    title: str
    consequence: str
    response: str


_MEANINGS = {
    (JOURNAL, "disk_full"): _Meaning(
        "No reading is recorded: the disk is full",
        "Readings are not acknowledged: brokers keep theirs, values of polled devices are lost meanwhile. "
        "Rules see nothing new.",
        "1. Free space on the disk of the state directory, or enlarge it. 2. Recording resumes by itself "
        "within a second. 3. Find out what filled the disk.",
    ),
    (JOURNAL, "size_cap"): _Meaning(
        "No reading is recorded: the journal has reached its size cap",
        "Readings are not acknowledged: brokers keep theirs, values of polled devices are lost meanwhile. "
        "Rules see nothing new.",
        "1. See why the named consumer does not follow. 2. If the disk has room, raise journal.max_bytes "
        "and restart. 3. Recording resumes by itself once it has caught up.",
    ),
    (JOURNAL, "write_failed"): _Meaning(
        "No reading is recorded: the journal cannot be written",
        "Readings are not acknowledged: brokers keep theirs, values of polled devices are lost meanwhile. "
        "Rules see nothing new.",
        "1. Check the disk's health, mount and rights. 2. Recording resumes by itself with the next write "
        "that succeeds.",
    ),
    (ALARMS, "write_failed"): _Meaning(
        "Alarms are not recorded: the alarm journal cannot be written",
        "New alarms, acknowledgements and notifications wait; only messages like this one still leave.",
        "1. Free space on the disk of the state directory and check its health. 2. What waits is written by "
        "itself. 3. Watch the corridor by hand meanwhile.",
    ),
    ("notify", "failing"): _Meaning(
        "{part} does not deliver",
        "Whoever is told by it alone hears of no alarm; what waits is delivered once it works again.",
        "1. Put right what the cause names: network, credentials, the service itself. 2. Try it with "
        "greenbridge notify test. 3. Until then reach the people concerned in another way.",
    ),
}


class SystemHealth:
    """Judges what the parts of the process say of themselves; keeps nothing between two calls."""

    def findings(
        self, now: int, ailments: Sequence[Ailment], open_keys: Collection[str]
    ) -> list[tuple[Finding, Timing]]:
        """What holds now, and that the open conditions of which nobody complains are over.

        Parameters
        ----------
        now
            Wall time [ns, UTC].
        ailments
            What the parts complain of now; the first of a part counts.
        open_keys
            Conditions with an alarm or a running delay.

        """
        by_part: dict[str, Ailment] = {}
        for ailment in ailments:
            by_part.setdefault(ailment.part, ailment)
        found = [(_raised(now, ailment), _timing(part)) for part, ailment in by_part.items()]
        for key in sorted(open_keys):
            part = key.removeprefix(PREFIX)
            if key.startswith(PREFIX) and part not in by_part:
                over = Finding(_subject(part), now, value=0.0, limit=0.0, t_source=now, t_received=now)
                found.append((over, _timing(part)))
        return found


def _subject(part: str) -> Subject:
    return Subject(RULE, VERSION, part, "")


def _timing(part: str) -> Timing:
    priority = Priority.URGENT if part in {JOURNAL, ALARMS} else Priority.HIGH
    return Timing((Grade(priority, _ON_S),), _OFF_S)


def _raised(now: int, ailment: Ailment) -> Finding:
    known = _MEANINGS.get((ailment.part, ailment.state))
    known = known or _MEANINGS.get((ailment.part.partition("/")[0], ailment.state))
    meaning = known or _Meaning(
        f"{ailment.part}: {ailment.state.replace('_', ' ')}",
        f"{ailment.part} takes nothing until this is put right; nothing is lost meanwhile.",
        "1. Put right what the cause names. 2. It goes on by itself.",
    )
    texts = Texts(
        meaning.title.format(part=ailment.part),
        ailment.detail,
        meaning.consequence,
        meaning.response,
        {"State": ailment.state},
    )
    return Finding(
        _subject(ailment.part),
        now,
        level=1,
        held_level=1,
        value=1.0,
        limit=0.0,
        unit="1",
        t_source=ailment.since,
        t_received=ailment.since,
        texts=texts,
    )
