"""What a refused request is answered: JSON with the fault and the fix."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response


class ApiError(Exception):
    """A request that cannot be answered as asked.

    Arguments
    ---------
    status
        HTTP status code.
    error
        What is wrong, naming the thing.
    fix
        What to do about it.
    headers
        Further headers of the answer.

    """

    def __init__(
        self, status: int, error: str, fix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.fix = fix
        self.headers = dict(headers or {})


class ProblemView(msgspec.Struct, frozen=True):
    """Body of every answer that is not a success."""

    error: str
    fix: str


def problem_response(error: ApiError) -> Response:
    """The answer for an error."""
    return json_response(ProblemView(error.error, error.fix), error.status, error.headers)


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; NaN and infinities become null."""
    return Response(msgspec.json.encode(body), status, headers, "application/json")
