"""A moment of what ``python -m benchmarks.fuzz`` does in full, and hypothesis on the same parsers."""

from __future__ import annotations

import sys
import time
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import SLOWEST_S, by_atheris, by_mutation, fed
from benchmarks.fuzz_targets import TARGETS, Target
from benchmarks.mutation import LONGEST, mutated

SMOKE = 1500


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_no_mutation_makes_a_parser_raise_what_is_not_expected(target: Target) -> None:
    verdict = by_mutation(target, SMOKE, seed=3)
    assert verdict.unexpected == ""
    assert verdict.inputs == SMOKE


def spliced(target: Target) -> st.SearchStrategy[bytes]:
    """Sound inputs and their words, cut and joined with anything."""
    part = st.sampled_from([*target.seeds, *target.words]) | st.binary(max_size=40)
    cut = st.tuples(part, st.integers(0, 60), st.integers(1, 60)).map(lambda p: p[0][p[1] : p[1] + p[2]])
    return st.lists(part | cut, max_size=6).map(b"".join)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_no_input_makes_a_parser_raise_what_is_not_expected(target: Target) -> None:
    @settings(max_examples=60)
    @given(spliced(target))
    def parses(data: bytes) -> None:
        target.run(data)

    parses()


@pytest.mark.skipif(sys.platform != "linux", reason="atheris has wheels for Linux only")
def test_an_engine_that_follows_the_code_finds_nothing_either() -> None:
    verdict = by_atheris(TARGETS["reply"], 2000, seed=1)
    assert (verdict.inputs, verdict.unexpected) == (2000, "")


def test_what_is_not_expected_is_told_with_its_input() -> None:
    def run(data: bytes) -> None:
        if data.startswith(b"\x83"):
            raise KeyError("left out")

    target = Target("broken", run, (b"\x03\x04\0\0\0\0",))
    verdict = by_mutation(target, 100_000, seed=1)
    assert not verdict.passed
    assert verdict.inputs < 100_000
    assert verdict.unexpected.startswith("KeyError: 'left out' for b'\\x83")


def test_an_input_that_takes_too_long_is_told() -> None:
    def run(data: bytes) -> None:
        end = time.thread_time() + (2 * SLOWEST_S if data == b"slow" else 0)
        while time.thread_time() < end:
            pass

    verdict = fed(Target("slow", run, (b"",)), [b"quick", b"slow", b"never reached"])
    assert not verdict.passed
    assert (verdict.inputs, verdict.slowest_input) == (2, "b'slow'")


def test_the_same_seed_makes_the_same_inputs() -> None:
    made = [list(islice(mutated([b"abc", b"\0" * 9], [b"word"], seed), 500)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert max(map(len, made[0])) <= LONGEST
    assert b"" in made[0]
