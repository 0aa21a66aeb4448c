"""Makes ``payload_pb2.py`` and ``payload_pb2.pyi`` from ``payload.proto``; needs grpcio-tools.

Run as ``python -m adapters.sparkplug.generate`` after a change of the definition.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_HEADER = "# ruff: noqa: {}\n# fmt: off\n# mypy: ignore-errors\n"
"""Keeps the checks of hand-written code away."""
_RULES = {".py": "E501, ERA001, I001", ".pyi": "A002, E501, I001, RUF023, UP007, UP045"}
"""Those that generated code breaks."""
_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]
_SOURCE = (_FOLDER / "payload.proto").relative_to(_ROOT)


def generated() -> dict[Path, str]:
    """What the files should hold, by their path.

    The definition is named by its path from the root: no other in the process's descriptor pool may have the
    same name.

    Raises
    ------
    subprocess.CalledProcessError
        The compiler refuses the definition; its output says where.

    """
    with tempfile.TemporaryDirectory() as scratch:
        compiler = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={scratch}"]
        subprocess.run([*compiler, f"--pyi_out={scratch}", str(_SOURCE)], cwd=_ROOT, check=True)
        made = sorted((Path(scratch) / _SOURCE.parent).iterdir())
        return {
            _FOLDER / path.name: _HEADER.format(_RULES[path.suffix]) + path.read_text(encoding="utf-8")
            for path in made
        }


if __name__ == "__main__":
    for target, text in generated().items():
        target.write_text(text, encoding="utf-8")
