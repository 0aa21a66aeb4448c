"""The check sheet: verdicts on single values, on values that keep company, and its forms."""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest

from adapters.modbus.codec import Request
from adapters.modbus.decoding import BlockDecoder, Slot
from adapters.profiles import bundled_profiles
from commissioning.modbus.plausibility import Measured, Verdict, contradictions, judged
from commissioning.modbus.sheet import Row, Sheet, check_sheet
from commissioning.modbus.sheet_page import sheet_page
from commissioning.modbus.walk import Reply
from telemetry.points import PointKind, PointSpec, Unit
from telemetry.profiles import DeviceProfile, RegisterType, WordOrder

HZ = PointSpec(title="Frequency", unit=Unit.HZ, low=40.0, high=60.0)
KV = PointSpec(title="Voltage", unit=Unit.KV, low=0.0, high=600.0)
STATE = PointSpec(title="State", unit=Unit.COUNT, kind=PointKind.STATE, states={"4": "MPPT"})
FREE = PointSpec(title="Anything", unit=Unit.MW)


def measured(spec: PointSpec, kind: RegisterType, octets: bytes, **slot: Any) -> Measured:
    own = Slot(0, kind, low=spec.low, high=spec.high, **slot)
    (value,), (quality,) = BlockDecoder([own], WordOrder.BIG).decode(octets)
    return Measured(spec, own, WordOrder.BIG, octets, float(value), int(quality))


def f32(value: float) -> bytes:
    return struct.pack(">f", value)


def swapped(octets: bytes) -> bytes:
    """The words in reverse."""
    return b"".join(octets[i : i + 2] for i in range(len(octets) - 2, -1, -2))


@pytest.mark.parametrize(
    ("case", "verdict", "told"),
    [
        (measured(HZ, RegisterType.FLOAT32, f32(50.02)), Verdict.OK, ""),
        (
            measured(HZ, RegisterType.FLOAT32, swapped(f32(50.02))),
            Verdict.BAD,
            'word_order = "little" it is 50.02',
        ),
        (
            measured(HZ, RegisterType.UINT16, b"\x13\x86"),
            Verdict.BAD,
            "scale of 1e-2 more would make it 49.98 Hz",
        ),
        (measured(HZ, RegisterType.FLOAT32, f32(math.nan)), Verdict.BAD, "no number"),
        (measured(KV, RegisterType.INT16, b"\xff\x38"), Verdict.BAD, "with the sign reversed it is 200 kV"),
        (measured(KV, RegisterType.FLOAT32, f32(1e-30)), Verdict.SUSPECT, "absurdly small"),
        (measured(KV, RegisterType.FLOAT32, f32(0.0)), Verdict.OK, ""),
        (
            measured(FREE, RegisterType.INT16, b"\x80\x00", not_implemented=0x8000),
            Verdict.ABSENT,
            "not implemented",
        ),
        (measured(STATE, RegisterType.UINT16, b"\0\x04"), Verdict.OK, "MPPT"),
        (measured(STATE, RegisterType.UINT16, b"\0\x09"), Verdict.SUSPECT, "state 9 has no name"),
    ],
)
def test_a_value_is_judged_and_what_would_mend_it_is_told(
    case: Measured, verdict: Verdict, told: str
) -> None:
    found, remark = judged(case)
    assert found is verdict
    assert told in remark


GOOD = {"TotW": -320.0, "TotVAr": 40.0, "PPV": 500.0, "A": 372.4}
UNITS = {"TotW": "MW", "TotVAr": "Mvar", "PPV": "kV", "A": "A"}


def test_powers_belong_to_voltage_and_current() -> None:
    assert contradictions(GOOD, UNITS) == {}
    found = contradictions(GOOD | {"PPV": 50.0}, UNITS)
    assert set(found) == set(GOOD)
    assert "factor 10" in found["A"]
    found = contradictions(GOOD | {"A": 0.0}, UNITS)
    assert "infinite" in found["TotW"]


