"""One parser under atheris; ``python -m benchmarks.fuzz_atheris PARSER INPUTS SEED`` prints a JSON object."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

# not imported by name: its wheels are for Linux only
atheris = importlib.import_module("atheris")

with atheris.instrument_imports(include=["adapters"]):
    from benchmarks.fuzz import Verdict
    from benchmarks.fuzz_targets import TARGETS


def main(name: str, count: int, seed: int) -> None:
    """Never returns: the engine ends its process."""
    target, verdict, begin = TARGETS[name], Verdict(name, "atheris"), time.perf_counter()

    def one(data: bytes) -> None:
        if verdict.judge(target, data) and verdict.inputs < count:
            return
        verdict.seconds = round(time.perf_counter() - begin, 1)
        print(json.dumps(asdict(verdict)), flush=True)
        os._exit(0)

    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        for i, sound in enumerate(target.seeds):
            (corpus / str(i)).write_bytes(sound)
        options = [f"-seed={seed}", "-max_len=4096", "-verbosity=0", str(corpus)]
        if target.words:
            words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
            options.append(f"-dict={words}")
        atheris.Setup([sys.argv[0], *options], one)
        gc.freeze()
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(rf"\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
