"""Reload from the request to the audit: the control socket, and who may change what."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from greenbridge import control
from greenbridge.difference import Difference
from greenbridge.reloading import Reloader
from greenbridge.settings import Configuration
from ingest.audit_chain import BEGINNING, Act, AuditEntry, chained
from telemetry.errors import ConfigError, GreenbridgeError, StorageError, UnavailableError
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.greenbridge.test_reload_difference import CONNECTED, DEVICES, PUBLISHER, site

ENVIRONMENT = {"MQTT_PASSWORD": "x"}
MORE = DEVICES + PUBLISHER.replace("p1", "p2").replace('"SHY"', '"TAS"')


class FakeRunning:
    """What runs: takes over every configuration that it is given, unless told to fail."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.site = configuration.site(PointRegistry(configuration.keys()))
        self.applied: list[Difference] = []
        self.fails = ""

    async def apply(
        self, wanted: Configuration, difference: Difference, record: Callable[[], Awaitable[object]]
    ) -> None:
        if self.fails:
            raise StorageError(self.fails)
        await record()
        self.configuration = wanted
        self.applied.append(difference)


class FakeAudit:
    """Keeps acts in memory, or is full."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.full = False

    async def append(self, act: Act) -> AuditEntry:
        if self.full:
            raise StorageError("audit cannot be written: disk full")
        self.acts.append(act)
        return chained(len(self.acts), 0, act, BEGINNING)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = FakeRunning(site(folder))
        self.audit = FakeAudit()
        self.shown: list[Site] = []
        self.reloader = Reloader(self.running, ENVIRONMENT, self.audit, self.show)

    async def show(self, shown: Site) -> None:
        self.shown.append(shown)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_what_differs_is_applied_audited_and_shown(rig: Rig) -> None:
    site(rig.folder, devices=MORE)
    found, digest = await rig.reloader.look("anna")
    assert [str(change) for change in found.changes] == ["+ device p2 (bus-meter at TAS, mqtt/main)"]
    assert not rig.running.applied
    assert await rig.reloader.reload("anna", digest) == found
    (act,) = rig.audit.acts
    assert (act.who, act.action, act.outcome) == ("anna", "reload", "done")
    assert "+ device p2" in act.details["difference"]
    assert rig.shown == [rig.running.site]
    again = await rig.reloader.reload("anna")
    assert again.empty
    assert len(rig.audit.acts) == len(rig.shown) == 1


async def test_thresholds_alone_leave_the_pages_as_they_are(rig: Rig) -> None:
    site(rig.folder, CONNECTED.replace("40.0", "50.0"))
    await rig.reloader.reload("anna")
    assert rig.running.configuration.settings.alerts.two_end.off_s == 50.0
    assert not rig.shown


async def test_a_faulty_file_changes_nothing_and_is_audited(rig: Rig) -> None:
    before = rig.running.configuration
    (rig.folder / "devices.toml").write_text(DEVICES.replace("pm5xxx", "pm5xx", 1))
    with pytest.raises(ConfigError, match='did you mean "pm5xxx"'):
        await rig.reloader.reload("SIGHUP")
    assert rig.running.configuration is before
    assert [(act.outcome, "pm5xx" in act.details["error"]) for act in rig.audit.acts] == [("refused", True)]


async def test_a_look_at_a_faulty_file_is_audited_unless_nothing_was_meant_to_change(rig: Rig) -> None:
    (rig.folder / "devices.toml").write_text(DEVICES.replace("pm5xxx", "pm5xx", 1))
    look = {"command": "reload", "file": "", "apply": False}
    with pytest.raises(ConfigError):
        await rig.reloader.answer({**look, "dry_run": True}, "anna")
    assert rig.audit.acts == []
    with pytest.raises(ConfigError):
        await rig.reloader.answer({**look, "dry_run": False}, "anna")
    assert [(act.who, act.outcome) for act in rig.audit.acts] == [("anna", "refused")]


async def test_what_cannot_be_prepared_or_audited_is_not_done(rig: Rig) -> None:
    before = rig.running.configuration
    site(rig.folder, devices=MORE)
    rig.running.fails = "there is no token in /run/secrets/influx_token"
    with pytest.raises(StorageError, match="no token"):
        await rig.reloader.reload("anna")
    rig.running.fails, rig.audit.full = "", True
    with pytest.raises(StorageError, match="disk full"):
        await rig.reloader.reload("anna")
    assert rig.running.configuration is before
    assert not rig.running.applied


async def test_files_that_changed_since_they_were_compared_are_not_applied(rig: Rig) -> None:
    site(rig.folder, devices=MORE)
    _, digest = await rig.reloader.look("anna")
    site(rig.folder, devices=DEVICES.replace("unit = 1", "unit = 9", 1))
    with pytest.raises(GreenbridgeError, match="compare them again"):
        await rig.reloader.reload("anna", digest)
    assert not rig.running.applied


async def test_settings_that_need_a_restart_are_told_and_the_rest_is_applied(rig: Rig) -> None:
    site(rig.folder, CONNECTED.replace('"state"', '"elsewhere"').replace("40.0", "50.0"))
    found = await rig.reloader.reload("anna")
    assert 'state_dir ("state" -> "elsewhere"): needs a restart' in found.text()
    assert rig.running.configuration.settings.state_dir == "state"
    assert rig.running.configuration.settings.alerts.two_end.off_s == 50.0


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        ({"command": "stop"}, "there is no command 'stop'"),
        ({}, "there is no command 'None'"),
        ({"command": "reload", "apply": True}, "there is no command"),
        ({"command": "reload", "apply": False, "file": "/etc/other.toml"}, "not /etc/other.toml"),
    ],
)
async def test_requests_that_are_none_are_refused(rig: Rig, request_: dict[str, Any], refusal: str) -> None:
    with pytest.raises(GreenbridgeError, match=refusal):
        await rig.reloader.answer(request_, "anna")


async def test_a_command_travels_over_the_socket_with_the_users_identity(tmp_path: Path) -> None:
    # longer than a socket's address may be
    state = tmp_path / ("deep" * 20) / ("er" * 40)
    state.mkdir(parents=True)
    asked: list[tuple[dict[str, Any], str]] = []

    async def answer(request: dict[str, Any], who: str) -> dict[str, Any]:
        asked.append((request, who))
        if request["command"] == "fail":
            raise GreenbridgeError("it cannot be done: no")
        if request["command"] == "break":
            raise KeyError("a fault in the program")
        return {"text": "done", "size": "x" * 200_000}

    async with asyncio.timeout(20), control.listening(state, answer):
        assert stat.S_IMODE((state / control.SOCKET).stat().st_mode) == 0o600
        assert (await control.ask(state, {"command": "reload"}))["text"] == "done"
        with pytest.raises(GreenbridgeError, match="it cannot be done: no"):
            await control.ask(state, {"command": "fail"})
        with (
            capture_logs() as logs,
            pytest.raises(control.CommandFailedError, match="'break' failed unexpectedly"),
        ):
            await control.ask(state, {"command": "break"})
        assert [line["event"] for line in logs] == ["control_command_failed"]
        assert (await control.ask(state, {"command": "reload"}))["text"] == "done"
    assert asked[0][1].startswith(f"uid {os.getuid()}")
    assert f"process {os.getpid()}" in asked[0][1]
    assert not (state / control.SOCKET).exists()
    with pytest.raises(UnavailableError, match="no greenbridge runs on the state directory"):
        await control.ask(state, {"command": "reload"})


async def test_garbage_on_the_socket_is_answered_and_a_socket_left_by_a_kill_is_replaced(
    tmp_path: Path,
) -> None:
    async def answer(request: dict[str, Any], who: str) -> dict[str, Any]:
        return {"text": "done"}

    (tmp_path / control.SOCKET).write_text("left over")
    async with asyncio.timeout(20), control.listening(tmp_path, answer):
        for garbage in (b"not json\n", b"[1]\n", b"\xff\xfe\n", b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET))
            writer.write(garbage)
            assert b"cannot be understood" in await reader.readline()
            writer.close()
            await writer.wait_closed()
        assert (await control.ask(tmp_path, {"command": "reload"}))["text"] == "done"
