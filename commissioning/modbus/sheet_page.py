"""The check sheet as one page to print and sign: no outside asset, every text escaped; pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from commissioning.modbus.plausibility import Verdict
from commissioning.modbus.sheet import Row, Sheet
from commissioning.tables import number

_HEADING = ("", "Point", "Address", "Raw words", "Value", "Unit", "Verdict", "Reference", "Checked")
_NUMBERS = {"Address", "Value"}
_RIGHT = ' class="n"'


def sheet_page(sheet: Sheet, facts: Mapping[str, str]) -> str:
    """The sheet as HTML.

    Parameters
    ----------
    sheet
        What was read.
    facts
        What stands above the table, by heading: device, time and what else identifies it.

    """
    style = (files("commissioning.modbus") / "sheet.css").read_text("utf-8")
    told = [f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items()]
    advice = "".join(f'<p class="advice">{escape(line)}</p>' for line in sheet.advice)
    counts = "".join(
        f'<li><span class="v {verdict}">{count} {verdict}</span></li>'
        for verdict, count in sheet.counts.items()
        if count
    )
    columns = "".join(f"<th{_RIGHT if name in _NUMBERS else ''}>{name}</th>" for name in _HEADING)
    rows = "\n".join(_row(n, row) for n, row in enumerate(sheet.rows, 1))
    title = escape(f"Check sheet {sheet.profile.id}, unit {sheet.unit}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>Point-to-point check sheet</h1>
<p class="title">{escape(sheet.profile.title)}</p>
<dl>{"".join(told)}</dl>
<ul class="counts">{counts}</ul>
{advice}
<table>
<thead><tr>{columns}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<div class="sign"><div>Read by, date</div><div>Compared by, date</div><div>Accepted by, date</div></div>
<footer>Read by greenbridge probe. Source of the map: {escape(sheet.profile.source)}</footer>
</body>
</html>
"""


def _row(n: int, row: Row) -> str:
    address = "" if row.address is None else f'{row.address}<span class="sub">{escape(row.table)}</span>'
    value = "" if row.value is None else escape(number(row.value))
    unit = "" if row.unit == "1" else escape(row.unit)
    remark = f'<span class="sub">{escape(row.remark)}</span>' if row.remark else ""
    mark = "" if row.verdict is Verdict.OK else f' class="is-{row.verdict}"'
    return (
        f'<tr{mark}><td class="n">{n}</td>'
        f'<td class="name">{escape(row.point)}<span class="sub">{escape(row.title)}</span></td>'
        f'<td class="n">{address}</td><td class="raw">{escape(row.raw)}</td>'
        f'<td class="n">{value}</td><td>{unit}</td>'
        f'<td><span class="v {row.verdict}">{row.verdict}</span>{remark}</td>'
        f'<td class="blank"></td><td class="blank"></td></tr>'
    )
