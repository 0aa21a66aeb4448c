from __future__ import annotations

from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.bench import load_file
from simulators.devices.identification import Refusal
from simulators.devices.modbus import Gateway, Line, Transport
from simulators.devices.recording import RecordedUnit, load
from simulators.state import BenchState
from telemetry.errors import ConfigError

RECORDING = """
{"unit": 1, "identification": {"0": "Vendor", "1": "Code", "2": "1.0"}}
{"unit": 1, "table": "holding", "address": 3059, "words": [17318, 26214], "t_ns": 5}
{"unit": 1, "table": "holding", "address": 3060, "words": [26214, 7]}
{"unit": 1, "table": "input", "address": 0, "words": [1, 2, 3]}
{"unit": 4, "table": "holding", "address": 65535, "words": [9]}
"""

BENCH = """
seed = 1
control_port = 0
[[gateway]]
id = "G"
port = 0
[[device]]
id = "again"
kind = "recording"
gateway = "G"
unit = 7
count = 2
file = "device.jsonl"
recorded_unit = 1
"""


def write(folder: Path, recording: str = RECORDING, bench: str = BENCH) -> Path:
    (folder / "device.jsonl").write_text(recording)
    (folder / "bench.toml").write_text(bench)
    return folder / "bench.toml"


def problems(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_file(path, {})
    return [(problem.key, problem.reason) for problem in caught.value.problems]


async def test_a_recording_answers_as_its_device_did(tmp_path: Path) -> None:
    state = BenchState(load_file(write(tmp_path), {}), 0)
    async with Gateway("G", Line(Transport.TCP), state.lines["G"]) as gateway:
        client = AsyncModbusTcpClient("127.0.0.1", port=gateway.port, timeout=2, retries=0)
        assert await client.connect()
        for unit in (7, 8):
            held = await client.read_holding_registers(3059, count=3, device_id=unit)
            assert held.registers == [17318, 26214, 7]
            shown = await client.read_input_registers(0, count=3, device_id=unit)
            assert shown.registers == [1, 2, 3]
            for address, count in ((3058, 2), (3059, 4), (0, 1)):
                answer = await client.read_holding_registers(address, count=count, device_id=unit)
                assert answer.exception_code == Refusal.ILLEGAL_ADDRESS
            told = await client.read_device_information(read_code=1, device_id=unit)
            assert told.information[0] == b"Vendor"  # type: ignore[attr-defined]
        client.close()
    assert [(h.table, h.address, h.words) for h in state.registers("again-2")][:2] == [
        ("holding", 3059, (17318,)), ("holding", 3060, (26214,)),
    ]  # fmt: skip


def test_a_unit_without_input_registers_does_not_know_their_function(tmp_path: Path) -> None:
    write(tmp_path)
    unit = RecordedUnit(load(tmp_path / "device.jsonl")[4])
    assert unit.read(4, 0, 1) is Refusal.ILLEGAL_FUNCTION
    assert unit.read(3, 65535, 1) == [9]
    assert unit.read(3, 65535, 2) is Refusal.ILLEGAL_ADDRESS
    assert unit.identification.answer(b"\x0e\x01\x00") is Refusal.ILLEGAL_FUNCTION


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"unit": 1, "table": "holding", "address": 3060, "words": [1]}',
            "overlaps an earlier line",
        ),
        ('{"unit": 1, "table": "holding", "address": 65535, "words": [1, 2]}', "leave the address space"),
        ('{"unit": 1, "table": "coil", "address": 1, "words": [1]}', "Invalid enum value 'coil'"),
        ('{"unit": 1, "table": "holding", "address": 1, "words": [65536]}', "<= 65535"),
        ('{"unit": 1, "table": "holding", "address": 1, "words": []}', ">= 1"),
        ('{"unit": 1, "table": "holding", "address": 1}', "missing required field `words`"),
        ('{"unit": 1, "identification": {"a": "b"}}', "matching regex"),
        ("not JSON", "malformed"),
        ("[1]", "Expected `object`"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    ((key, reason),) = problems(write(tmp_path, RECORDING + line))
    assert key == "line 7"
    assert words in reason


def test_what_is_not_in_the_recording_is_named(tmp_path: Path) -> None:
    ((key, reason),) = problems(
        write(tmp_path, bench=BENCH.replace("recorded_unit = 1", "recorded_unit = 3"))
    )
    assert (key, reason) == ("device[0].recorded_unit", "no such unit in the recording")
    ((key, reason),) = problems(write(tmp_path, bench=BENCH.replace("recorded_unit = 1", "")))
    assert key == "device[0].recorded_unit"
    assert "several units" in reason
    assert problems(write(tmp_path, recording="\n"))[0][1] == "holds no unit"
    (tmp_path / "bench.toml").write_text(BENCH.replace("device.jsonl", "none.jsonl"))
    ((_, reason),) = problems(tmp_path / "bench.toml")
    assert "No such file" in reason