def test_a_load_of_reactive_power_alone_is_no_contradiction_where_it_is_not_measured() -> None:
    without = {name: value for name, value in GOOD.items() if name != "TotVAr"}
    assert contradictions(without | {"TotW": 10.0}, UNITS) == {}
    assert contradictions(without | {"TotW": 1000.0}, UNITS)
    assert contradictions({"TotW": 1.0, "PPV": 500.0}, UNITS) == {}
    assert contradictions(GOOD | {"PPV": 5.0}, UNITS | {"PPV": "V"}) == {}


def test_the_current_of_a_sunspec_inverter_is_the_sum_of_its_phases() -> None:
    values = {"W": 0.967, "VAr": 0.02, "PPVphAB": 0.663, "A": 2528.0, "AphC": 842.7}
    units = {"W": "MW", "VAr": "Mvar", "PPVphAB": "kV", "A": "A", "AphC": "A"}
    assert contradictions(values, units) == {}
    assert contradictions(values | {"A": 842.7}, units)
    assert contradictions({n: v for n, v in values.items() if n != "AphC"} | {"A": 842.7}, units) == {}


def sheet(answer: Callable[[Request], Reply], profile: DeviceProfile | None = None) -> Sheet:
    walk = check_sheet(profile or bundled_profiles()["pm5xxx"], 1)
    try:
        query = next(walk)
        while True:
            assert isinstance(query, Request)
            query = walk.send(answer(query))
    except StopIteration as end:
        result: Sheet = end.value
        return result


MEASURED = ((3009, 372.391), (3025, 500123.7), (3059, -320112.4), (3067, 40017.3), (3109, 50.0024))
"""Values with digits to the end, as measurements have."""


COUNTED = ((3203, 38736906599), (3207, 8909052123))


def meter(*, swap: bool = False, missing: frozenset[int] = frozenset()) -> Callable[[Request], Reply]:
    """A meter with every register from 2999 to 3214; ``missing`` are not there."""
    held = dict.fromkeys(range(2999, 3215), 0)
    encoded = [(address, f32(value)) for address, value in MEASURED]
    encoded += [(address, struct.pack(">q", value)) for address, value in COUNTED]
    for address, octets in encoded:
        held |= enumerate_words(address, swapped(octets) if swap else octets)

    def answer(request: Request) -> Reply:
        wanted = range(request.address, request.address + request.count)
        if missing.intersection(wanted):
            return Reply(code=2)
        return Reply(b"".join(bytes(divmod(held[at], 256)) for at in wanted))

    return answer


def enumerate_words(address: int, octets: bytes) -> dict[int, int]:
    pairs = range(0, len(octets), 2)
    return {address + i // 2: int.from_bytes(octets[i : i + 2], "big") for i in pairs}


def test_a_sound_meter_has_a_sound_sheet() -> None:
    found = sheet(meter())
    assert found.sound
    rows = {row.point: row for row in found.rows}
    assert rows["TotW"].value == pytest.approx(-320.1124, rel=1e-6)
    assert (rows["TotW"].raw, rows["TotW"].address) == ("c89c 4e0d", 3059)
    assert (rows["TotWhExp"].value, rows["TotWhExp"].quality) == (38736.906599, "good")
    assert found.advice == ()


def test_swapped_words_are_seen_in_the_sheet_as_a_whole() -> None:
    """Two floats remain possible when their words are swapped."""
    found = sheet(meter(swap=True))
    assert not found.sound
    assert found.advice == ('word_order = "little" in the profile would make 5 impossible values possible',)
    verdicts = {row.point: row.verdict for row in found.rows}
    assert {name for name, verdict in verdicts.items() if verdict is not Verdict.BAD} == {"PPV", "A"}
    assert verdicts["PPV"] is verdicts["A"] is Verdict.SUSPECT


def test_one_point_with_swapped_words_says_nothing_of_the_others() -> None:
    """Not even where others are suspect for a reason of their own: a voltage with a scale of its own."""
    bundled = bundled_profiles()["pm5xxx"]
    assert bundled.modbus is not None
    registers = dict(bundled.modbus.registers)
    registers["Hz"] = registers["Hz"].model_copy(update={"word_order": WordOrder.LITTLE})
    registers["PPV"] = registers["PPV"].model_copy(update={"scale": 1e-4})
    profile = bundled.model_copy(
        update={"modbus": bundled.modbus.model_copy(update={"registers": registers})}
    )
    found = sheet(meter(), profile)
    assert found.advice == ()
    verdicts = {row.point: row.verdict for row in found.rows}
    assert verdicts.pop("Hz") is Verdict.BAD
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.SUSPECT} == set(GOOD)
    assert verdicts["TotWhExp"] is Verdict.OK


