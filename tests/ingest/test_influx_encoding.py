from __future__ import annotations

import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.ports import EventRecord
from ingest.stores.influx.encoding import Encoder, Lines, encode_events
from ingest.stores.influx.schema import Schema, identifier, literal
from telemetry.batch import Columns
from telemetry.points import PointKey
from telemetry.registry import PointRegistry
from telemetry.site import Site


def split(encoded: Lines) -> list[bytes]:
    """The lines one by one, which are those of the whole, wherever it is cut."""
    lines = [encoded.body(i, i + 1) for i in range(len(encoded))]
    for cut in {0, len(lines) // 2, len(lines)}:
        parts = (encoded.body(0, cut), encoded.body(cut, len(lines)))
        assert b"\n".join(filter(None, parts)) == b"\n".join(lines)
    return lines


def test_one_line_per_device_and_time_with_quality_beside_each_value(
    site: Site, registry: PointRegistry
) -> None:
    columns = Columns.of([0, 4, 1, 0], [7, 7, 7, 8], [1.5, -2.0, math.nan, math.inf], [0, 65, 129, 137])
    encoded = Encoder(Schema(site, registry)).encode(columns)
    shy = "meter,area=KZ,branch=SHY-TAS,device=SHY-TAS_SHY_main,node=SHY,role=main"
    tas = "meter,area=UZ,branch=SHY-TAS,device=SHY-TAS_TAS_main,node=TAS,role=main"
    assert [line.decode() for line in split(encoded)] == [
        f"{shy} TotW=1.5,TotW_q=0i,TotVAr_q=129i 7",
        f"{shy} TotW_q=137i 8",
        f"{tas} TotW=-2.0,TotW_q=65i 7",
    ]
    assert [sorted(encoded.rows(i).tolist()) for i in range(3)] == [[0, 2], [3], [1]]


def test_revisions_say_whether_the_value_is_void(site: Site, registry: PointRegistry) -> None:
    columns = Columns.of([0, 1], [7, 7], [math.nan, 2.0], [129, 0])
    (line,) = split(Encoder(Schema(site, registry)).encode(columns, np.array([True, True])))
    assert (
        line.decode().split(" ")[1] == "TotW_q=129i,TotW_void=true,TotVAr=2.0,TotVAr_q=0i,TotVAr_void=false"
    )


def plain(site: Site, columns: Columns, revises: list[bool]) -> dict[str, set[str]]:
    """Fields of each line, by its prefix and time, one reading after the other."""
    lines: dict[str, set[str]] = {}
    rows = zip(
        columns.point.tolist(),
        columns.t_source.tolist(),
        columns.value.tolist(),
        columns.quality.tolist(),
        revises,
        strict=True,
    )
    for index, t, value, quality, mark in rows:
        point = site.points[index]
        d = point.device
        area = site.area_of(d.node)
        prefix = f"meter,area={area},branch={d.branch},device={d.id},node={d.node},role=main"
        fields = lines.setdefault(f"{prefix} {t}", set())
        name = point.key.name
        fields.add(f"{name}_q={quality}i")
        if math.isfinite(value):
            fields.add(f"{name}={value!r}")
        if mark:
            fields.add(f"{name}_void={str(not math.isfinite(value)).lower()}")
    return lines


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.integers(-(1 << 62), 1 << 62) | st.integers(0, 3),
            st.floats(),
            st.integers(0, 255),
            st.booleans(),
        ),
        unique_by=lambda row: row[:2],
        max_size=60,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_say_what_one_reading_after_the_other_says(
    site: Site, registry: PointRegistry, rows: list[tuple[int, int, float, int, bool]]
) -> None:
    point, t, value, quality, marks = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    columns = Columns.of(point, t, value, quality)
    encoded = Encoder(Schema(site, registry)).encode(columns, np.array(marks, bool))
    found = {}
    for number, line in enumerate(split(encoded)):
        prefix, fields, time = line.decode().split(" ")
        found[f"{prefix} {time}"] = {
            f"{name}={float(text)!r}" if "_" not in name else f"{name}={text}"
            for name, _, text in (field.partition("=") for field in fields.split(","))
        }
        assert {int(columns.t_source[row]) for row in encoded.rows(number)} == {int(time)}
    assert found == plain(site, columns, list(marks))
    assert len(found) == len(encoded)


def test_points_that_left_the_configuration_keep_their_identity(site: Site, registry: PointRegistry) -> None:
    registry.extend([PointKey("old meter", "TotW", "MW")])
    columns = Columns.of([8, 9, 8], [1, 1, 2], [1.0, 2.0, 3.0], [0, 0, 0])
    encoded = Encoder(Schema(site, registry)).encode(columns)
    assert [line.decode() for line in split(encoded)] == [
        r"unconfigured,device=old\ meter,unit=MW TotW=1.0,TotW_q=0i 1",
        r"unconfigured,device=old\ meter,unit=MW TotW=3.0,TotW_q=0i 2",
    ]
    assert encoded.unknown.tolist() == [1]
    assert split(Encoder(Schema(site, registry)).encode(Columns.empty())) == []


def test_events_escape_text_and_leave_out_what_has_no_value() -> None:
    event = EventRecord(
        "alarm list",
        "R6/1",
        1_000_000_000,
        {"asset": "a,b=c d\\", "area": ""},
        {"text": 'say "x"\\', "n": 3, "ok": True, "value": 1e22, "gone": math.nan},
    )
    (line,) = encode_events([event])
    assert line.decode().startswith(
        r'alarm\ list,asset=a\,b\=c\ d/ event_key="R6/1",event_t=1000000000i,text="say \"x\"\\",n=3i,ok=true,'
        "value=1e+22 1000"
    )


def test_names_cannot_break_out_of_a_query() -> None:
    assert identifier('a"; DROP') == r'"a\"; DROP"'
    assert literal("a' OR '\\") == r"'a\' OR \'\\'"
