"""The corridor's accounts: every tie is settled by its main meters, with the check meters beside them."""

from __future__ import annotations

from alerts.settlement.accounts import Accounts
from greenbridge.settings import load
from telemetry.registry import PointRegistry


def test_every_tie_has_its_check_meters() -> None:
    configuration = load("corridor", {})
    site = configuration.site(PointRegistry(configuration.keys()))
    accounts = Accounts.of(site)
    found = {}
    for account in accounts.ties:
        for metering in (account.delivery, account.far):
            assert metering is not None
            assert metering.check is not None
            assert set(metering.check.points) <= set(metering.points) <= set(accounts.points)
            found[metering.device] = metering.check.device
    assert len(found) == 8
    assert found["SHY-TAS_TAS_main"] == "SHY-TAS_TAS_check"
