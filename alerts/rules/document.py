"""The page of the rules, drawn from their settings: ``python -m alerts.rules.document > docs/rules.md``."""

from __future__ import annotations

import sys
from typing import Any

from alerts.config import AlertsSettings

_HEAD = """# The rules

Drawn from the settings in `alerts/config.py` and `alerts/rule_config.py`; a test holds them together.
Regenerate with `python -m alerts.rules.document > docs/rules.md`.

Each rule has a table `[alerts.R6]` in the main file, and takes overrides for single assets:

```toml
[alerts.R10]
deadband_hz = 0.01

[[alerts.R12.override]]
asset = "SHY-TAS"
enabled = false
```

Every threshold is illustrative until it is tuned to a real grid. A rule whose input is stale or bad is
*indeterminate*: it raises nothing and gives no all-clear. A grade is raised when its condition has held for
`on_s` seconds; the alarm is over when the condition, deadband included, has been over for `off_s`. Limits
that could never make a difference, assets that do not exist and settings that are not known are refused by
`greenbridge check`, with file, key and fix.
"""

_NOTES = {
    "R2": "Needs every tie of the area metered; a tie to a grid outside the model, such as Kazakhstan's\n"
    "to Russia in the built-in corridor, is not part of the sum.",
    "R4": "Needs the injection of every busbar of the area. What a line (R6), a busbar (R7) or a cable (R8)\n"
    "lacks explains it, and is their alarm.",
    "R3": "Judged at each look of the ledger (`every_s` of `[alerts.settlement]`), on radial and HVDC ties\n"
    "and on areas; of the open intervals of 15 and 60 minutes the worse one. The limit in proportion is of\n"
    "what is scheduled, of an area over all its ties. Of a delay at most 5 s count for each look.",
    "R5": "Judged on the newest closed quarter of an hour of each `[[contract]]` of the grid model.",
    "R22": "Judged where schedule versions were taken in. Without any, the standing schedule holds.",
    "R7": "A difference that the two ends of one of its lines show too is that line's alarm (R6).",
    "R8": "No device tells the poles: a trip is a fall within seconds to what fewer poles can carry, while\n"
    "more is agreed.",
    "R9": "Watches areas with `bias_mw_per_hz` in the grid model, K of ACE = dP + K df. The mildest grade\n"
    "is the error that does not cross zero: a change of sign ends every delay.",
    "R11": "Judged on the sum of the plants that say what wind or sun would allow. HVDC ramps against\n"
    "their order are not judged.",
    "R12": "The circuits in service are read off the reactive power at the far end; grade four of the power\n"
    "is ours. Currents are judged where a line has `thermal_a`.",
    "R14": "Needs a check meter, or else the main meter of the other end, and `range_s` after a start.",
    "R15": "From the mean power of both over an hour, from half an hour after a start on.",
    "R16": "A counter that went back is told at once and holds for the window. Judged once its window is\n"
    "full after a start.",
    "R17": "Judged where devices stamp by themselves, against the other devices of their link. Modbus\n"
    "readings are stamped here.",
    "R19": "The power that wind or sun would allow is what the plant's controller says. Less than that is\n"
    "only judged where the controller also says whether it is held back (`Curtailed`).",
    "R20": "Reactive reserve is not measured by any device yet, and not judged.",
    "R21": "Off until it is enabled and `balanced_at` names the nodes where the grid beyond the model\n"
    "balances it: a grid that is not secure every day would raise it every day. Judges the loss of one\n"
    "circuit of each line and of one pole of each HVDC link, and of all at once where `whole` says so:\n"
    "overloads by what the other circuits may carry, angles, parts that nothing balances, states that do\n"
    "not exist. Busbars keep their voltage in it. `[[alerts.R21.run_back]]` (`outage`, `link`, `to_mw`,\n"
    "`armed`) tells what acts first.",
    "R23": "The rate of change is judged on each synchronous area, the separation on each control area\n"
    "against the rest, the oscillation on each AC tie, by the matrix pencil\n"
    "(`alerts/rules/ringdown.py`). A mode of 0.8 Hz needs more than 1.6\n"
    "readings a second (Nyquist), and four for each cycle to tell its damping:\n"
    "a tie whose meter is read every second is not judged, and `greenbridge check` says so. Read it every\n"
    "0.25 s (`period_s` of its register), and see that the meter itself renews the register as often.",
    "R24": "Watches R1, R2 and R9. What is not metered at all is shown as indeterminate, and is no alarm.",
}


_OWN = """
## A site's own rules

Each `[[alerts.rule]]` of the main file is a rule of its own; its alarms are `CUSTOM/<id>`. What they have in
common: `id`, `title`, `enabled`, `off_s`, and the texts `cause`, `consequence` and `response`.

| kind | holds while | settings |
|---|---|---|
| `threshold` | a point is above, or below, limits | `point`, `unit`, `limits`, `deadband` |
| `rate` | it changes too fast, per minute | `point`, `unit`, `window_s`, `limits`, `deadband_pct` |
| `stale` | it had no usable reading for `after_s`, or never one | `point`, `after_s`, `priority` |
| `flatline` | it moved less than `least` | `point`, `unit`, `window_s`, `least`, `priority`, `on_s` |
| `state` | a state has one of these names or codes | `point`, `states`, `priority`, `on_s` |
| `expression` | a [condition](../telemetry/expressions.py) holds | `condition`, `priority`, `on_s` |

```toml
[[alerts.rule]]
id = "shy-transformer-hot"
title = "Transformer of Shymkent is hot"
kind = "threshold"
point = "SHY_transformer/TmpOil"
unit = "degC"
limits = [{ priority = "low", above = 85, on_s = 60 }, { priority = "high", above = 95 }]
deadband = 3

[[alerts.rule]]
id = "shy-tas-both-export"
title = "Both ends of SHY-TAS read export"
kind = "expression"
condition = "{SHY-TAS_SHY_main/TotW} > 5 MW and {SHY-TAS_TAS_main/TotW} > 5 MW"
on_s = 30
```

Units are checked: limits may be in any unit that converts into the point's. `greenbridge check` refuses
points that do not exist, units that do not fit, limits out of order or outside the range of the point.
"""


def document() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    tables = AlertsSettings().rules()
    for rule in sorted(tables, key=lambda name: int(name[1:])):
        table = tables[rule]
        parts.append(f"\n## {rule}: {_summary(rule, type(table))}\n")
        values = table.model_dump(mode="json", exclude={"override"})
        if limits := values.pop("limits", None):
            parts.append(_grades(limits))
        settings = ", ".join(f"`{name} = {_toml(value)}`" for name, value in values.items())
        parts.append(f"\nDefaults: {settings}.\n")
        if rule in _NOTES:
            parts.append(f"\n{_NOTES[rule]}\n")
    return "".join([*parts, _OWN])


def _summary(rule: str, table: type) -> str:
    """What a rule is about: the first line of the documentation of its settings, less its name."""
    documented = (parent.__doc__ or "" for parent in table.__mro__)
    about = next(text for text in documented if text.startswith(f"{rule}: "))
    return about.splitlines()[0].removeprefix(f"{rule}: ")


def _grades(limits: list[dict[str, Any]]) -> str:
    names = list(limits[0])
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(_shown(limit[name]) for name in names) + " |" for limit in limits]
    return "\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(document())
