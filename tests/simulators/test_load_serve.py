"""A load runs for its time and reports what it did; what it must not do is refused."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from simulators.load.config import LoadSettings, ModbusLoad, MqttLoad, from_options
from simulators.load.serve import serve_load
from telemetry.clock import ManualClock, settle
from telemetry.errors import ConfigError, UnavailableError
from telemetry.settings import parse

GUARD_S = 10


async def test_a_responder_serves_for_its_time_and_reports() -> None:
    clock = ManualClock()
    ports: list[int] = []
    settings = LoadSettings(modbus=ModbusLoad(port=0, ports=2), for_s=10)
    async with asyncio.timeout(GUARD_S):
        task = asyncio.create_task(serve_load(settings, clock, ports.extend))
        while not ports:
            await settle()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[1])
        writer.write(bytes.fromhex("000100000006010300000001" + "000200000006010600000001"))
        await reader.readexactly(11 + 9)
        await clock.advance(9)
        assert not task.done()
        await clock.advance(1)
        report = await task
    writer.close()
    document = report.document()
    assert (document["seconds"], document["requests"], document["exceptions"]) == (10, 2, 1)
    assert document["requests_per_s"] == 0.2
    assert "requests_per_s             0.2" in report.text()


async def test_a_load_that_is_stopped_early_logs_what_it_did() -> None:
    ports: list[int] = []
    with capture_logs() as logs:
        task = asyncio.create_task(
            serve_load(LoadSettings(modbus=ModbusLoad(port=0)), ManualClock(), ports.extend)
        )
        while not ports:
            await settle()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert logs[-1]["event"] == "load_ended"
    assert logs[-1]["requests"] == 0


async def test_a_broker_that_is_not_there_ends_the_load_with_its_error(port: int) -> None:
    settings = parse(f"[mqtt]\nport = {port}\n[modbus]\nport = 0", "load.toml", LoadSettings)
    with pytest.raises(UnavailableError, match=f"broker 127.0.0.1:{port}"):
        await serve_load(settings, ManualClock())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing to do: give modbus, mqtt or both"),
        ('[modbus]\nhost = "10.0.0.1"', "load stays on this machine: use 127.0.0.1"),
        ('[mqtt]\nhost = "broker.example"', "load stays on this machine: use 127.0.0.1"),
        ("[modbus]\nport = 65535\nports = 2", "2 ports from 65535 on go beyond 65535"),
        ('[mqtt]\ntopic = "a/#"', "String should match pattern"),
        ("for_s = 0\n[modbus]", "greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse(text, "load.toml", LoadSettings)


def test_options_of_a_command_become_settings() -> None:
    assert from_options("mqtt", {"port": 1884, "rate_per_s": 5, "topic": 'a"b'}, 1.5) == LoadSettings(
        mqtt=MqttLoad(port=1884, rate_per_s=5.0, topic='a"b'), for_s=1.5
    )


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("modbsu", {}, r'command line: modbsu: unknown key \(did you mean "modbus"\?\)'),
        ("modbus", {"port": 65535, "ports": 2}, "command line: modbus: 2 ports from 65535"),
        ("mqtt", {"qos": 2}, "command line: mqtt.qos = 2"),
    ],
)
def test_options_that_cannot_be_are_named(kind: str, options: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        from_options(kind, options, 1.0)
