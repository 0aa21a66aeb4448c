"""Parameters of requests, read strictly."""

from __future__ import annotations

from starlette.requests import Request

from console.problems import ApiError


def integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query string.

    Raises
    ------
    ApiError
        It is not one, or out of range.

    """
    text = request.query_params.get(name)
    if text is None:
        return default
    # a short, plain number only: int() also takes underscores, blanks and thousands of digits
    if not (text.isascii() and text.isdigit() and len(text) <= 17 and low <= int(text) <= high):
        raise ApiError(
            400, f"{name} = {shown(text)} is not usable", f"give a whole number from {low} to {high}"
        )
    return int(text)


def shown(text: str) -> str:
    """What somebody sent, cut to a length fit for an answer."""
    return repr(text if len(text) <= 80 else text[:79] + "…")
