"""SunSpec: the models against pysunspec2's own, discovery, and points from a chain of models."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
import sunspec2.device as independent  # type: ignore[import-untyped]
import sunspec2.mb  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.config import GatewaySettings
from adapters.modbus.decoding import BlockDecoder, Slot
from adapters.modbus.plan import DevicePlan
from adapters.modbus.source import ModbusSource
from adapters.modbus.sunspec.chain import BASES, MAX_MODELS, Block, Chain, NotSunSpecError, survey
from adapters.modbus.sunspec.mapping import plan_sunspec
from adapters.modbus.sunspec.models import ENCODINGS, Model, ModelPoint, models
from adapters.profiles import checked_profile
from ingest.fakes import FakeIntake
from simulators.devices.modbus import Gateway, Line, MappedUnit, Transport
from simulators.devices.sunspec.chain import Content, chain
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, RegisterType, WordOrder
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.conftest import points_of

MakePoints = Callable[..., list[SitePoint]]
Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]


def defined(group: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each point of a definition with its offset in registers."""
    at = 0
    for point in group["points"]:
        yield at, point
        at += point["size"]


def same_as_defined(ours: Mapping[str, ModelPoint], group: Mapping[str, Any]) -> None:
    theirs = {point["name"]: (at, point) for at, point in defined(group)}
    assert ours.keys() <= theirs.keys()
    for name, point in ours.items():
        at, definition = theirs[name]
        assert (point.offset, point.type, point.words) == (at, definition["type"], definition["size"]), name
        scale = point.exponent or point.scale_point
        assert scale == definition.get("sf", ""), name
        assert point.unit == definition.get("units", ""), name
        codes = {one["name"].removeprefix("gg"): one["value"] for one in definition.get("symbols", [])}
        for code, text in point.states.items():
            assert codes[text] == code, name
        if not point.type.startswith("enum"):
            assert not point.states


@pytest.mark.parametrize("model", models().values(), ids=lambda model: str(model.id))
def test_every_offset_type_scale_factor_and_unit_is_that_of_the_standard(model: Model) -> None:
    """Against the definitions that pysunspec2 brings along."""
    definition = independent.get_model_def(model.id)["group"]
    assert model.length == sum(point["size"] for _, point in defined(definition)) - 2
    same_as_defined(model.points, definition)
    groups = definition.get("groups", [])
    assert bool(groups) == bool(model.group) == bool(model.group_length)
    for group in groups[:1]:
        assert model.group_length == sum(point["size"] for _, point in defined(group))
        same_as_defined(model.group, group)
        assert model.group_count in model.points
    for point in (*model.points.values(), *model.group.values()):
        if point.scale_point:
            scale = model.points.get(point.scale_point) or model.group[point.scale_point]
            assert scale.type == "sunssf"


@pytest.mark.parametrize("name", sorted(set(ENCODINGS) - {"string"}))
def test_what_is_not_implemented_is_marked_as_the_standard_says(name: str) -> None:
    encoding = ENCODINGS[name]
    mark = sunspec2.mb.create_unimpl_value(name)
    assert len(mark) == 2 * encoding.type.registers
    slot = Slot(0, encoding.type, not_implemented=encoding.not_implemented)
    for data, expected in ((mark, Quality.NOT_IMPLEMENTED), (b"\0" * (len(mark) - 1) + b"\1", Quality.GOOD)):
        _, quality = BlockDecoder([slot], WordOrder.BIG).decode(data)
        assert quality.tolist() == [expected]


Words = dict[int, int]


def device(base: int, *blocks: tuple[int, int], end: bool = True) -> Words:
    """The registers of a chain; every block is filled with zeros."""
    words = dict(zip((base, base + 1), struct.unpack(">HH", b"SunS"), strict=True))
    at = base + 2
    for model, length in blocks:
        words |= {at: model, at + 1: length} | dict.fromkeys(range(at + 2, at + 2 + length), 0)
        at += 2 + length
    return words | ({at: 0xFFFF, at + 1: 0} if end else {})


def surveyed(words: Words, bases: tuple[int, ...] = BASES) -> tuple[Chain, list[int]]:
    """The chain that a device has, and the addresses that it was asked for."""
    walk, asked = survey(bases), []
    try:
        address, count = next(walk)
        while True:
            asked.append(address)
            held = [words.get(address + i) for i in range(count)]
            data = None if None in held else struct.pack(f">{count}H", *held)
            address, count = walk.send(data)
    except StopIteration as stop:
        found: Chain = stop.value
        return found, asked


