"""The words of notifications: what a woken engineer needs, in every language, whatever an alarm holds."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.notify import text
from alerts.notify.catalogue import FOLDER, languages, parsed
from alerts.notify.channel import Also, Notification
from alerts.notify.config import Links
from alerts.notify.links import MessageLinks
from alerts.notify.text import Reader, Writer

SECOND = 1_000_000_000
BEGAN = 1_795_000_000 * SECOND  # 2026-11-18 11:06:40 UTC
ALARM = Alarm(
    "R6-SHY-TAS-17", "R6/SHY-TAS", "R6", 1, "SHY-TAS", "KZ", "SHY-TAS: 29.8 MW missing between the two ends",
    Priority.HIGH, AlarmState.UNACKNOWLEDGED, 29.8, 7.04, "MW", "good", BEGAN, BEGAN, BEGAN + 60 * SECOND,
    BEGAN + 60 * SECOND, began_at=BEGAN, cause="A tap, or a meter that lies.",
    consequence="Energy leaves without being accounted for.", response="1. Compare the check meters.",
    evidence={"P at SHY [MW]": -322.1},
)  # fmt: skip
NOTE = Notification("ann-7", Occasion.RAISED, BEGAN, ALARM)
ANN = Reader("ann", "en", "Asia/Almaty")


@pytest.fixture
def links(tmp_path: Path) -> MessageLinks:
    key = tmp_path / "key"
    key.write_text("x" * 40)
    return MessageLinks(Links(console_url="https://gb.example.org/", key_file=key), "greenbridge.toml")


def test_what_a_woken_engineer_needs(links: MessageLinks) -> None:
    message = Writer("Green corridor", links).write(NOTE, ANN, BEGAN)
    assert message.title == "High: SHY-TAS: 29.8 MW missing between the two ends"
    head, _, foot = message.body.partition("\nAcknowledge: ")
    assert head == (
        "Where: SHY-TAS, KZ (rule R6)\n"
        "Since: 2026-11-18 16:06:40 (Asia/Almaty), 11:06:40 UTC\n"
        "How bad: High; 29.8 MW, limit 7.04 MW, quality good\n"
        "\n"
        "Cause: A tap, or a meter that lies.\n"
        "\n"
        "Consequence: Energy leaves without being accounted for.\n"
        "\n"
        "What to do: 1. Compare the check meters.\n"
        "\n"
        "Evidence:\n"
        "  P at SHY [MW]: -322.1\n"
    )
    url, _, rest = foot.partition("\n")
    assert url.startswith("https://gb.example.org/acknowledge/")
    claim = links.read(url.rpartition("/")[2], BEGAN)
    assert (claim.alarm, claim.recipient) == ("R6-SHY-TAS-17", "ann")
    assert "Console: https://gb.example.org\nSite Green corridor, alarm R6-SHY-TAS-17, message ann-7" in rest


@pytest.mark.parametrize(
    ("occasion", "changes", "title", "asks"),
    [
        (Occasion.ESCALATED, {"priority": Priority.URGENT}, "Worse, now URGENT: ", True),
        (Occasion.UNANSWERED, {}, "Nobody has acknowledged, High: ", True),
        (Occasion.HANDED_OVER, {}, "You are on call now, High: ", True),
        (
            Occasion.RETURNED,
            {"state": AlarmState.RETURNED, "cleared_at": BEGAN + 3600 * SECOND},
            "Over: ",
            False,
        ),
        (
            Occasion.ACKNOWLEDGED,
            {"state": AlarmState.ACKNOWLEDGED, "acknowledged_by": "bob (link)", "comment": "on my way"},
            "Acknowledged by bob (link): ",
            False,
        ),
    ],
)
def test_occasions(
    occasion: Occasion, changes: dict[str, object], title: str, asks: bool, links: MessageLinks
) -> None:
    alarm = replace(ALARM, **changes)  # type: ignore[arg-type]
    message = Writer("s", links).write(replace(NOTE, occasion=occasion, alarm=alarm), ANN, BEGAN)
    assert message.title == f"{title}SHY-TAS: 29.8 MW missing between the two ends"
    assert ("What to do" in message.body) == ("/acknowledge/" in message.body) == asks
    if occasion is Occasion.RETURNED:
        assert "11:06:40 UTC; over since 17:06:40" in message.body
    if occasion is Occasion.ACKNOWLEDGED:
        assert "Comment: on my way" in message.body


def test_a_group_is_a_count_the_gravest_in_full_and_the_rest_in_short(links: MessageLinks) -> None:
    others = tuple(
        Also(Occasion.RAISED if n else Occasion.RETURNED, replace(ALARM, id=f"A-{n}", title=f"title {n}"))
        for n in range(3)
    )
    group = replace(NOTE, also=others, total=27, tally={"high": 4, "urgent": 1, "low": 22})
    message = Writer("s", links).write(group, ANN, BEGAN)
    assert message.title == "27 alarms, first High: SHY-TAS: 29.8 MW missing between the two ends"
    assert message.body.startswith("27 alarms (URGENT: 1, High: 4, Low: 22)\n\nHigh: SHY-TAS: 29.8 MW")
    assert "\nOver: title 0\nSince:" in message.body
    assert "and 23 more alarms; see the console" in message.body
    assert message.body.count("/acknowledge/") == 3, "one link for each alarm that asks for something"


def test_without_links_and_evidence() -> None:
    alarm = replace(ALARM, evidence={}, area="", began_at=0, cause="")
    message = Writer("s", None).write(replace(NOTE, alarm=alarm), ANN, BEGAN)
    assert "http" not in message.body
    assert "Where: SHY-TAS (rule R6)\nSince: 2026-11-18 16:07:40" in message.body


@given(st.text(max_size=60), st.sampled_from(Occasion), st.sampled_from(sorted(languages())))
@settings(deadline=None)
def test_whatever_an_alarm_holds(any_text: str, occasion: Occasion, language: str) -> None:
    """Braces are no fields, and a title is one line: it becomes the subject of a mail."""
    alarm = replace(
        ALARM, title=any_text, cause=any_text, response=any_text, comment=any_text, acknowledged_by=any_text
    )
    note = replace(NOTE, occasion=occasion, alarm=alarm, also=(Also(occasion, alarm),), total=2)
    message = Writer(any_text, None).write(note, Reader("a", language, "UTC"), BEGAN)
    assert len(message.title.splitlines()) == 1


def marked() -> Iterator[str]:
    """Every text of the module that is for the catalogues, plurals as these have them."""
    for node in ast.walk(ast.parse(Path(text.__file__).read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
        if name == "_":
            yield str(texts[0])
        elif name == "ngettext":
            yield "\0".join(map(str, texts))


def fields(message: str) -> set[str | None]:
    return {field for _, field, _, _ in string.Formatter().parse(message) if field is not None}


@pytest.mark.parametrize("language", sorted(languages() - {"en"}))
def test_a_catalogue_is_complete_and_its_fields_are_those_of_the_english(language: str) -> None:
    found = parsed((FOLDER / f"{language}.po").read_text("utf-8"))
    assert found.pop("")
    texts = set(marked())
    assert len(texts) > 25
    assert texts - found.keys() == set(), "not translated"
    for english, translated in found.items():
        for form in translated.split("\0"):
            assert fields(form) == fields(english.split("\0")[0]), english


def test_a_draft_says_so_in_every_message() -> None:
    message = Writer("s", None).write(replace(NOTE, total=22), Reader("a", "ru", "UTC"), BEGAN)
    assert message.title.startswith("22 тревоги, первая: Высокий приоритет: SHY-TAS")
    assert message.body.endswith("Этот перевод — черновик, его никто не проверял.")
