"""Questions that go out together, and what became of them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Query
from telemetry.errors import UnavailableError


class ReplyTimeoutError(UnavailableError):
    """No reply in time; the connection is closed or drained, so that a late one is never read."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.shared = shared
        """Whether other requests were in flight at the same time."""


class ConnectionLostError(UnavailableError):
    """The connection cannot be made, or the other side closed it."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.shared = shared
        """Whether several requests were in flight when it was closed."""


class ConnectionGivenUpError(UnavailableError):
    """The connection was closed for another request's sake; this one may be asked again at once."""


Fault = ProtocolDoubtError | ConnectionLostError | ConnectionGivenUpError
"""What ends a connection."""
Content = bytes | DeviceRefusedError
"""What a sound reply says."""


class Burst:
    """Questions that are sent in one piece, and the contents of their verified replies.

    It counts as a whole: either every question is answered, or nothing that came is believed. For a reply
    that bears the number of another question alike to the same unit looks sound; but then one of the two has
    a reply too many or none.
    """

    __slots__ = (
        "asked",
        "contents",
        "doubted",
        "fault",
        "heard_at",
        "numbers",
        "over_at",
        "queries",
        "refusals",
        "slowest_s",
        "unanswered",
    )

    def __init__(self, queries: Sequence[Query], asked: float = 0.0, numbers: Sequence[int] = ()) -> None:
        self.queries = queries
        self.numbers = numbers
        """Of each, the number that it was sent with, where there are numbers."""
        self.asked = asked
        """Time at which they were sent [s]."""
        self.contents: list[Content | None] = [None] * len(queries)
        """To be used when it is over and without fault; none is None then."""
        self.heard_at = [asked] * len(queries)
        """Time at which each reply came [s]."""
        self.over_at = asked
        """Time of the latest reply, or of the fault [s]."""
        self.unanswered = len(queries)
        """Questions without a reply."""
        self.refusals = 0
        """Replies that are exceptions."""
        self.slowest_s = 0.0
        """Longest wait for a reply, from the sending or the reply before [s]."""
        self.fault: ReplyTimeoutError | Fault | None = None
        """Why nothing is believed."""
        self.doubted: Query | None = None
        """The question whose reply is in doubt, where that is known."""

    def answer(self, i: int, content: Content, at: float) -> None:
        """Notes the content of the verified reply to a question, which came at a time [s]."""
        if at != self.over_at:  # not along with the one before
            self.slowest_s = max(self.slowest_s, at - self.over_at)
            self.over_at = at
        self.contents[i] = content
        self.heard_at[i] = at
        self.unanswered -= 1
        if content.__class__ is DeviceRefusedError:
            self.refusals += 1

    def fail(self, fault: ReplyTimeoutError | Fault, at: float) -> None:
        """Takes back everything, for a reason that came up at a time [s]."""
        self.fault = fault
        self.over_at = at
        self.contents = [None] * len(self.queries)
        self.refusals = 0
        self.slowest_s = 0.0

    def data(self) -> list[bytes]:
        """The data of the replies, of a burst without fault and refusals."""
        return [content for content in self.contents if isinstance(content, bytes)]

    def content(self) -> bytes:
        """The content of the reply to the only question.

        Raises
        ------
        DeviceRefusedError
            The device answered with an exception.
        ReplyTimeoutError, ProtocolDoubtError, ConnectionLostError, ConnectionGivenUpError
            There is no sound reply.

        """
        (content,) = self.contents
        if isinstance(content, bytes):
            return content
        raise content or self.fault or ReplyTimeoutError("no reply yet")
