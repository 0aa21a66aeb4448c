"""``greenbridge notify`` and what ``greenbridge check`` says of people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from greenbridge.cli import app
from tests.support.apprise import apprise_workers

__all__ = ["apprise_workers"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "first-site"
NOTIFY = """
[alerts.notify]
time_zone = "Asia/Almaty"
[[alerts.notify.recipient]]
id = "ann"
language = "ru"
address = [{{ id = "hook", url = "{url}" }}, {{ id = "mail", apprise_file = "{mail}" }}]
[[alerts.notify.recipient]]
id = "bob"
address = [{{ id = "hook", url = "{url}/refused" }}]
[[alerts.notify.rotation]]
id = "duty"
turn = [{{ people = ["ann", "bob"], first = 2026-11-02T08:00:00 }}]
[[alerts.notify.route]]
id = "grave"
priorities = ["high", "urgent"]
to = ["duty"]
escalate = [{{ after_min = 10, to = ["bob"] }}]
[[alerts.notify.route]]
id = "day"
begins = "08:00"
ends = "20:00"
to = ["duty"]
[[alerts.notify.route]]
id = "rest"
to = []
[alerts.notify.quiet]
"""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(403 if self.path == "/refused" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site(tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]) -> Path:
    directory = tmp_path / "site"
    shutil.copytree(EXAMPLE, directory)
    mail = tmp_path / "mail"
    mail.write_text(f"json://{hook[0].removeprefix('http://')}/\n")
    with (directory / "greenbridge.toml").open("a") as file:
        file.write(NOTIFY.format(url=hook[0], mail=mail))
    return directory


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["notify", *map(str, arguments)])
    return result.exit_code, result.output


def test_who_would_be_told(site: Path) -> None:
    code, said = run("who", site, "--at", "2026-11-04T23:30")
    assert code == 0
    assert said == (
        "At Wed 2026-11-04 23:30 (Asia/Almaty), Wed 2026-11-04 18:30 UTC\n"
        "on call in duty: ann, until Mon 2026-11-09 08:00 (Asia/Almaty), then bob\n"
        "routes that hold now; the first that matches an alarm counts:\n"
        "  grave: priorities high/urgent\n"
        "    at once: ann\n"
        "    not acknowledged after 10 min: bob\n"
        "  rest: everything else\n"
        "    at once: nobody\n"
        "quiet: low, medium alarms wait for ann until Thu 2026-11-05 07:00 (Asia/Almaty)\n"
        "quiet: low, medium alarms wait for bob until Thu 2026-11-05 07:00 (Asia/Almaty)\n"
    )
    code, said = run("who", site, "--at", "2026-11-09T12:00+05:00", "--json")
    document = json.loads(said)
    assert document["rotations"][0]["person"] == "bob"
    assert [row["route"] for row in document["routes"]] == ["grave", "day", "rest"]
    assert document["quiet"] == []
    said = run("who", EXAMPLE)[1]
    assert said.endswith("nobody is told: [alerts.notify] has no route\n")
    assert said.count("UTC") == 1, "one time where its zone is UTC"
    code, said = run("who", site, "--at", "tomorrow")
    assert (code, "write 2026-12-31T22:00" in said) == (2, True)


@pytest.mark.usefixtures("apprise_workers")
def test_a_test_reaches_every_address(site: Path, hook: tuple[str, list[dict[str, Any]]]) -> None:
    code, said = run("test", site, "ann")
    assert (code, said) == (0, "ann/hook: delivered\nann/mail: delivered\n")
    document, mail = hook[1]
    assert document["occasion"] == "test"
    assert mail["title"] == "Проверка: greenbridge can reach you; nothing has happened"


def test_a_test_that_does_not_arrive(site: Path, tmp_path: Path) -> None:
    code, said = run("test", site, "bob", "--json")
    assert code == 1
    assert "answered 403" in json.loads(said)["bob/hook"]
    code, said = run("test", site, "bop")
    assert (code, 'no recipient or rotation bop (did you mean "bob"?)' in said) == (2, True)
    (tmp_path / "mail").unlink()
    code, said = run("test", site, "ann")
    assert code == 2
    assert "alerts.notify.recipient[0].address[1].apprise_file" in said
    assert "No such file or directory" in said


def test_check_counts_people_and_warns_of_drafts(site: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(site)])
    assert result.exit_code == 0
    assert "told      2 recipients" in result.output
    assert "messages in ru are a draft that nobody has reviewed" in result.output


def test_check_refuses_a_gap_and_links_that_lead_nowhere(site: Path) -> None:
    file = site / "greenbridge.toml"
    text = file.read_text().replace("08:00:00 }", '08:00:00, days = ["mon"] }')
    file.write_text(text + '[alerts.notify.links]\nconsole_url = "https://gb.example.org"\n')
    result = CliRunner().invoke(app, ["check", str(site)])
    assert result.exit_code == 2
    assert "a gap: nobody is on call from Tue 00:00 to Mon 00:00" in result.output
    assert "the console does not answer to the name gb.example.org (write allowed_hosts" in result.output
