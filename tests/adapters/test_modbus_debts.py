"""Late replies without transaction numbers: whatever a device does in order, none is taken for another's."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace

import pytest

from adapters.modbus.codec import MAX_COILS, MAX_REGISTERS, Request
from adapters.modbus.debts import FORGOTTEN_AFTER_S, MOST_QUESTIONS, Debts, InDebtError
from adapters.modbus.identification import IdentificationQuery
from telemetry.profiles import RegisterTable


def read(count: int, table: RegisterTable = RegisterTable.HOLDING, unit: int = 1) -> Request:
    return Request(0, unit, table, 100, count)


@dataclass
class Reply:
    """What a device sends: all that a client can see of it, and whose it is."""

    function: int
    size: int | None
    """None for an exception."""
    request: Request
    due: float


class Line:
    """A device that answers in order and at most once, as late as it likes, and its client."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.now = 0.0
        self.debts = Debts()
        self.coming: deque[Reply] = deque()
        self.accepted = 0
        self.honest = False

    def ask(self, query: Request) -> None:
        for _ in range(MOST_QUESTIONS + 1):
            try:
                question = self.debts.question(query.unit, self.now)
            except InDebtError:
                return
            outcome = self._exchange(question or query)
            if question is None or outcome == "nothing":
                return
            if outcome == "refused":
                self.debts.refused(question, self.now)
            else:
                self.debts.answered(question)

    def _exchange(self, query: Request) -> str:
        """One request and the first frame that comes in its time, then silence while the line is calmed."""
        fate = "data" if self.honest else self.random.choice(["data", "data", "data", "exception", "lost"])
        due = self.now + (0.0 if self.honest else self.random.choice([*[0.0] * 20, 0.5, 2.0, 5.0, 30.0]))
        if self.coming:
            due = max(due, self.coming[-1].due)
        if fate != "lost" and due < self.now + FORGOTTEN_AFTER_S:
            size = query.reply_bytes if fate == "data" else None
            self.coming.append(Reply(query.function, size, query, due))
        self.now += self.random.choice([0.1, 1.0])
        got = self.coming.popleft() if self.coming and self.coming[0].due <= self.now else None
        if got is not None and got.function == query.function:
            if got.size is None:
                return "refused"
            if got.size == query.reply_bytes:
                assert got.request is query, "an older reply was taken for the answer"
                self.accepted += 1
                return "data"
        self.debts.add(query, self.now)
        self.now += 0.3
        while self.coming and self.coming[0].due <= self.now:
            self.coming.popleft()
        return "nothing"


QUERIES = [read(4), read(2), read(4, RegisterTable.INPUT), read(3), read(1)]


def test_no_late_reply_is_ever_taken_for_another_s() -> None:
    accepted = 0
    for seed in range(2000):
        line = Line(seed)
        for _ in range(20):
            line.ask(replace(line.random.choice(QUERIES)))  # a copy: each request is another
        accepted += line.accepted
    assert accepted > 10_000, "much is answered all the same"


def test_whatever_was_owed_a_unit_that_answers_again_is_trusted_within_two_polls() -> None:
    """However long nothing of it made sense: reads of all tables, lost, refused or late."""
    queries = [read(count, table) for table in RegisterTable for count in (1, 2, 4)]
    for seed in range(60):
        line = Line(seed)
        for _ in range(40):
            line.ask(replace(line.random.choice(queries)))
        line.coming.clear()
        line.honest, before = True, line.accepted
        for _ in range(2):
            line.ask(read(4))
        assert line.accepted > before, seed
        assert line.debts.question(1, line.now) is None, seed


def test_the_first_question_is_a_read_of_a_length_that_is_not_owed() -> None:
    debts = Debts()
    debts.add(read(4), 0.0)
    debts.add(read(3), 0.0)
    question = debts.question(1, 1.0)
    assert question is not None
    assert (question.table, question.count) == (RegisterTable.HOLDING, 2)
    assert debts.question(2, 1.0) is None, "the other units owe nothing"
    debts.answered(question)
    assert debts.question(1, 1.0) is None


def test_where_no_shorter_read_is_left_a_longer_one_is_asked_within_the_address_space() -> None:
    debts = Debts()
    debts.add(Request(0, 1, RegisterTable.HOLDING, 65535, 1), 0.0)
    question = debts.question(1, 1.0)
    assert question is not None
    assert (question.address, question.count) == (65534, 2)


def test_a_refusal_proves_nothing_until_it_is_that_of_another_function() -> None:
    """A device that refuses every length but its own is asked by another function code: that is answered."""
    debts = Debts()
    debts.add(read(4), 0.0)
    first = debts.question(1, 1.0)
    assert first is not None
    debts.refused(first, 1.0)
    second = debts.question(1, 1.0)
    assert second is not None
    assert second.table is RegisterTable.INPUT
    debts.refused(second, 1.0)
    assert debts.question(1, 1.0) is None


def test_where_every_function_is_owed_lengths_are_tried_on_though_they_were_refused() -> None:
    """A refusal may have been an owed one; data of a length that is not owed settles everything."""
    debts = Debts()
    for table in RegisterTable:
        debts.add(read(4, table), 0.0)
    tried = set()
    for _ in range(3):
        question = debts.question(1, 1.0)
        assert question is not None
        tried.add(question.reply_bytes)
        debts.refused(question, 1.0)
    assert len(tried) == 3
    last = debts.question(1, 1.0)
    assert last is not None
    debts.answered(last)
    assert debts.question(1, 1.0) is None


def test_a_unit_that_answers_nothing_is_trusted_again_after_a_long_silence() -> None:
    debts = Debts()
    for table in RegisterTable:
        for count in range(1, (MAX_COILS if table.is_bits else MAX_REGISTERS) + 1):
            debts.add(read(count, table), 0.0)
    with pytest.raises(InDebtError, match="unit 1 owes"):
        debts.question(1, 2.0)
    assert debts.question(1, 1.0 + FORGOTTEN_AFTER_S) is None


def test_single_bits_are_told_apart_by_their_bytes() -> None:
    debts = Debts()
    debts.add(read(9, RegisterTable.COIL), 0.0)
    question = debts.question(1, 0.0)
    assert question is not None
    assert question.reply_bytes == 1
    debts.add(question, 0.0)
    debts.add(read(1, RegisterTable.COIL), 0.0)
    longer = debts.question(1, 0.0)
    assert longer is not None
    assert longer.reply_bytes == 3


def test_an_identification_is_owed_too() -> None:
    debts = Debts()
    debts.add(IdentificationQuery(0, 1), 0.0)
    question = debts.question(1, 0.0)
    assert question is not None
    assert (question.table, question.count) == (RegisterTable.HOLDING, 2)
