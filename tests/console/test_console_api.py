from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from alerts.alarms import AlarmState, Indeterminate, Priority
from alerts.settlement.interval import AccountKind, EnergyQuality, Interval
from alerts.settlement.running import Running
from console.ports import Announcement
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality
from tests.console.rig import TOKEN, Rig, make_alarm, served

POWER = "SHY-TAS_SHY_main/TotW"
S = 1_000_000_000


async def test_the_token_opens_a_session_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/session", json={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert (await client.get("/api/v1/session")).json()["who"] == "operator"
    again = await client.post("/api/v1/session", json={"token": TOKEN})
    assert again.status_code == 401
    assert (await client.delete("/api/v1/session")).status_code == 204
    assert (await client.get("/api/v1/session")).status_code == 401


async def test_looking_at_the_sign_in_page_uses_nothing_up(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        page = await client.get(f"/signin?token={TOKEN}")
        assert page.status_code == 200
        assert TOKEN not in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
    assert (await client.post("/api/v1/session", json={"token": TOKEN})).status_code == 200


async def test_wrong_tokens_are_slowed_down(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/api/v1/session", json={"token": "wrong" * 9}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await client.post("/api/v1/session", json={"token": TOKEN})).status_code == 429


async def test_another_sites_page_cannot_sign_in_or_act(client: httpx.AsyncClient) -> None:
    foreign = {"origin": "http://evil.example"}
    assert (await client.post("/api/v1/session", json={"token": TOKEN}, headers=foreign)).status_code == 403
    rebound = {"host": "evil.example"}
    assert (await client.get("/healthz", headers=rebound)).status_code == 400


async def test_health_readiness_and_metrics_are_open(client: httpx.AsyncClient, rig: Rig) -> None:
    assert (await client.get("/healthz")).text == "ok"
    assert (await client.get("/readyz")).status_code == 200
    rig.status.current = type(rig.status.current)(
        **{name: getattr(rig.status.current, name) for name in rig.status.current.__slots__}
        | {"not_ready": "the journal is being checked"}
    )
    waiting = await client.get("/readyz")
    assert (waiting.status_code, waiting.text) == (503, "the journal is being checked")
    assert "greenbridge_console_requests_total" in (await client.get("/metrics")).text


async def test_newest_readings_carry_their_quality(operator: httpx.AsyncClient, rig: Rig) -> None:
    power, injection = rig.point(POWER), rig.point("TAS_injection/TotW")
    rig.live.put(power, -322.123456789, t_source=5 * S)
    rig.live.put(injection, math.nan, Quality.DEVICE_TIMEOUT, t_source=6 * S)
    answer = await operator.get("/api/v1/last", params={"point": [POWER, "TAS_injection/TotW"]})
    assert answer.json() == [
        [power, -322.123, 0, "good", 5000],
        [injection, None, Quality.DEVICE_TIMEOUT, "device_timeout", 6000],
    ]
    by_device = await operator.get("/api/v1/last", params={"device": "SHY-TAS_SHY_main"})
    assert [reading[0] for reading in by_device.json()] == [power]


async def test_the_trend_of_a_point(operator: httpx.AsyncClient, rig: Rig) -> None:
    point = rig.point(POWER)
    seconds = [*range(100), *range(200, 300)]
    batch = ReadingBatch.of(
        "test",
        1,
        1,
        0,
        point=[point] * 200,
        t_source=[t * S for t in seconds],
        value=[float(t % 10) for t in seconds],
        quality=[0] * 200,
    )
    await rig.store.apply([JournalRecord(1, 0, 0, batch)])
    query = {"point": POWER, "start": "0", "end": "300000", "intervals": "30"}
    trend = (await operator.get("/api/v1/series", params=query)).json()
    assert trend["step"] == 10_000
    assert (trend["unit"], trend["path"]) == ("MW", POWER)
    assert trend["mean"] == [4.5] * 10 + [None] + [4.5] * 10
    assert (trend["low"][0], trend["high"][0]) == (0.0, 9.0)


async def test_alarms_are_listed_and_acknowledged(operator: httpx.AsyncClient, rig: Rig) -> None:
    now = rig.clock.now_ns()
    await rig.desk.put(make_alarm(now, value=math.nan))
    rig.desk.unjudged = [Indeterminate("R6", "SHY-TAS", "leg stale", now)]
    listed = (await operator.get("/api/v1/alarms")).json()
    (alarm,) = listed["alarms"]
    assert (listed["version"], alarm["state"], alarm["value"]) == (1, "unacknowledged", None)
    assert alarm["evidence"]["P at SHY [MW]"] == -307.4
    assert listed["indeterminate"] == (await operator.get("/api/v1/indeterminate")).json()
    body = {"comment": "  calling Tashkent "}
    answer = await operator.post(f"/api/v1/alarms/{alarm['id']}/acknowledge", json=body)
    assert answer.status_code == 200
    (alarm,) = (await operator.get("/api/v1/alarms/history")).json()
    assert (alarm["state"], alarm["acknowledged_by"], alarm["comment"]) == (
        "acknowledged",
        "operator",
        "calling Tashkent",
    )


async def test_alarms_are_shelved_taken_back_and_reset(operator: httpx.AsyncClient, rig: Rig) -> None:
    now = rig.clock.now_ns()
    await rig.desk.put(make_alarm(now))
    await rig.desk.put(make_alarm(now, id="R8-A-2", key="R8/A", priority=Priority.URGENT))
    await rig.desk.put(make_alarm(now, id="R8-B-3", key="R8/B", state=AlarmState.LATCHED_ACKNOWLEDGED))
    body = {"reason": " patrol ", "minutes": 30}
    answer = await operator.post("/api/v1/alarms/R6-SHY-TAS-1/shelve", json=body)
    assert (answer.json()["state"], answer.json()["held_reason"]) == ("shelved", "patrol")
    listed = (await operator.get("/api/v1/alarms")).json()
    assert [alarm["id"] for alarm in listed["held"]] == ["R6-SHY-TAS-1"]
    assert [(o["condition"], o["who"], o["until"] - o["since"]) for o in listed["orders"]] == [
        ("R6/SHY-TAS", "operator", 1_800_000)
    ]
    for path, sent, status in [
        ("R8-A-2/shelve", body, 409),
        ("R9-X-1/shelve", body, 404),
        ("R8-B-3/shelve", {"reason": "x", "minutes": 0}, 400),
        ("R8-B-3/shelve", {"minutes": 5}, 400),
        ("R8-B-3/shelve", {"reason": "x" * 501, "minutes": 5}, 400),
        ("R8-A-2/unshelve", {}, 409),
        ("R8-A-2/reset", {}, 409),
        ("R8-B-3/reset", {"why": 1}, 400),
        ("R8-B-3/reset", {}, 200),
        ("R6-SHY-TAS-1/unshelve", {}, 200),
    ]:
        answer = await operator.post(f"/api/v1/alarms/{path}", json=sent)
        assert answer.status_code == status, (path, answer.text)
        if status >= 400:
            assert answer.json()["fix"]
    listed = (await operator.get("/api/v1/alarms")).json()
    assert (listed["held"], listed["orders"]) == ([], [])


async def test_status_and_announcements(operator: httpx.AsyncClient, rig: Rig) -> None:
    rig.status.committed(100, 50.0, 2)
    rig.announcements.made.append(Announcement(7 * S, "Exercise"))
    status = (await operator.get("/api/v1/status")).json()
    (store,) = status["stores"]
    assert (store["received"], store["stored"], store["holds"]) == (100, 100, True)
    assert (await operator.get("/api/v1/announcements")).json() == [{"t": 7000, "text": "Exercise"}]


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("last", 400, "point"),
        ("last?point=SHY/Nothing", 404, "SHY/Nothing"),
        ("last?device=Nothing", 404, "Nothing"),
        ("last?point=" + "&point=".join([POWER] * 1001), 400, "1000"),
        ("series", 400, "point"),
        ("series?point=" + "x" * 500, 404, "…"),
        (f"series?point={POWER}&start=-1", 400, "start"),
        (f"series?point={POWER}&start=1_0", 400, "start"),
        (f"series?point={POWER}&start=%C2%B2", 400, "start"),
        (f"series?point={POWER}&start=" + "9" * 5000, 400, "start"),
        (f"series?point={POWER}&start=5&end=5", 400, "span"),
        (f"series?point={POWER}&start=0&end=8796093022208", 400, "span"),
        (f"series?point={POWER}&intervals=0", 400, "intervals"),
        (f"series?point={POWER}&intervals=2001", 400, "intervals"),
        ("alarms/history?limit=1001", 400, "limit"),
        ("nothing", 404, "Not Found"),
    ],
)
async def test_bad_questions_are_told_what_is_wrong(
    operator: httpx.AsyncClient, query: str, status: int, named: str
) -> None:
    answer = await operator.get(f"/api/v1/{query}")
    assert answer.status_code == status
    problem = answer.json()
    assert named in problem["error"] + problem["fix"]
    assert len(answer.text) < 500


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"token=x", "application/x-www-form-urlencoded", 415),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"comment": 5}', "application/json", 400),
        (b'{"who": "admin"}', "application/json", 400),
        (b'{"comment": "' + b"x" * 501 + b'"}', "application/json", 400),
        (b'{"comment": "\xff"}', "application/json", 400),
        (b"[" * 10000, "application/json", 400),
        (b"x" * 20000, "application/json", 413),
    ],
)
async def test_bad_bodies_change_nothing(
    operator: httpx.AsyncClient, rig: Rig, content: bytes, kind: str, status: int
) -> None:
    await rig.desk.put(make_alarm(rig.clock.now_ns()))
    path = "/api/v1/alarms/R6-SHY-TAS-1/acknowledge"
    answer = await operator.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]
    assert rig.desk.version == 1


