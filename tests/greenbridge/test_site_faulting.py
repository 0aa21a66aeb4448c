"""``greenbridge faults``: what it asks of the simulators, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from greenbridge.cli import app
from greenbridge.scenarios import controls

FAULT = {
    "id": "tap-1",
    "kind": "tap",
    "target": "SHY-TAS",
    "mw": 30.0,
    "active": True,
    "began_ns": 1_795_500_000_000_000_000,
    "ends_ns": 1_795_500_060_000_000_000,
}
KINDS = {
    "tap": {"what": "A load.", "target": "line", "targets": ["SHY-TAS"], "parameters": {"mw": "above 0"}}
}
HELD = {"address": 3059, "name": "P", "words": [1, 0xABCD], "value": 344.6409606933594, "unit": "kW"}
SAID = {"t_ns": 1_795_500_000_000_000_000, "topic": "c/b", "payload": {"p_mw": -1.5}}
STATUS = {
    "started_ns": FAULT["began_ns"],
    "speed": 2.0,
    "steps": 9,
    "collapse": None,
    "announcements": [{"t_ns": FAULT["began_ns"], "text": "a tap begins"}],
    "faults": [FAULT],
}
LINE = "tap-1                  active   tap SHY-TAS mw=30.0"
TIMES = "from 2026-11-24 06:00:00Z to 2026-11-24 06:01:00Z"


@pytest.mark.parametrize(
    ("words", "request_", "answer", "said"),
    [
        (["list"], ("GET", "faults", None), [FAULT], [LINE, TIMES]),
        (["list"], ("GET", "faults", None), [], ["no faults"]),
        (["kinds"], ("GET", "faults/kinds", None), KINDS, ["tap", "line", "mw"]),
        (["kinds", "tap"], ("GET", "faults/kinds", None), KINDS, ["A load.", "above 0", "line: SHY-TAS"]),
        (
            ["inject", "tap", "SHY-TAS", "mw=30", "--for", "60"],
            ("POST", "faults", {"kind": "tap", "target": "SHY-TAS", "for_s": 60.0, "mw": 30}),
            FAULT,
            [LINE],
        ),
        (["clear", "tap-1"], ("DELETE", "faults/tap-1", None), FAULT | {"active": False}, ["cleared"]),
        (["clear", "a/b c"], ("DELETE", "faults/a%2Fb%20c", None), FAULT, ["tap-1"]),
        (["clear", "--all"], ("DELETE", "faults", None), [], ["no faults"]),
        (["status"], ("GET", "status", None), STATUS, ["9 steps, speed 2", "grid: stands", "a tap begins"]),
        (["restore"], ("POST", "grid/restore", None), STATUS, ["restored"]),
        (["registers"], ("GET", "devices", None), ["a", "b"], ["a\nb"]),
        (["registers", "a"], ("GET", "devices/a/registers", None), [HELD], ["0001 abcd", "344.6409607 kW"]),
        (
            ["registers", "b"],
            ("GET", "devices/b/registers", None),
            [SAID],
            ['06:00:00Z  c/b  {"p_mw": -1.5}'],
        ),
        (["registers", "b"], ("GET", "devices/b/registers", None), [], ["nothing published yet"]),
        (["speed", "2"], ("PUT", "clock", {"speed": 2.0}), {"environment": {"A": "2"}}, ["A=2"]),
    ],
)
def test_what_is_asked_and_said(
    monkeypatch: pytest.MonkeyPatch, words: list[str], request_: Any, answer: Any, said: list[str]
) -> None:
    asked: list[tuple[Any, ...]] = []

    async def ask(url: str, *request: Any) -> Any:
        assert url == "http://127.0.0.1:15500"
        asked.append(request)
        return answer

    monkeypatch.setattr(controls, "ask", ask)
    result = CliRunner().invoke(app, ["faults", *words])
    assert result.exit_code == 0, result.output
    assert asked == [request_]
    assert all(text in result.output for text in said), result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["clear"], 2, "give the id of a fault, or --all"),
        (["clear", "tap-1", "--all"], 2, "give the id of a fault, or --all"),
        (["inject", "tap", "SHY-TAS", "30"], 2, "write name=value"),
        (["inject", "tap", "SHY-TAS", "mw=30", "--for", "nan"], 2, "above 0"),
        (["speed", "0"], 2, "0.1"),
        (["list", "--control", "nonsense"], 3, "nonsense is no address"),
        (["list", "--control", "http://127.0.0.1:1"], 3, "do not answer (Cannot connect"),
    ],
)
def test_wrong_use_is_told(words: list[str], code: int, said: str) -> None:
    result = CliRunner().invoke(app, ["faults", *words])
    assert result.exit_code == code
    assert said in " ".join(result.output.replace("│", " ").split())
