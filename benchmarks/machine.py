"""Describes the machine and the software that figures belong to."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "pymodbus", "aiomqtt", "msgspec", "duckdb")


def description() -> dict[str, object]:
    """Processor, memory, system and load; nothing that names the machine."""
    return {
        "cpu": _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": int(_first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+)") or 0) // 1024,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def software() -> dict[str, str]:
    """Versions of what is measured."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    if program := find("mosquitto"):
        told = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
        versions["mosquitto"] = told.partition("mosquitto version ")[2].partition("\n")[0]
    return versions


def find(program: str) -> str | None:
    """Path of a program; daemons are often in a directory that an ordinary PATH leaves out."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _first(file: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, file.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
