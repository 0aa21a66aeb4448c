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
    """Questions that belong together, and the contents of their verified replies.

    Sent in one piece it counts as a whole: either every question is answered, or nothing that came is
    believed. For a reply that bears the number of another question alike to the same unit looks sound; but
    then one of the two has a reply too many or none.

    Asked in turn, each question waits for the reply to the one before, and no other is due that could be
    mistaken. So what was answered stays answered, except the reply that came along with a doubt.
    """

    __slots__ = (
        "asked",
        "contents",
        "done",
        "doubted",
        "fault",
        "heard_at",
        "in_turn",
        "numbers",
        "over_at",
        "queries",
        "refusals",
        "sent",
        "slowest_s",
        "unanswered",
    )

    def __init__(
        self,
        queries: Sequence[Query],
        asked: float = 0.0,
        numbers: Sequence[int] = (),
        *,
        in_turn: bool = False,
    ) -> None:
        self.queries = queries
        self.in_turn = in_turn
        """Whether each is asked when the one before is answered."""
        self.numbers = numbers
        """Of each, the number that it was sent with, where there are numbers."""
        self.asked = asked
        """Time at which the first was sent [s]."""
        self.contents: list[Content | None] = [None] * len(queries)
        """To be used when it is over and without fault; none is None then."""
        self.heard_at = [asked] * len(queries)
        """Time at which each reply came [s]."""
        self.over_at = asked
        """Time of the latest reply, or of the fault [s]."""
        self.unanswered = len(queries)
        """Questions without a reply."""
        self.done = not queries
        """Nothing more is asked: all are answered, or, in turn, a gateway does not reach the unit."""
        self.sent = 0
        """Questions that were sent, repeats included."""
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
        if not self.unanswered:
            self.done = True
        if content.__class__ is DeviceRefusedError:
            self._refused(content)

    def _refused(self, content: Content | None) -> None:
        self.refusals += 1
        if self.in_turn and isinstance(content, DeviceRefusedError) and content.is_unreachable:
            self.done = True

    @property
    def next(self) -> int:
        """Of one that is asked in turn, the place of the first question without a reply."""
        return len(self.queries) - self.unanswered

    def begin(self, asked: float, numbers: Sequence[int] = ()) -> None:
        """Notes that it is asked, or asked on from the first question without a reply, at a time [s]."""
        if self.unanswered == len(self.queries):
            self.asked = asked
        self.fault = self.doubted = None
        self.numbers, self.over_at = numbers, asked

    def take(self, other: Burst) -> None:
        """Takes the outcome of one that asked the next question alone."""
        i = self.next
        self.sent += 1
        self.over_at = other.over_at
        if other.fault is not None:
            self.fault, self.doubted = other.fault, other.doubted
            return
        (self.contents[i],), (self.heard_at[i],) = other.contents, other.heard_at
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.unanswered -= 1
        self.done = not self.unanswered
        if other.refusals:
            self._refused(self.contents[i])

    def fail(self, fault: ReplyTimeoutError | Fault, at: float) -> None:
        """Takes back what cannot be believed any more, for a reason that came up at a time [s]."""
        last = self.next - 1
        doubtful = last >= 0 and self.heard_at[last] == at
        self.fault = fault
        self.over_at = at
        if self.in_turn:
            if doubtful:
                self.refusals -= self.contents[last].__class__ is DeviceRefusedError
                self.contents[last] = None
                self.unanswered += 1
            return
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
