"""What is said of a broker that cannot be used: which one, what is wrong, and what to do."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.broker_faults import explained
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt_client import ManualAckClient
from adapters.mqtt_session import BrokerLostError, Credentials, Session
from adapters.tls import TlsSettings
from telemetry.clock import SystemClock
from tests.adapters.brokers import Broker, mosquitto_broker


@pytest.mark.parametrize(
    ("fault", "tls", "fix"),
    [
        ("b cannot be found: Name or service not known", False, "check its name"),
        ("b:1 cannot be reached: Connection refused", False, "check the port"),
        ("b:1 cannot be reached: Connection refused", True, "check the port"),
        ("[code:134] Bad user name or password", False, "check username and password"),
        ("[code:135] Not authorized", True, "check username and password"),
        ("[code:133] Client identifier not valid", False, "client_id"),
        ("[code:132] Unsupported protocol version", False, "the other version of MQTT"),
        ("[code:136] Server unavailable", False, "ask those who run the broker"),
        ("[SSL: X] certificate verify failed: Hostname mismatch, not valid for 'b'", True, "a name that its"),
        ("[SSL: X] certificate verify failed: certificate has expired (_ssl.c:1)", True, "renew"),
        ("[SSL: X] certificate verify failed: self-signed certificate", True, "ca_file"),
        ("hung up (tlsv13 alert certificate required)", True, "certificate_file"),
        ("[SSL: X] tlsv1 alert unknown ca (_ssl.c:2580)", True, "certificate_file"),
        ("[Errno 104] Connection reset by peer", True, "does it speak TLS"),
        ("timed out", False, "does it want TLS"),
        ("anything else", False, "the broker's log"),
    ],
)
def test_each_fault_names_the_broker_and_the_fix(fault: str, tls: bool, fix: str) -> None:
    told = explained("b", 1, fault, tls=tls)
    thing, _, remedy = told.partition("; ")
    assert fix in remedy
    assert thing.startswith("b")
    assert "_ssl.c" not in told
    assert "[SSL" not in told


LISTENER = """
listener {{port}} 127.0.0.1
cafile {keys}/ca.pem
certfile {keys}/server.pem
keyfile {keys}/server.key
require_certificate {required}
{access}
user root
"""


@pytest.fixture
async def guarded(certificates: Path, tmp_path: Path) -> AsyncIterator[Broker]:
    """Asks for a password, over TLS."""
    passwords = tmp_path / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", str(passwords), "u", "right"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    access = f"allow_anonymous false\npassword_file {passwords}"
    more = LISTENER.format(keys=certificates, required="false", access=access)
    async with mosquitto_broker(tmp_path, more) as broker:
        yield broker


async def refusal(
    broker: Broker, tls: TlsSettings | None, password: str | None = None, **more: object
) -> str:
    values = {"id": "main", "host": "localhost", "port": broker.port, "client_id": "x", "tls": tls}
    settings = BrokerSettings.model_validate(values | {"username": "u", "timeout_s": 30} | more)
    credentials = Credentials(password, None if tls is None else tls.context("test"))
    with pytest.raises(BrokerLostError) as refused:
        async with ManualAckClient(settings, SystemClock(), credentials, Session()):
            pass
    return str(refused.value)


@pytest.mark.system("mosquitto")
async def test_what_is_wrong_with_password_authority_name_or_transport_is_told(
    guarded: Broker, certificates: Path
) -> None:
    known = TlsSettings(ca_file=str(certificates / "ca.pem"))
    where = f"localhost:{guarded.port}: "
    for version in ("3.1.1", "5"):
        told = await refusal(guarded, known, "wrong", version=version)
        assert told.startswith(where)
        assert told.endswith("; check username and password, and what the broker lets this client do")
    other = TlsSettings(ca_file=str(certificates / "other.pem"))
    assert "name the authority that vouches for the broker (ca_file)" in await refusal(guarded, other)
    assert "a name that its certificate bears" in await refusal(guarded, known, host="127.0.0.1")
    assert "does it want TLS?" in await refusal(guarded, None)


@pytest.mark.system("mosquitto")
async def test_a_client_without_the_certificate_that_a_broker_wants_is_told_so(
    certificates: Path, tmp_path: Path
) -> None:
    more = LISTENER.format(keys=certificates, required="true", access="allow_anonymous true")
    async with mosquitto_broker(tmp_path, more) as broker:
        told = await refusal(broker, TlsSettings(ca_file=str(certificates / "ca.pem")))
    # the broker's word, or only its hanging up, whichever is read first
    assert "certificate_file" in told or "want a certificate of ours?" in told