@pytest.mark.parametrize("base", BASES)
def test_the_marker_is_found_at_each_usual_address(base: int) -> None:
    found, asked = surveyed(device(base, (1, 66), (103, 50)))
    assert found == Chain(base, (Block(1, base + 2, 66), Block(103, base + 70, 50)), ended=True)
    assert asked[: BASES.index(base) + 1] == list(BASES[: BASES.index(base) + 1])


def test_a_marker_elsewhere_is_found_where_the_profile_says() -> None:
    assert surveyed(device(39999, (1, 66)), (39999,))[0].base == 39999


def test_unknown_models_are_walked_over_and_an_end_that_is_missing_is_told() -> None:
    found, _ = surveyed(device(0, (1, 66), (64999, 7), (103, 50), end=False))
    assert [block.model for block in found.blocks] == [1, 64999, 103]
    assert not found.ended


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({}, "no marker"),
        ({40000: 0x5375, 40001: 0}, "no marker"),
        (device(40000, (0, 4)), "model 0 of 4 registers"),
        (device(40000) | {40002: 103, 40003: 0xFFFE}, "not sound"),
        (device(0, *[(1, 0)] * (MAX_MODELS + 1)), "no end within"),
        (device(65530, (1, 2), end=False), "out of the address space"),
    ],
)
def test_a_chain_that_cannot_be_walked_is_refused_with_the_reason(words: Words, reason: str) -> None:
    with pytest.raises(NotSunSpecError, match=reason):
        surveyed(words, (*BASES, 65530))


@given(st.lists(st.one_of(st.none(), st.binary(min_size=4, max_size=4)), max_size=40), st.data())
def test_any_answers_end_in_a_chain_within_the_address_space_or_in_a_named_error(
    answers: list[bytes | None], data: st.DataObject
) -> None:
    walk = survey()
    try:
        address, count = next(walk)
        for answer in (b"SunS", *answers):
            assert 0 <= address <= 0x10000 - count
            address, count = walk.send(answer)
        while True:
            address, count = walk.send(None)
    except NotSunSpecError:
        return
    except StopIteration as stop:
        found: Chain = stop.value
    assert all(block.end <= 0x10000 for block in found.blocks)


def profile(*points: str) -> DeviceProfile:
    """Points as ``name = { model = ..., point = ... }``; all without a unit."""
    lines = ['id = "ss"', 'title = "t"', 'source = "test"', "period_s = 1.0"]
    for line in points:
        lines += [f"[points.{line.split(' ', 1)[0]}]", 'title = "t"', 'unit = "1"']
    return checked_profile("\n".join([*lines, "[sunspec]", "[sunspec.points]", *points]), "ss.toml")


W = 'W = { model = 103, point = "W" }'
DCW2 = 'DCW = { model = 160, point = "DCW", index = 2 }'


def planned(make_points: MakePoints, found: Chain, *lines: str) -> DevicePlan:
    points = make_points(("d", profile(*lines), 1))
    return plan_sunspec(points[0].device, points, found)


def test_a_value_is_read_where_the_chain_says_with_its_scale_factor(make_points: MakePoints) -> None:
    """Offsets 14 and 15 of model 103; 11 in the second turn of model 160, its scale factor at 4."""
    found = Chain(0, (Block(1, 2, 66), Block(103, 70, 50), Block(160, 122, 48)), ended=True)
    plan = planned(make_points, found, W, DCW2)
    by_name = {want.name: want for read in plan.reads for want in read.wanted}
    assert by_name["W"].address == 70 + 14
    assert by_name["W"].slot.scale_from == 1
    assert by_name["DCW"].address == 122 + 10 + 20 + 11
    assert by_name["DCW"].address + (by_name["DCW"].slot.scale_from or 0) == 122 + 4
    assert plan.absent == ()


