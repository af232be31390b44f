"""Use and stored answers on PostgreSQL: the same counts, the same repeats."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.gateway_process import postgres_server
from tests.unit.gateway import test_limits, test_repeats, test_shares
from tests.unit.gateway.conftest import _no_midnight
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import Responder, running

pytestmark = pytest.mark.postgres
__all__ = ["_no_midnight"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def counted(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    limits = {"forecasts_a_day": 3, "trainings_a_day": 1}
    folder = tmp_path_factory.mktemp("counted")
    with tenants(folder, accounts_database_url=url, **limits) as found, Responder(found.world.broker):
        yield found


@pytest.mark.parametrize(
    "name",
    [
        "test_forecasts_of_a_project_are_counted_over_all_its_callers",
        "test_one_tenant_does_not_use_up_the_public_series_of_others",
        "test_trainings_are_counted_once_each",
    ],
)
def test_quotas_are_those_of_sqlite(counted: Tenants, name: str) -> None:
    getattr(test_limits, name)(counted)


@pytest.mark.parametrize(
    "name",
    [
        "test_gateways_see_what_the_others_counted",
        "test_a_restart_keeps_what_was_used",
        "test_a_new_day_begins_with_nothing_used",
    ],
)
def test_counts_are_those_of_sqlite(counted: Tenants, name: str) -> None:
    with counted.world.app.test_request_context():
        getattr(test_limits, name)(counted)


def test_shares_are_those_of_sqlite(counted: Tenants) -> None:
    test_shares.test_a_key_that_is_revoked_counts_for_the_day(counted)
    test_shares.test_two_requests_at_once_do_not_get_past_a_limit_together(counted)
    test_shares.test_exchanged_tokens_are_not_kept_for_ever(counted)


def test_secrets_are_not_kept(counted: Tenants) -> None:
    test_repeats.test_secrets_are_shown_once_and_not_kept(counted)


def test_what_is_asked_for_once_is_done_once(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("repeats"), accounts_database_url=url) as world:
        world.accounts.clock = test_repeats.MovedClock()
        test_repeats.ask_in_any_order(world, examples=6)
