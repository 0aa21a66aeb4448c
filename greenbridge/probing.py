"""``greenbridge probe``: looks at devices before they are configured.

Exit codes: 0 answered, 1 answered but something is not as it should be, 2 wrong use, 3 no answer.
"""

from __future__ import annotations

import typer

from greenbridge.probing_brokers import probe_mqtt, probe_sparkplug
from greenbridge.probing_modbus import probe_modbus, probe_sunspec

# commands import what they need when they run: `greenbridge --help` stays instant

probe = typer.Typer(
    no_args_is_help=True,
    help="Looks at devices before they are configured: reads only, one request at a time, with pauses.",
)
probe.command("modbus")(probe_modbus)
probe.command("sunspec")(probe_sunspec)
probe.command("mqtt")(probe_mqtt)
probe.command("sparkplug")(probe_sparkplug)
