from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.codec import Decoded, PayloadDecoder, RejectedPayloadError
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.plan import Topics, left_over, plan_topics, resolved, subscriptions
from adapters.profiles import bundled_profiles
from telemetry.devices import Device, MqttAddress, Role
from telemetry.errors import ConfigError
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint

MakePoints = Callable[..., list[SitePoint]]

NOW = 1_795_000_000_000_000_000

TEXT = """
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
{time}
[json.fields]
W = {{ field = "grid.p_kw", scale = 1e-3 }}
Hz = {{ field = "f", offset = 50.0 }}
"""


def decoder(time: str = 'time_field = "ts"') -> PayloadDecoder:
    profile: DeviceProfile = parse_profile(TEXT.format(time=time), "plant.toml")
    device = Device(
        id="p", profile="plant", node="SHY", role=Role.PLANT, mqtt=MqttAddress(broker="main", topic="t")
    )
    points = [
        SitePoint(10 + i, PointKey("p", name, spec.unit.value), spec, device, profile)
        for i, (name, spec) in enumerate(profile.points.items())
    ]
    assert profile.json_payload is not None
    return PayloadDecoder(profile.json_payload, points)


def decode(message: object, **changes: object) -> Decoded:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return decoder().decode(body, NOW, **changes)  # type: ignore[arg-type]