async def test_an_alarm_that_is_not_there(operator: httpx.AsyncClient) -> None:
    answer = await operator.post("/api/v1/alarms/R6-nothing-1/acknowledge", json={})
    assert answer.status_code == 404
    assert "R6-nothing-1" in answer.json()["error"]


async def test_a_wrong_method_is_named(operator: httpx.AsyncClient) -> None:
    assert (await operator.put("/api/v1/status", json={})).status_code == 405


@pytest.fixture
async def restarted(rig: Rig) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """A second console on the file of a first one, and the cookies from the first."""
    async with served(rig) as url, httpx.AsyncClient(base_url=url, headers={"origin": url}) as client:
        await client.post("/api/v1/session", json={"token": TOKEN})
        cookies = dict(client.cookies)
    async with served(rig) as url:
        yield url, cookies


async def test_a_restart_keeps_people_signed_in(
    restarted: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, cookies = restarted
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}) as client:
        assert (await client.post("/api/v1/session", json={"token": TOKEN})).status_code == 401
        client.cookies.update(cookies)
        assert (await client.get("/api/v1/session")).status_code == 200


async def test_schedules_are_posted_whole_or_not_at_all(operator: httpx.AsyncClient) -> None:
    row = {"tie": "SHY-TAS", "start": "2026-01-15T00:00:00Z", "end": "2026-01-15T05:00+05:00", "mw": 300}
    body = {"rows": [row], "author": "dispatcher", "party": "counterpart"}
    refused = await operator.post("/api/v1/schedules", json=body)
    assert refused.status_code == 422
    assert "rows[0]: end = 2026-01-15T05:00+05:00: not after the start" in refused.json()["error"]
    assert (await operator.get("/api/v1/schedules")).json() == []
    row["end"] = "2026-01-15T06:00+05:00"
    posted = await operator.post("/api/v1/schedules", json=body)
    assert posted.status_code == 201
    (version,) = (await operator.get("/api/v1/schedules?tie=SHY-TAS")).json()
    assert (version["party"], version["author"], version["source"]) == ("counterpart", "dispatcher", "HTTP")
    assert version["pieces"] == [[1768435200000, 1768438800000, 300.0]]
    assert (await operator.get("/api/v1/schedules?tie=AKT-ALT")).json() == []
    too_long = {"rows": [row] * 20_000}
    assert (await operator.post("/api/v1/schedules", json=too_long)).status_code == 413
    assert (await operator.post("/api/v1/schedules", json={"rows": [{"tie": 1}]})).status_code == 400


