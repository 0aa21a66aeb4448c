"""Queries over groups of devices, narrowed down by the dashboard's variables area, site and device."""

# ruff: noqa: S608 - names and texts enter a query quoted, by identifier() and literal()

from __future__ import annotations

from collections.abc import Sequence

from grafana.influxql import BAD, identifier, number

AREA = '"area" =~ /^${area:regex}$/'
SITE = '"node" =~ /^${site:regex}$/'
DEVICE = '"device" =~ /^${device:regex}$/'
"""A tag that the variable of the dashboard allows (Grafana documentation, "Advanced variable format
options": ``regex`` escapes and joins what is chosen)."""
CHOSEN = (AREA, SITE, DEVICE)


def grouped(
    measurements: Sequence[str],
    expressions: str,
    tags: Sequence[str],
    where: Sequence[str],
    *,
    fill: str = "null",
) -> str:
    """Aggregates over Grafana's intervals, one series for each value of the tags."""
    sources = ", ".join(map(identifier, measurements))
    return (
        f"SELECT {expressions} FROM {sources} WHERE {' AND '.join([*where, '$timeFilter'])} "
        f"GROUP BY time($__interval), {', '.join(map(identifier, tags))} fill({fill})"
    )


def good(*points: str) -> list[str]:
    """Readings of which no point is bad."""
    return [f"{identifier(f'{point}_q')} < {BAD}" for point in points]


def role(name: str) -> str:
    """Devices of one role."""
    return f"\"role\" = '{name}'"


def mean(measurements: Sequence[str], point: str, tag: str = "device", where: Sequence[str] = CHOSEN) -> str:
    """Mean of the usable readings of a point, by a tag."""
    expression = f"mean({identifier(point)}) AS {identifier(point)}"
    return grouped(measurements, expression, [tag], [*good(point), *where])


def newest(measurement: str, point: str) -> str:
    """Newest usable reading of a state in each interval, by device."""
    expression = f"last({identifier(point)}) AS {identifier(point)}"
    return grouped([measurement], expression, ["device"], [*good(point), *CHOSEN])


def difference(measurements: Sequence[str], more: str, less: str) -> str:
    """Mean of one point less that of another, by device."""
    expression = f'mean({identifier(more)}) - mean({identifier(less)}) AS "difference"'
    return grouped(measurements, expression, ["device"], [*good(more, less), *CHOSEN])


def total(measurements: Sequence[str], point: str, tag: str, where: Sequence[str]) -> str:
    """Sum over devices of the means of a point, by a tag."""
    column = identifier(point)
    each = grouped(
        measurements, f"mean({column}) AS {column}", ["device", tag], [*good(point), *where], fill="none"
    )
    return (
        f"SELECT sum({column}) AS {column} FROM ({each}) WHERE $timeFilter "
        f"GROUP BY time($__interval), {identifier(tag)} fill(null)"
    )


def share(measurement: str, device: str, point: str, rated: float) -> str:
    """Mean of a point of one device in percent of a rating."""
    return grouped(
        [measurement],
        f'mean({identifier(point)}) * {number(100 / rated)} AS "share"',
        ["device"],
        [f"\"device\" = '{device}'", *good(point), *CHOSEN],
    )


def bad_counts(measurements: Sequence[str], point: str, where: Sequence[str] = CHOSEN) -> str:
    """Number of bad readings of a point, by device."""
    quality = identifier(f"{point}_q")
    return grouped(
        measurements, f'count({quality}) AS "bad"', ["device"], [f"{quality} >= {BAD}", *where], fill="none"
    )


def counts(measurements: Sequence[str], point: str, tag: str, where: Sequence[str] = CHOSEN) -> str:
    """Number of readings of a point, whatever their quality, by a tag."""
    quality = identifier(f"{point}_q")
    return grouped(measurements, f'count({quality}) AS "readings"', [tag], list(where))


def worst(measurements: Sequence[str], point: str) -> str:
    """Worst quality code of a point in each interval, by device."""
    quality = identifier(f"{point}_q")
    return grouped(measurements, f'max({quality}) AS "quality"', ["device"], list(CHOSEN))