@pytest.mark.parametrize(
    "blocks",
    [
        (Block(1, 2, 66),),
        (Block(1, 2, 66), Block(103, 70, 12), Block(160, 84, 8)),
        (Block(1, 2, 66), Block(103, 70, 13), Block(160, 85, 28)),
    ],
    ids=["not in the chain", "shorter than the point", "shorter than the scale factor or the turn"],
)
def test_a_point_that_the_device_does_not_have_is_not_guessed(
    blocks: tuple[Block, ...], make_points: MakePoints
) -> None:
    plan = planned(make_points, Chain(0, blocks, ended=True), W, DCW2)
    assert plan.reads == ()
    assert {want.name for want in plan.absent} == {"W", "DCW"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('P = { model = 104, point = "W" }', "unknown model"),
        ('P = { model = 103, point = "Watt" }', "no such point"),
        ('P = { model = 103, point = "W_SF" }', "no such point"),
        ('P = { model = 1, point = "Mn" }', "not a text"),
        ('P = { model = 160, point = "DCW" }', "add index = 1"),
        ('P = { model = 103, point = "W", index = 1 }', "remove index"),
    ],
)
def test_a_mapping_that_the_models_do_not_know_is_refused(line: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        profile(line)


NUMBERS = [
    (model.id, point.name, turn)
    for model in models().values()
    for turn, points in ((None, model.points), (1, model.group), (3, model.group))
    for point in points.values()
    if point.type != "sunssf" and point.encoding.type is not RegisterType.STRING
]


@given(chosen=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=30, unique=True))
def test_a_value_and_its_scale_factor_are_always_in_one_transaction(
    chosen: list[tuple[int, str, int | None]],
) -> None:
    """Whatever is read together: the registers of each value and of its factor lie in the same read."""
    lines = [
        f'P{i} = {{ model = {model}, point = "{name}"' + (f", index = {turn} }}" if turn else " }")
        for i, (model, name, turn) in enumerate(chosen)
    ]
    blocks, at = [], 2
    for number in dict.fromkeys(model for model, _, _ in chosen):
        model = models()[number]
        blocks.append(Block(number, at, model.length + 3 * model.group_length))
        at = blocks[-1].end
    made = profile(*lines)
    points = points_of(("d", made, 1))
    plan = plan_sunspec(points[0].device, points, Chain(0, tuple(blocks), ended=True))
    assert plan.absent == ()
    pending = list(plan.reads)
    seen: set[str] = set()
    while pending:
        read = pending.pop()
        pending += read.smaller()  # the search for a bad register must not part them either
        for want in read.wanted:
            seen.add(want.name)
            assert read.address <= want.address
            assert want.address + want.slot.type.registers <= read.end
            if want.slot.scale_from is not None:
                assert read.address <= want.address + want.slot.scale_from < read.end
    assert seen == set(made.points)


TRUTH = {
    "W": -1_250_000.0,
    "Hz": 49.98,
    "WH": 123_456_000.0,
    "DCW2": 610_000.0,
    "St": 4.0,
    "ActWh": 9e9,
}
LINES = (
    W,
    'Hz = { model = 103, point = "Hz" }',
    'WH = { model = 103, point = "WH" }',
    'A = { model = 103, point = "A" }',
    'DCW2 = { model = 160, point = "DCW", index = 2 }',
    'St = { model = 103, point = "St" }',
    'ActWh = { model = 122, point = "ActWh" }',
    'SoC = { model = 713, point = "SoC" }',
)
CONTENTS = {
    1: Content[None]({"Mn": "Vendor"}),
    103: Content[None](
        {"W": -1_250_000.0, "Hz": 49.98, "WH": 123_456_000, "St": 4}, {"W_SF": 3, "Hz_SF": -2, "WH_SF": 3}
    ),
    122: Content[None]({"ActWh": 9_000_000_000}),
    160: Content[None]({"N": 2}, {"DCW_SF": 1}, ({"DCW": 640_000.0}, {"DCW": 610_000.0})),
}


@pytest.mark.parametrize("base", BASES)
async def test_a_simulated_device_is_discovered_and_read(
    base: int, make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    unit = MappedUnit(chain("test", base, CONTENTS), lambda: None)
    points = make_points(("d", profile(*LINES), 5))
    async with Gateway("gw", Line(Transport.TCP), {5: unit}) as server:
        settings = GatewaySettings(id="gw", host="127.0.0.1", port=server.port)
        source = ModbusSource(settings, points, intake, SystemClock())
        async with run_source(source.run()), asyncio.timeout(60):
            await intake.wait_for(batches=1)
    (batch, *_) = intake.batches
    got = dict(zip((points[i].key.name for i in batch.point.tolist()), batch.value.tolist(), strict=True))
    quality = dict(zip(got, map(Quality, batch.quality.tolist()), strict=True))
    assert {name: got[name] for name in TRUTH} == pytest.approx(TRUTH)
    assert {name for name, code in quality.items() if code is Quality.GOOD} == set(TRUTH)
    assert quality["A"] is quality["SoC"] is Quality.NOT_IMPLEMENTED
    assert np.isnan([got["A"], got["SoC"]]).all()
