"""Who is told what: the stream of events of two organisations on one gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from gateway.access import Role
from gateway.accounts.logins import start_login
from gateway.told import Asker, NotRead, Wish
from schemas.forecasts import ForecastIssued
from schemas.topics import FORECAST_REQUESTS, FORECASTS
from tests import factories
from tests.unit.gateway.tenants import Caller, Tenant, Tenants, add_api_key, tenants
from tests.unit.gateway.test_events import Reader
from tests.unit.gateway.world import partition_of

PUBLIC = "market/AAPL@1d"
URL = "/api/v1/events"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("gateway")) as started:
        started.world.settle()
        yield started


def own(tenant: Tenant) -> str:
    return f"{tenant.project_id}/sales@1d"


def forecast(request_id: str, series_id: str, model: str) -> ForecastIssued:
    record = factories.forecast_issued(request_id, series_id=series_id)
    return msgspec.structs.replace(record, model=msgspec.structs.replace(record.model, name=model))


def tell(both: Tenants, request_id: str, series_id: str, requester: str = "", model: str = "") -> None:
    request = factories.forecast_request(request_id, series_id=series_id, requester=requester, as_of=factories.as_of())
    both.world.publish(FORECAST_REQUESTS, request)
    both.world.settle()
    name = model or series_id.replace("@", "-")
    both.world.publish(FORECASTS, forecast(request_id, series_id, name), partition_of(series_id))
    both.world.settle()


def reads(both: Tenants, caller: Caller, query: str = "", after: str = "") -> Any:
    return closing(Reader(both.world, query, after, **caller.headers))


def test_everybody_is_told_what_is_theirs_live_and_from_the_log(both: Tenants) -> None:
    """Red without `Wish.covers` or `Wish.may_know`."""
    apples, pears = both.apples, both.pears
    with (
        reads(both, apples.viewer) as by_apples,
        reads(both, pears.viewer) as by_pears,
        reads(both, both.operator) as by_operator,
    ):
        tell(both, "start", PUBLIC)
        starts = []
        for stream in (by_apples, by_pears, by_operator):
            assert stream.ids(1) == ["start"]
            starts.append(stream.last_id)
        tell(both, "a-own", own(apples))
        tell(both, "b-own", own(pears))
        tell(both, "a-public", PUBLIC, f"{apples.organisation_id}/user/u1")
        tell(both, "b-public", PUBLIC, f"{pears.organisation_id}/key/k1")
        tell(both, "a-foreign-model", own(apples), model=f"{pears.project_id}/secret")
        tell(both, "end", PUBLIC)
        expected = (
            ["a-own", "a-public", "end"],
            ["b-own", "b-public", "end"],
            ["a-own", "b-own", "a-public", "b-public", "a-foreign-model", "end"],
        )
        for stream, wanted in zip((by_apples, by_pears, by_operator), expected, strict=True):
            assert stream.ids(len(wanted)) == wanted
    for caller, start, wanted in zip((apples.viewer, pears.viewer, both.operator), starts, expected, strict=True):
        with reads(both, caller, after=start) as again:
            assert sorted(again.ids(len(wanted))) == sorted(wanted)


def test_a_foreign_series_project_or_model_is_answered_as_one_that_does_not_exist(both: Tenants) -> None:
    headers = both.pears.admin.headers
    for name, foreign, missing in (
        ("series_id", own(both.apples), "nothing/sales@1d"),
        ("model", f"{both.apples.project_id}/m", "nothing/m"),
        ("project", both.apples.project_id, "nothing"),
    ):
        answers = [both.world.client.get(f"{URL}?{name}={value}", headers=headers) for value in (foreign, missing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        details = [answer.get_json()["detail"] for answer in answers]
        assert details[0].replace(foreign, missing) == details[1]
    assert both.world.client.get(URL).status_code == 401


@pytest.mark.parametrize("by", ["token", "key"])
def test_a_stream_ends_with_the_credentials_that_began_it(both: Tenants, by: str) -> None:
    """Red without `may_go_on` in `gateway.streams._within`, or without `is_current` of these credentials."""
    tenant = both.apples
    if by == "token":
        caller = sign_in_again(both, tenant.editor)
        ended = ("POST", "/api/v1/auth/logout", caller)
    else:
        key_id, secret = add_api_key(both.world, tenant.organisation_id, tenant.admin, Role.VIEWER)
        caller = {"Authorization": f"Bearer {secret}"}
        ended = ("DELETE", f"/api/v1/keys/{key_id}", tenant.admin.headers)
    with closing(Reader(both.world, f"series_id={own(tenant)}", **caller)) as stream:
        tell(both, f"before-{by}", own(tenant))
        assert stream.ids(1) == [f"before-{by}"]
        method, path, headers = ended
        assert both.world.client.open(path, method=method, headers=headers).status_code < 300
        tell(both, f"after-{by}", own(tenant))
        with pytest.raises(StopIteration):
            stream.ids(1)


def sign_in_again(both: Tenants, caller: Caller) -> dict[str, str]:
    now = both.world.accounts.now_us()
    with both.world.accounts.change() as connection:
        login_id = start_login(connection, caller.user_id, "token", now_us=now, expires_us=now + 3_600_000_000)
    return {"Authorization": f"Bearer {both.world.service.tokens.issue(caller.user_id, login_id)}"}


def test_nobody_is_told_of_a_public_series_before_it_is_known_who_asked() -> None:
    """Red without `is_read` in `Wish.may_know`: it would be told to all, or to nobody for ever."""
    wish = Wish(types=frozenset({"forecast.issued"}), projects=frozenset({"market"}), organisation_ids=frozenset({"o"}))

    class Public:
        projects = frozenset({"market"})
        row_key = ("request-1",)

    event: Any = Public()
    with pytest.raises(NotRead):
        wish.may_know(event, Asker("", is_read=False))
    assert wish.may_know(event, Asker("o", is_read=True))
    assert wish.may_know(event, Asker("", is_read=True))
    assert not wish.may_know(event, Asker("other", is_read=True))
