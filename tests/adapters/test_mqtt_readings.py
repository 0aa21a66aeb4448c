"""Messages of plain numbers, read together, say exactly what the careful way says of each."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.codec import PayloadDecoder, RejectedPayloadError
from adapters.mqtt.readings import Readings
from telemetry.batch import Columns
from telemetry.devices import Device, MqttAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint

NOW = 1_795_000_000_000_000_000
HEAD = """
id = "plant"
title = "Plant"
source = "test"
[points.W]
title = "power"
unit = "MW"
low = -10.0
high = 1000.0
[points.Hz]
title = "frequency"
unit = "Hz"
[json]
"""
FLAT = """[json.fields]
W = { field = "p kw", scale = 1e300 }
Hz = { field = "f", offset = 50.0 }
"""
NESTED = FLAT.replace("p kw", "grid.p")
SHARED = FLAT.replace("p kw", "f")
UNTIMED, TIMED, IN_ISO = "", 'time_field = "ts"\n', 'time_field = "ts"\ntime_format = "iso8601"\n'


def decoder(time: str = TIMED, fields: str = FLAT) -> PayloadDecoder:
    profile = parse_profile(HEAD + time + fields, "plant.toml")
    device = Device(
        id="p", profile="plant", node="SHY", role=Role.PLANT, mqtt=MqttAddress(broker="main", topic="t")
    )
    points = [
        SitePoint(10 + i, PointKey("p", name, spec.unit.value), spec, device, profile)
        for i, (name, spec) in enumerate(profile.points.items())
    ]
    assert profile.json_payload is not None
    return PayloadDecoder(profile.json_payload, points)


MADE = {time: decoder(time) for time in (UNTIMED, TIMED, IN_ISO)}
numbers = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.sampled_from(["0", "-0", "-0.0", "1E5", "1e308", "-1e308", "5e-324", "1e-400", "9007199254740993"]),
    st.integers(0, 400).map(lambda digits: "1" + "7" * digits),
)
others = st.sampled_from(["null", "true", "false", '"12"', "[]", "{}", "1e400", "NaN", "Infinity", "01"])
values = st.one_of(numbers, numbers, numbers, others)
times = st.one_of(
    st.sampled_from(["1795000000000", "1795000000000.5", '"2026-11-17T10:00:00Z"', "0", "-1", "1e30"]), values
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    members = [("p kw", draw(values)), ("f", draw(values)), ("ts", draw(times))]
    kept = [member for member in draw(st.permutations(members)) if draw(st.integers(0, 9))]
    kept += draw(st.lists(st.tuples(st.sampled_from(["f", "ts", "x", "p kw"]), values), max_size=1))
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in kept) + "}").encode()


def carefully(made: PayloadDecoder, payload: bytes, *, retained: bool) -> Columns:
    said = made.decode(payload, NOW, retained=retained)
    assert said.unknown == ()
    return Columns.of(said.point, said.t_source, said.value, said.quality)


def assert_same(left: Columns, right: Columns) -> None:
    for name in ("point", "t_source", "value", "quality"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@given(st.sampled_from([UNTIMED, TIMED, IN_ISO]), st.lists(st.tuples(payloads(), st.booleans()), max_size=6))
def test_what_is_read_together_is_what_each_message_says(
    time: str, messages: list[tuple[bytes, bool]]
) -> None:
    made, together, alone = MADE[time], Readings(), list[Columns]()
    for payload, retained in messages:
        try:
            if made.read(payload, NOW, together, retained=retained):
                alone.append(carefully(made, payload, retained=retained))
        except RejectedPayloadError as rejected:
            with pytest.raises(RejectedPayloadError, match=re.escape(str(rejected))):
                made.decode(payload, NOW)
    assert_same(together.columns(), Columns.joined(alone))


def test_plain_messages_are_read_and_others_are_left_to_the_careful_way() -> None:
    into = Readings()
    made = decoder()
    plain = b'{"f": 1, "ts": 1795000000000, "p kw": -2.5}'
    assert made.read(plain, NOW, into)
    for other in (
        plain.replace(b"-2.5", b"null"),
        plain.replace(b"-2.5", b"true"),
        plain.replace(b"-2.5", b'"-2.5"'),
        plain.replace(b'"f": 1, ', b""),
        plain.replace(b"}", b', "x": 1}'),
        plain[:-1],
        b"[" * 100_000,
        b"\xff" + plain,
    ):
        assert not made.read(other, NOW, into)
    assert into.columns().value.tolist() == [-2.5e300, 51.0]


@pytest.mark.parametrize("fields", [NESTED, SHARED])
def test_members_that_are_nested_or_shared_are_left_to_the_careful_way(fields: str) -> None:
    payload = b'{"f": 1, "ts": 1795000000000, "grid": {"p": 2}}'
    made, into = decoder(fields=fields), Readings()
    assert not made.read(payload, NOW, into)
    assert len(made.decode(payload, NOW).value) == 2


def test_messages_keep_their_order_and_have_their_own_quality() -> None:
    into = Readings()
    made = decoder()
    plain = b'{"f": 1, "ts": %d, "p kw": %s}'
    assert made.read(plain % (1795000000000, b"0"), NOW, into)
    assert made.read(plain % (1795000000001, b"-1"), NOW, into, retained=True)
    assert made.read(plain % (0, b"7"), NOW, into)
    into.put(Columns.of([99], [5], [6.0], [0]))
    assert made.read(plain % (1795000000002, b"0"), NOW, into)
    columns = into.columns()
    assert columns.point.tolist() == [10, 11, 10, 11, 10, 11, 99, 10, 11]
    stamps = [1795000000000, 1795000000001, 0]
    assert columns.t_source.tolist()[:6] == [ms * 1_000_000 for ms in stamps for _ in range(2)]
    good, out, worse = Quality.GOOD, Quality.OUT_OF_RANGE, Quality.CLOCK_SUSPECT
    expected = [good, good, max(out, Quality.RETAINED), Quality.RETAINED, max(out, worse), worse]
    assert columns.quality.tolist()[:6] == expected
    assert len(into.columns()) == 9, "what was added stays"
