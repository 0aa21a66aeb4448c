"""TLS to devices and brokers: always verified, with a client certificate where one is asked for."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import Field

from telemetry.errors import ConfigError, Problem
from telemetry.settings import Settings

_File = Annotated[str, Field(min_length=1)]


class TlsSettings(Settings):
    """Keys and certificates. There is no way to leave out the verification of the peer."""

    ca_file: _File | None = None
    """Certificates of the authorities that may vouch for the peer (PEM); without it the system's."""
    certificate_file: _File | None = None
    """Own certificate, with those that lead to its authority (PEM)."""
    key_file: _File | None = None
    """Key of the own certificate (PEM); without it, it stands in the certificate's file."""
    key_password_file: _File | None = None
    """File whose first line unlocks the key."""

    def context(self, where: str) -> ssl.SSLContext:
        """What a client connects with: TLS 1.2 or later, host name checked.

        Parameters
        ----------
        where
            Names the connection in an error.

        Raises
        ------
        ConfigError
            A file cannot be read or does not hold what it should.

        """
        if self.certificate_file is None and (self.key_file or self.key_password_file):
            fault = Problem(where, "tls.certificate_file", "", "a key without certificate", "name its file")
            raise ConfigError([fault])
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise _fault(where, "tls.ca_file", self.ca_file, error) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file is not None:
            password = self._password(where)
            try:
                # a password must be given: without one OpenSSL would ask at the terminal
                context.load_cert_chain(self.certificate_file, self.key_file, password or (lambda: ""))
            except (OSError, ValueError) as error:
                raise _fault(where, "tls.certificate_file", self.certificate_file, error) from None
        return context

    def _password(self, where: str) -> str:
        if self.key_password_file is None:
            return ""
        try:
            lines = Path(self.key_password_file).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _fault(where, "tls.key_password_file", self.key_password_file, error) from None
        return lines[0] if lines else ""


def _fault(where: str, key: str, file: str | None, error: Exception) -> ConfigError:
    words = getattr(error, "reason", None)  # of OpenSSL
    reason = words.lower().replace("_", " ") if words else getattr(error, "strerror", None) or str(error)
    fix = "name readable PEM files that belong to each other"
    return ConfigError([Problem(where, key, f'"{file or ""}"', f"cannot be used: {reason}", fix)])