def test_members_become_values_in_the_units_of_the_points() -> None:
    decoded = decode({"ts": NOW // 10**6, "grid": {"p_kw": 1500}, "f": -0.02})
    assert decoder().index == [10, 11]
    assert set(decoded.t_source) == {NOW}
    assert decoded.value == pytest.approx([1.5, 49.98])
    assert decoded.quality == [Quality.GOOD, Quality.GOOD]
    assert decoded.unknown == ()


@pytest.mark.parametrize(
    ("member", "value", "quality"),
    [
        (None, math.nan, Quality.NOT_IMPLEMENTED),
        ("12", math.nan, Quality.NOT_A_NUMBER),
        (True, math.nan, Quality.NOT_A_NUMBER),
        ([1], math.nan, Quality.NOT_A_NUMBER),
        (10**400, math.nan, Quality.NOT_A_NUMBER),
        (2_000_000, 2000.0, Quality.OUT_OF_RANGE),
        (-10_000, -10.0, Quality.GOOD),
    ],
)
def test_a_member_becomes_a_value_and_a_quality(member: object, value: float, quality: Quality) -> None:
    decoded = decode({"ts": NOW // 10**6, "grid": {"p_kw": member}, "f": 0})
    assert decoded.value == pytest.approx([value, 50.0], nan_ok=True)
    assert decoded.quality == [quality, Quality.GOOD]


@pytest.mark.parametrize("message", [{}, {"grid": 5}, {"grid": {}}, {"grid": {"p": 1}}])
def test_a_missing_member_is_not_guessed(message: dict[str, object]) -> None:
    decoded = decode({"ts": NOW // 10**6, "f": 0} | message)
    assert math.isnan(decoded.value[0])
    assert decoded.quality == [Quality.NOT_IMPLEMENTED, Quality.GOOD]


def test_unknown_members_are_listed_by_their_path() -> None:
    decoded = decode({"ts": NOW // 10**6, "grid": {"p_kw": 1, "q": 2}, "f": 0, "x": {"y": 1}})
    assert decoded.unknown == ("grid.q", "x")
    assert len(decode({"ts": 1, **{f"m{i}": i for i in range(1000)}}).unknown) == 20


@pytest.mark.parametrize(
    ("form", "stamp", "expected"),
    [
        ("s", 1_795_000_000, NOW),
        ("s", 1_795_000_000.25, NOW + 250_000_000),
        ("ms", 1_795_000_000_123, NOW + 123_000_000),
        ("us", 1_795_000_000_123_456, NOW + 123_456_000),
        ("ns", NOW + 1, NOW + 1),
        ("iso8601", "2026-11-18T11:06:40Z", NOW),
        ("iso8601", "2026-11-18T16:06:40.000001+05:00", NOW + 1000),
    ],
)
def test_each_time_format_is_exact(form: str, stamp: object, expected: int) -> None:
    made = decoder(f'time_field = "ts"\ntime_format = "{form}"')
    decoded = made.decode(json.dumps({"ts": stamp, "grid": {"p_kw": 1}, "f": 0}).encode(), NOW)
    assert set(decoded.t_source) == {expected}
    assert decoded.quality == [Quality.GOOD] * 2


@pytest.mark.parametrize("stamp", [NOW // 10**6 + 3_600_001, 946_684_799_999, 0, -1, NOW // 10**9])
def test_an_implausible_time_is_kept_and_marked(stamp: int) -> None:
    decoded = decode({"ts": stamp, "grid": {"p_kw": 9e9}, "f": 0})
    assert set(decoded.t_source) == {stamp * 10**6}
    assert decoded.quality == [Quality.OUT_OF_RANGE, Quality.CLOCK_SUSPECT], "the worst counts"


def test_a_payload_without_time_is_stamped_at_receipt_and_says_so() -> None:
    decoded = decoder("").decode(b'{"f": 0, "grid": {"p_kw": 1}}', NOW)
    assert set(decoded.t_source) == {NOW}
    assert decoded.quality == [Quality.RECEIPT_STAMPED] * 2


def test_a_retained_payload_is_never_good() -> None:
    decoded = decode({"ts": NOW // 10**6, "grid": {"p_kw": None}, "f": 0}, retained=True)
    assert decoded.quality == [Quality.NOT_IMPLEMENTED, Quality.RETAINED]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"ts": 1, "f": NaN}', "not_json"),
        (b"[" * 200_000, "not_json"),
        (b"17", "not_object"),
        (b"null", "not_object"),
        (b'[{"ts": 1}]', "not_object"),
        (b"{}", "no_time"),
        (b'{"ts": null}', "no_time"),
        (b'{"ts": "today"}', "bad_time"),
        (b'{"ts": true}', "bad_time"),
        (b'{"ts": 1e300}', "bad_time"),
        (b'{"ts": 99999999999999999999}', "bad_time"),
    ],
)
def test_what_cannot_be_read_has_a_named_reason(body: bytes, reason: str) -> None:
    with pytest.raises(RejectedPayloadError) as caught:
        decode(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize("stamp", ["2026-11-18T11:06:40", "18.11.2026", "", 5])
def test_a_time_text_without_a_zone_or_form_is_refused(stamp: object) -> None:
    made = decoder('time_field = "ts"\ntime_format = "iso8601"')
    with pytest.raises(RejectedPayloadError, match="bad_time"):
        made.decode(json.dumps({"ts": stamp}).encode(), NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ts", "f", "grid", "p_kw"]), inner)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_payload_raises_anything_else_and_nothing_without_meaning_is_good(body: bytes) -> None:
    try:
        decoded = decode(body)
    except RejectedPayloadError:
        return
    for value, quality in zip(decoded.value, decoded.quality, strict=True):
        assert quality != Quality.GOOD or math.isfinite(value)


def test_the_bundled_payloads_map_every_point(make_points: MakePoints) -> None:
    profiles = bundled_profiles()
    body = {"ts": NOW // 10**6, "p_mw": 45.0, "q_mvar": -3.5, "v_kv": 510.0, "f_hz": 50.0, "avail_mw": 60.0}
    body |= {"wind_ms": 9.0, "wind_dir_deg": 270.0, "temp_c": -5.0, "online": 12, "energy_mwh": 1e6}
    body |= {"ghi_w_m2": 800.0, "cell_temp_c": 40.0}
    for name in ("bus-meter", "wind-plant", "solar-plant", "power-plant"):
        topics = plan_topics(make_points(("d", profiles[name], "t/d")))
        decoded = topics.route("t/d").decode(json.dumps(body).encode(), NOW)
        assert decoded.quality == [Quality.GOOD] * len(profiles[name].points)


def test_topics_belong_to_one_device_each(make_points: MakePoints) -> None:
    profile = bundled_profiles()["bus-meter"]
    points = make_points(("a", profile, "t/1"), ("b", profile, "t/2"))
    plans = plan_topics(points)
    assert [(plan.topic, plan.device, plan.decoder.index) for plan in plans.plans] == [
        ("t/1", "a", [0, 1, 2, 3]),
        ("t/2", "b", [4, 5, 6, 7]),
    ]
    with pytest.raises(ConfigError, match="used by a too"):
        plan_topics(make_points(("a", profile, "t/1"), ("b", profile, "t/1")))
    with pytest.raises(ConfigError, match="not an MQTT device with a topic"):
        plan_topics(make_points(("m", bundled_profiles()["umg"], 1)))


def topics_of(make_points: MakePoints, text: str, *devices: tuple[str, str]) -> Topics:
    profile = parse_profile(text, "shape.toml")
    return plan_topics(make_points(*((name, profile, topic) for name, topic in devices)))


SHAPE = """
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
{keys}
[json.fields]
W = {{ field = "p", unit = "kW" }}
Hz = {{ field = "f", unit = "mHz" }}
"""
SCALAR = SHAPE.format(keys='shape = "scalar"\nvalue_field = "value"\ntime_field = "ts"')
BARE = SHAPE.format(keys='shape = "scalar"')
SAMPLES = SHAPE.format(keys='shape = "samples"\ntime_field = "ts"')


def test_one_topic_of_each_point(make_points: MakePoints) -> None:
    topics = topics_of(make_points, SCALAR, ("a", "KZ/a/{point}/now"), ("b", "KZ/b/{point}/now"))
    assert list(topics.filters) == ["KZ/a/+/now", "KZ/b/+/now"]
    assert topics.names == {"KZ/a/p/now", "KZ/a/f/now", "KZ/b/p/now", "KZ/b/f/now"}
    decoded = topics.route("KZ/b/p/now").decode(b'{"ts": %d, "value": 1500, "q": 1}' % (NOW // 10**6), NOW)
    assert (decoded.point, decoded.t_source, decoded.value) == ([2], [NOW], [1.5])
    assert (decoded.quality, decoded.unknown) == ([Quality.GOOD], ("q",))
    unknown = topics.route("KZ/a/q/now")
    assert unknown.plan.device == "a"
    assert unknown.decode(b'{"ts": 1, "value": 1}', NOW) == Decoded([], [], [], [], ("q",))
    with pytest.raises(RejectedPayloadError, match="unknown_topic"):
        topics.route("KZ/c/p/now")
    with pytest.raises(RejectedPayloadError, match="not_object"):
        topics.route("KZ/a/p/now").decode(b"5", NOW)


def test_a_bare_number_is_stamped_at_receipt(make_points: MakePoints) -> None:
    route = topics_of(make_points, BARE, ("a", "a/{point}")).route("a/f")
    assert route.decode(b"49500", NOW) == Decoded([1], [NOW], [49.5], [Quality.RECEIPT_STAMPED])
    assert route.decode(b'"on"', NOW).quality == [Quality.NOT_A_NUMBER]
    with pytest.raises(RejectedPayloadError, match="not_json"):
        route.decode(b"ON", NOW)


def test_each_sample_has_its_own_time_and_a_bad_one_does_not_take_the_others(make_points: MakePoints) -> None:
    route = topics_of(make_points, SAMPLES, ("a", "a/samples")).route("a/samples")
    ms = NOW // 10**6
    samples = [
        {"ts": ms, "p": 1000, "f": 50000},
        {"p": 1},
        7,
        {"ts": ms + 1000, "p": 2000, "f": None, "x": 1},
    ]
    decoded = route.decode(json.dumps(samples).encode(), NOW + 10**10)
    assert decoded.point == [0, 1, 0, 1]
    assert decoded.t_source == [NOW, NOW, NOW + 10**9, NOW + 10**9]
    assert decoded.value == pytest.approx([1, 50, 2, math.nan], nan_ok=True)
    assert decoded.quality == [0, 0, 0, Quality.NOT_IMPLEMENTED]
    assert decoded.unknown == ("x",)
    assert [str(error) for error in decoded.rejected] == [
        "no_time: sample 2: the member that holds the source time is missing",
        "not_object: sample 3: a JSON int where an object is due",
    ]
    for body in (b"{}", b"5", b"null"):
        with pytest.raises(RejectedPayloadError, match="not_samples"):
            route.decode(body, NOW)
    inside = topics_of(
        make_points, SAMPLES.replace("[json.fields]", 'samples_field = "d"\n[json.fields]'), ("a", "a")
    )
    assert inside.route("a").decode(json.dumps({"d": samples[:1]}).encode(), NOW).value == [1, 50]
    with pytest.raises(RejectedPayloadError, match="missing where an array is due"):
        inside.route("a").decode(b"{}", NOW)


@pytest.mark.parametrize(
    ("text", "topics", "told"),
    [
        (SCALAR, ("a/now",), "one topic for each point"),
        (SCALAR, ("a/x{point}",), "one topic for each point"),
        (SAMPLES, ("a/{point}",), "all points in one payload"),
        (SAMPLES, ("a/{sight}",), 'stands for nothing (did you mean "site"?'),
        (SAMPLES, ("a/{site",), "a brace without its partner"),
        (SCALAR, ("a/{point}", "a/{point}"), "used by d0 too"),
    ],
)
def test_a_template_that_cannot_work_is_refused(
    make_points: MakePoints, text: str, topics: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        topics_of(make_points, text, *((f"d{i}", topic) for i, topic in enumerate(topics)))
    assert told in str(caught.value)


def test_a_topic_of_one_device_is_no_point_of_another(make_points: MakePoints) -> None:
    scalar = parse_profile(SCALAR, "a.toml")
    other = parse_profile(SAMPLES.replace('"plant"', '"other"'), "b.toml")
    with pytest.raises(ConfigError, match="used by a point of a too"):
        plan_topics(make_points(("a", scalar, "t/{point}"), ("b", other, "t/p")))


def test_templates_are_resolved_with_the_names_of_a_device(make_points: MakePoints) -> None:
    (first, *_) = make_points(("a", parse_profile(SCALAR, "a.toml"), "t/{point}"))
    template = "corridor/{area}/{site}/{device}/{point}"
    assert resolved(template, first.device, "KZ") == "corridor/KZ/SHY/a/{point}"


def test_every_subscription_behind_a_stray_topic_is_ended() -> None:
    assert left_over("a/b", None) == ["a/b", "+/b", "a/+"]
    assert left_over("a", "g") == ["a", "+", "$share/g/a", "$share/g/+"]


def test_subscriptions_come_in_portions() -> None:
    topics = [f"t/{i}" for i in range(250)]
    parts = subscriptions(topics)
    assert [len(part) for part in parts] == [100, 100, 50]
    assert [topic for part in parts for topic in part] == topics


def test_the_password_comes_from_one_place(tmp_path: Path) -> None:
    def broker(**more: str) -> BrokerSettings:
        return BrokerSettings(id="main", host="h", client_id="c", **more)  # type: ignore[arg-type]

    secret = tmp_path / "password"
    secret.write_text("from the file\n")
    assert broker().password({}) is None
    assert broker(password_file=str(secret)).password({}) == "from the file"
    assert broker(password_env="P").password({"P": "from outside"}) == "from outside"
    with pytest.raises(ConfigError, match="environment variable is not set"):
        broker(password_env="P").password({})
    with pytest.raises(ConfigError, match="cannot be read"):
        broker(password_file=str(tmp_path / "none")).password({})
    with pytest.raises(ConfigError, match="keep one of them"):
        broker(password_env="P", password_file="f").password({"P": "x"})