@pytest.mark.parametrize(
    ("kept", "wrong"),
    [(["Hz"], ["Hz"]), (["Hz", "TotVAr", "TotW", "TotWhExp", "TotWhImp"], ["Hz", "TotVAr"])],
    ids=["one is too few", "more would be spoiled than mended"],
)
def test_a_word_order_is_not_advised_for_little(kept: list[str], wrong: list[str]) -> None:
    bundled = bundled_profiles()["pm5xxx"]
    assert bundled.modbus is not None
    registers = {name: bundled.modbus.registers[name] for name in kept}
    for name in wrong:
        registers[name] = registers[name].model_copy(update={"word_order": WordOrder.LITTLE})
    mapped = bundled.modbus.model_copy(update={"registers": registers})
    points = {name: bundled.points[name] for name in kept}
    found = sheet(meter(), bundled.model_copy(update={"modbus": mapped, "points": points}))
    assert {row.point for row in found.rows if row.verdict is not Verdict.OK} == set(wrong)
    assert found.advice == ()


def test_a_register_that_is_not_there_costs_only_its_point() -> None:
    found = sheet(meter(missing=frozenset({3110})))
    verdicts = {row.point: row.verdict for row in found.rows}
    assert verdicts.pop("Hz") is Verdict.ABSENT
    assert set(verdicts.values()) == {Verdict.OK}
    trimmed = found.trimmed()
    assert trimmed is not None
    assert "Hz" not in trimmed.points
    assert trimmed.modbus is not None
    assert "Hz" not in trimmed.modbus.registers
    assert trimmed.id == "pm5xxx-checked"


def test_a_device_that_is_busy_or_silent_makes_every_point_bad() -> None:
    for reply, told in ((Reply(code=6), "busy"), (Reply(silent=True), "no answer")):
        found = sheet(partial(always, reply))
        assert {row.verdict for row in found.rows} == {Verdict.BAD}
        assert all(told in row.remark for row in found.rows)
    assert sheet(partial(always, Reply(code=2))).trimmed() is None


def always(reply: Reply, request: Request) -> Reply:
    del request
    return reply


EVIL = '<script>alert("x")</script>'


def evil_sheet() -> Sheet:
    profile = bundled_profiles()["pm5xxx"].model_copy(update={"title": EVIL, "source": EVIL})
    rows = [
        Row("=HYPERLINK(1)", EVIL, "holding", 1, "0001", -5.0, "MW", Verdict.BAD, "-cmd|x"),
        Row("fine", 'a, "b"', "holding", 2, "0002", None, "1", Verdict.OK, EVIL),
    ]
    return Sheet(profile, 1, rows, (EVIL,))


def test_the_page_stands_alone_and_escapes_every_text() -> None:
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {"src", "href", "onload", "onclick"} & {name for name, _ in attrs}

    page = sheet_page(evil_sheet(), {"Vendor <b>": EVIL})
    Reader().feed(page)
    assert "script" not in tags
    assert "b" not in tags
    assert not {"link", "img", "iframe"} & set(tags)
    assert tags.count("tr") == 3
    assert "@import" not in page
    assert "url(" not in page


def test_the_csv_reads_back_and_holds_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(evil_sheet().csv())))
    assert [row["point"] for row in rows] == ["'=HYPERLINK(1)", "fine"]
    assert rows[0]["remark"] == "'-cmd|x"
    assert rows[0]["value"] == "-5"
    assert rows[1]["title"] == 'a, "b"'
