"""A stand-in for Grafana, written from its published HTTP API description (Grafana documentation 12.4, "HTTP
API": Dashboard, Dashboard versions, Folder, Data source); no Grafana was run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_good"
READER = "glsa_reader"


class FakeGrafana:
    """What it holds; ``url`` is where it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.wrapped_versions = True
        """Grafana 12 wraps the list of versions, earlier ones do not."""
        self.folders: list[dict[str, Any]] = []
        self.sources = {"greenbridge-influxql"}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.provisioned: set[str] = set()

    def save(self, document: dict[str, Any], who: str, message: str, folder: str = "") -> int:
        """Keeps a version of a dashboard, as the page or a client does."""
        uid = document["uid"]
        number = len(self.versions.setdefault(uid, [])) + 1
        self.dashboards[uid] = {**document, "id": 7, "version": number, "folder": folder}
        self.versions[uid].append(
            {"version": number, "createdBy": who, "created": "2026-11-24T10:00:00Z", "message": message}
        )
        return number

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        if token not in {TOKEN, READER}:
            return 401, {"message": "Invalid API key"}
        if method == "POST" and token == READER:
            return 403, {"message": "You'll need additional permissions to perform this action."}
        words = path.strip("/").split("/")[1:]
        found = self._shown(words) if method == "GET" else self._taken(words, body)
        return (404, {"message": "not found"}) if found is None else (200, found)

    def _shown(self, words: list[str]) -> Any:
        match words:
            case ["folders"]:
                return self.folders
            case ["datasources", "uid", uid] if uid in self.sources:
                return {"uid": uid, "type": "influxdb"}
            case ["dashboards", "uid", uid] if uid in self.dashboards:
                held = {key: value for key, value in self.dashboards[uid].items() if key != "folder"}
                meta = {"provisioned": uid in self.provisioned, "provisionedExternalId": f"{uid}.json"}
                return {"dashboard": held, "meta": meta}
            case ["dashboards", "uid", uid, "versions"] if uid in self.dashboards:
                newest = list(reversed(self.versions[uid]))[:1]
                return {"continueToken": "", "versions": newest} if self.wrapped_versions else newest
        return None

    def _taken(self, words: list[str], body: Any) -> Any:
        if words == ["folders"]:
            self.folders.append({"uid": f"f{len(self.folders)}", "title": body["title"]})
            return self.folders[-1]
        known = {folder["uid"] for folder in self.folders}
        if words != ["dashboards", "db"] or body["folderUid"] not in known:
            return None
        number = self.save(body["dashboard"], "sa-greenbridge", body["message"], body["folderUid"])
        return {"uid": body["dashboard"]["uid"], "version": number, "status": "success"}


@contextmanager
def served() -> Iterator[FakeGrafana]:
    """A stand-in that listens on loopback."""
    grafana = FakeGrafana()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            body = json.loads(text) if self.command == "POST" else None
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = grafana.answer(self.command, self.path.partition("?")[0], token, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - names that the base class calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="fake-grafana")
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
