"""Puts dashboards into a running Grafana over its HTTP API, and tells how it differs from what was made.

The one place that knows grafana-client. The API is that of Grafana 9 to 12 (Grafana documentation, "HTTP
API": Dashboard, Dashboard versions, Folder, Data source).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import requests
from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError

from grafana.targets import DATASOURCE
from telemetry.errors import UnavailableError

MESSAGE = "made by greenbridge"
"""Stands with every version that was pushed; another text means that somebody has edited since."""

_SERVERS_OWN = frozenset({"id", "version"})
"""Keys of a dashboard that Grafana numbers by itself."""

_NOT_FOUND, _FORBIDDEN = 404, 403

Result = TypeVar("Result")


class GrafanaError(UnavailableError):
    """Grafana cannot be reached, or refuses what it was asked."""


class Outcome(StrEnum):
    """What became of a dashboard."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Editing:
    """Who changed a dashboard in Grafana itself since it was last pushed."""

    by: str
    at: str
    """As Grafana writes it."""


class Publisher:
    """Dashboards in one Grafana.

    Parameters
    ----------
    url
        Of the Grafana, with the path it is served under.
    token
        Of a service account with the role Editor.

    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._api = GrafanaApi.from_url(url, credential=token, timeout=20.0)

    def difference(self, document: Mapping[str, Any]) -> str:
        """What a push would change, as a unified diff; empty when Grafana has just this dashboard.

        Raises
        ------
        GrafanaError
            It cannot be asked.

        """
        held = self._held(document["uid"])
        before, after = _lines(held["dashboard"] if held else None), _lines(document)
        name = document["uid"]
        return "\n".join(difflib.unified_diff(before, after, f"Grafana/{name}", f"built/{name}", lineterm=""))

    def edited(self, uid: str) -> Editing | None:
        """The latest change of a dashboard, unless that was a push.

        Raises
        ------
        GrafanaError
            It cannot be asked.

        """
        found = self._ask(lambda: self._api.dashboard_versions.get_dashboard_versions_by_uid(uid, limit=1))
        # later versions wrap the list that earlier ones return
        versions = found["versions"] if isinstance(found, dict) else found
        newest = max(versions, key=lambda version: int(version["version"]), default=None)
        if newest is None or newest.get("message") == MESSAGE:
            return None
        return Editing(str(newest.get("createdBy", "somebody")), str(newest.get("created", "")))

    def push(self, document: Mapping[str, Any], folder: str, *, overwrite: bool = False) -> Outcome:
        """Puts a dashboard into a folder, which is made if it is missing.

        Raises
        ------
        GrafanaError
            It cannot be asked, or refuses; or somebody has edited the dashboard there, and ``overwrite`` is
            False.

        """
        uid = document["uid"]
        held = self._held(uid)
        if held is not None:
            if _lines(held["dashboard"]) == _lines(document):
                return Outcome.UNCHANGED
            if held.get("meta", {}).get("provisioned"):
                raise GrafanaError(
                    f"{self._url} loads {uid} from a file ({held['meta'].get('provisionedExternalId', '')}): "
                    "write that file with `greenbridge dashboards build` instead"
                )
            edited = None if overwrite else self.edited(uid)
            if edited is not None:
                raise GrafanaError(
                    f"{edited.by} has changed {uid} in {self._url} ({edited.at}): see what with `greenbridge "
                    "dashboards diff`, then push with --overwrite to replace it"
                )
        self._check_source(document)
        request = {
            "dashboard": {**document, "id": None},
            "folderUid": self._folder(folder),
            "message": MESSAGE,
            "overwrite": True,
        }
        self._ask(lambda: self._api.dashboard.update_dashboard(request))
        return Outcome.CREATED if held is None else Outcome.UPDATED

    def _held(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._found(lambda: self._api.dashboard.get_dashboard(uid))
        return found

    def _folder(self, title: str) -> str:
        """Uid of the folder with a title."""
        for folder in self._ask(self._api.folder.get_all_folders):
            if folder["title"] == title:
                return str(folder["uid"])
        return str(self._ask(lambda: self._api.folder.create_folder(title))["uid"])

    def _check_source(self, document: Mapping[str, Any]) -> None:
        uid = source_of(document)
        if self._found(lambda: self._api.datasource.get_datasource_by_uid(uid)) is None:
            raise GrafanaError(
                f"{self._url} has no data source with uid {uid}: provision one (grafana/provisioning), or "
                "name another with --datasource"
            )

    def _found(self, request: Callable[[], Result]) -> Result | None:
        """The answer, or None where there is no such thing."""
        try:
            return self._asked(request)
        except GrafanaClientError as error:
            if error.status_code == _NOT_FOUND:
                return None
            raise self._refused(error) from error

    def _ask(self, request: Callable[[], Any]) -> Any:
        try:
            return self._asked(request)
        except GrafanaException as error:
            raise self._refused(error) from error

    def _asked(self, request: Callable[[], Result]) -> Result:
        try:
            return request()
        except requests.exceptions.SSLError as error:
            raise GrafanaError(
                f"the certificate of {self._url} cannot be verified: set REQUESTS_CA_BUNDLE to the file of "
                f"your authority ({error})"
            ) from error
        except requests.exceptions.RequestException as error:
            raise GrafanaError(f"no Grafana answers at {self._url}: check --url ({error})") from error
        except ValueError as error:
            raise GrafanaError(f"what answers at {self._url} is not Grafana's API: check --url") from error

    def _refused(self, error: GrafanaException) -> GrafanaError:
        if isinstance(error, GrafanaUnauthorizedError):
            return GrafanaError(f"{self._url} does not know the token: make a new one and put it in its file")
        if error.status_code == _FORBIDDEN:
            return GrafanaError(f"{self._url} forbids it: give the token's service account the role Editor")
        return GrafanaError(f"{self._url} refuses: {error.message}")


def with_source(document: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """A dashboard that reads another data source."""
    text = json.dumps(document)
    return dict(json.loads(text.replace(json.dumps(DATASOURCE.uid), json.dumps(uid))))


def source_of(document: Mapping[str, Any]) -> str:
    """Uid of the data source that a dashboard reads."""
    panel = next(panel for panel in document["panels"] if panel.get("targets"))
    return str(panel["targets"][0]["datasource"]["uid"])


def _lines(document: Mapping[str, Any] | None) -> list[str]:
    if document is None:
        return []
    compared = {key: value for key, value in document.items() if key not in _SERVERS_OWN}
    return json.dumps(compared, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
