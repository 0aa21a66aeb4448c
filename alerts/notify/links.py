"""Links in messages: to the console, and to the page on which one alarm can be acknowledged."""

from __future__ import annotations

from alerts.notify.config import Links
from alerts.notify.secret import Where, secret_in
from alerts.notify.signing import MIN_KEY, Claim, LinkError, signed, verified

PATH = "/acknowledge/"
"""Of the console's page; the token follows."""
_HOUR = 3_600_000_000_000


class MessageLinks:
    """Makes and reads links of one site.

    Parameters
    ----------
    settings
        The table.
    file
        That holds it, for errors.

    Raises
    ------
    ConfigError
        The key cannot be read, or is too short.

    """

    def __init__(self, settings: Links, file: str) -> None:
        self.console = settings.console_url.rstrip("/")
        """Address of the console."""
        self._lasts = round(settings.hours * _HOUR)
        self._key = b""
        if settings.key_file is not None:
            where = Where(file, "alerts.notify.links.key_file")
            key = secret_in(settings.key_file, where)
            if len(key) < MIN_KEY:
                fix = f"write at least {MIN_KEY} random characters into it"
                raise where.refused(settings.key_file, "the key is too short", fix)
            self._key = key.encode()

    @property
    def acknowledges(self) -> bool:
        """Whether alarms can be acknowledged by link."""
        return bool(self._key)

    def acknowledge(self, alarm_id: str, recipient: str, now: int) -> str:
        """Where a recipient can acknowledge an alarm for some time from now on; empty without a key."""
        if not self._key:
            return ""
        token = signed(self._key, Claim(alarm_id, recipient, now + self._lasts))
        return f"{self.console}{PATH}{token}"

    def read(self, token: str, now: int) -> Claim:
        """What a token proves.

        Raises
        ------
        LinkError
            It proves nothing, or nothing any more.

        """
        if not self.acknowledges:
            raise LinkError("there is no key that links are signed with; nothing was acknowledged")
        return verified(self._key, token, now)
