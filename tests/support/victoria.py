"""A real VictoriaMetrics on loopback, which can be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


class Victoria:
    """A running server; ``url`` stays the same over restarts."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self._address}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and returns when it answers, in another second than it was started in before."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "victoria-metrics",
                    f"-storageDataPath={self._directory / 'data'}",
                    f"-httpListenAddr={self._address}",
                    "-retentionPeriod=100y",
                ],
                stdout=log,
                stderr=log,
            )
        for _ in range(200):
            try:
                uptime = self._metric("vm_app_uptime_seconds")
            except (urllib.error.URLError, OSError):
                uptime = 0
            if uptime >= 1:
                return
            # a wait on the process is a pause that ends early if it dies
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        raise RuntimeError(f"victoria-metrics does not run: {(self._directory / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Ends it as a power cut does: what is not on the disk is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def samples(self, metric: str) -> dict[int, float]:
        """Value at each time [ms] of a metric with one series."""
        urllib.request.urlopen(f"{self.url}/internal/force_flush").close()
        query = urllib.parse.urlencode({"match[]": metric, "format": "__timestamp__,__value__"})
        with urllib.request.urlopen(f"{self.url}/api/v1/export/csv?{query}") as answer:
            rows = [line.split(",") for line in answer.read().decode().splitlines()]
        return {int(t): float(value) for t, value in rows}

    def _metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=1) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        return 0


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    """A fresh server."""
    server = Victoria(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()