async def test_the_ledger_is_asked_for_a_time_and_an_account(operator: httpx.AsyncClient, rig: Rig) -> None:
    first = Interval(
        *("AKT-ALT", AccountKind.TIE, "KZ", 15, 900 * S, 200.0, 201.0, None, 1.0, None, 4.7, 100.0),
        EnergyQuality.COUNTER,
    )
    rig.ledger.settled = [first, replace(first, revision=1, metered_mwh=None), replace(first, start=1800 * S)]
    rig.ledger.open = [
        Running(
            *(
                "AKT-ALT",
                AccountKind.TIE,
                "KZ",
                15,
                2700 * S,
                3000 * S,
                200.0,
                200.0,
                66.0,
                1.0,
                4.0,
                2.0,
                100.0,
            )
        )
    ]
    found = (await operator.get("/api/v1/ledger?start=0&end=3600000")).json()
    assert [(i["start"], i["revision"], i["metered_mwh"]) for i in found["intervals"]] == [
        (1_800_000, 0, 201.0),
        (900_000, 1, None),
    ]
    assert [(r["account"], r["projected_mwh"]) for r in found["open"]] == [("AKT-ALT", 2.0)]
    every = (await operator.get("/api/v1/ledger?start=0&end=3600000&revisions=1")).json()
    assert len(every["intervals"]) == 3
    none = (await operator.get("/api/v1/ledger?start=0&end=3600000&account=MGC-SAM")).json()
    assert none == {"intervals": [], "open": []}
    assert (await operator.get("/api/v1/ledger?start=x")).status_code == 400
