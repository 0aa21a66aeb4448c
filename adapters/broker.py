"""What every connection to an MQTT broker is set up with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from adapters.tls import TlsSettings
from telemetry.errors import ConfigError, Problem
from telemetry.points import Identifier
from telemetry.settings import Settings

Seconds = Annotated[float, Field(gt=0, le=3600)]


class BrokerConnection(Settings):
    """One connection to a broker."""

    id: Identifier
    """Name that devices refer to."""
    host: Annotated[str, Field(min_length=1)]
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    version: Literal["3.1.1", "5"] = "3.1.1"
    """Version of MQTT."""
    client_id: Annotated[str, Field(min_length=1, max_length=65535)]
    """Name of the session: stable over restarts, and used by no other client of the broker."""
    username: str | None = None
    password_file: str | None = None
    """File whose first line is the password."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    tls: TlsSettings | None = None
    """Keys and certificates; without this table the connection is not encrypted."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 30
    """Longest silence before the connection is probed [s]."""
    timeout_s: Seconds = 3.0
    """Longest wait for the broker's answer to a connection or subscription [s]."""
    max_unacknowledged: Annotated[int, Field(ge=1, le=65535)] = 2000
    """Messages held in memory and not acknowledged; beyond it, nothing more is read from the broker."""
    max_payload: Annotated[int, Field(ge=1, le=268_435_455)] = 262_144
    """Largest payload that is decoded [B]; a larger one becomes a dead letter."""
    backoff_first_s: Seconds = 0.5
    """First pause after a failed connection [s]; it doubles from there."""
    backoff_max_s: Seconds = 15.0
    """Longest pause between attempts [s]."""

    def password(self, environment: Mapping[str, str]) -> str | None:
        """Reads the password; None when none is configured.

        Raises
        ------
        ConfigError
            The file cannot be read, the variable is not set, or both are given.

        """
        where = f"broker {self.id}"
        if self.password_file is not None and self.password_env is not None:
            fault = Problem(where, "password_env", "", "password_file is given too", "keep one of them")
            raise ConfigError([fault])
        if self.password_env is not None:
            if self.password_env not in environment:
                fault = Problem(
                    where, "password_env", self.password_env, "environment variable is not set", "set it"
                )
                raise ConfigError([fault])
            return environment[self.password_env]
        if self.password_file is None:
            return None
        try:
            lines = Path(self.password_file).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            fault = Problem(
                where,
                "password_file",
                self.password_file,
                f"cannot be read: {getattr(error, 'strerror', None) or error}",
                "make it readable",
            )
            raise ConfigError([fault]) from None
        return lines[0] if lines else ""
