"""The commands of deadletter, on a store beside nobody."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from greenbridge.cli import EXIT_CANNOT_RUN, EXIT_FAILED, EXIT_USAGE, app
from ingest.config import DeadLetterSettings
from ingest.deadletters import DeadLetters
from ingest.ports import DeadLetter

PAYLOADS = (b'{"p": }', b"\xff\x00")


@pytest.fixture
def config(tmp_path: Path) -> str:
    text = Path("examples/first-site/greenbridge.toml").read_text("utf-8")
    main = tmp_path / "greenbridge.toml"
    main.write_text(text.replace('state_dir = "state"', f'state_dir = "{tmp_path}"'))
    for name in ("grid.toml", "devices.toml"):
        (tmp_path / name).write_bytes(Path(f"examples/first-site/{name}").read_bytes())
    asyncio.run(filled(tmp_path / "deadletters.sqlite"))
    return str(main)


async def filled(path: Path) -> None:
    async with DeadLetters(path, DeadLetterSettings()) as letters:
        await letters.add(
            [
                DeadLetter(0, "mqtt/main", "t/a", reason, "why", payload, len(payload))
                for reason, payload in zip(("not_json", "not_utf8"), PAYLOADS, strict=True)
            ]
        )


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["deadletter", *words])


def test_letters_are_listed_shown_requested_and_purged(config: str) -> None:
    listed = invoke("list", config)
    assert (listed.exit_code, "t/a  not_json: why" in listed.stdout) == (0, True)
    document = json.loads(invoke("list", config, "--reason", "not_utf8", "--json").stdout)
    assert (document["held"], [x["id"] for x in document["letters"]]) == (2, [2])
    assert '{"p": }' in invoke("show", config, "1").stdout
    assert "ff 00" in invoke("show", config, "2").stdout
    assert json.loads(invoke("show", config, "2", "--json").stdout)["payload_text"] is None
    assert json.loads(invoke("reinject", config, "1", "2", "--json").stdout) == {"requested": 2}
    assert invoke("reinject", config, "9").exit_code == EXIT_FAILED
    assert invoke("purge", config, "--until", "1960-01-01").exit_code == EXIT_FAILED
    assert json.loads(invoke("purge", config, "--until", "2000-01-01", "--json").stdout) == {"purged": 2}
    assert invoke("list", config).stdout.strip() == "no dead letters"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("show", "5"), EXIT_CANNOT_RUN, "there is no dead letter 5"),
        (("reinject",), EXIT_USAGE, "give numbers, --reason or --source"),
        (("purge",), EXIT_USAGE, "give numbers"),
        (("purge", "1", "--all"), EXIT_USAGE, "give numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(config: str, words: tuple[str, ...], code: int, says: str) -> None:
    command, *rest = words
    done = invoke(command, config, *rest)
    assert done.exit_code == code
    assert says in done.stderr


def test_a_state_that_is_not_there_is_named(config: str, tmp_path: Path) -> None:
    (tmp_path / "deadletters.sqlite").unlink()
    done = invoke("list", config)
    assert (done.exit_code, "does not exist" in done.stderr) == (EXIT_CANNOT_RUN, True)
