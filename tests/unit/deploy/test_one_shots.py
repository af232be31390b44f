"""What runs once in Compose: the creation of topics, and the first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from foretopic import first_start
from gateway.accounts.first_operator import make_first_operator
from runtime.create_topics import TopicsSettings, create_topics
from runtime.errors import TransientError
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from tests.e2e import page_world
from tests.fakes import ManualClock
from tests.unit.gateway import tenants


def test_every_topic_is_created_under_the_prefix(clock: ManualClock) -> None:
    broker = MemoryBroker(clock)
    create_topics(broker, TopicsSettings(topic_prefix="acme-"), clock)
    create_topics(broker, TopicsSettings(topic_prefix="acme-"), clock)
    assert all(broker.partitions(spec.name) == spec.partitions for spec in specs("acme-"))
    assert broker.partitions("forecasts") == 0


class Late(MemoryBroker):
    """Does not answer the first times."""

    refusals = 3

    def ensure_topics(self, wanted: object) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TransientError("not yet")
        super().ensure_topics(wanted)  # type: ignore[arg-type]


def test_broker_that_comes_late_is_waited_for(clock: ManualClock) -> None:
    broker = Late(clock)
    create_topics(broker, TopicsSettings(), clock)
    assert broker.partitions("forecasts") == 12


def test_broker_that_never_comes_ends_the_wait(clock: ManualClock) -> None:
    broker = Late(clock)
    broker.refusals = 10_000
    start = clock.monotonic()
    with pytest.raises(TransientError, match="not yet"):
        create_topics(broker, TopicsSettings(timeout_seconds=5), clock)
    assert 5 <= clock.monotonic() - start < 10


@pytest.mark.e2e
def test_first_start_shows_the_forecast_of_a_gateway_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with page_world.page(tmp_path) as (world, url):
        page_world.publish_market(world)
        monkeypatch.setenv("FORETOPIC_URL", url)
        assert first_start.main() == 0
        world.settle()
        asked = world.client.get(f"/api/v1/series/{page_world.SERIES}/forecasts/latest").json
    shown = capsys.readouterr().out
    assert f"{asked['steps'][0]['median']:,.2f}" in shown or f"{asked['steps'][0]['median']:.2f}" in shown


@pytest.mark.e2e
def test_first_start_with_accounts_has_the_key_of_the_first_operator_and_ends_well_once_it_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("FORETOPIC_FIRST_START_API_KEY_FILE", str(file))
    with page_world.page(tmp_path / "gateway", **tenants.SETTINGS) as (world, url):
        page_world.publish_market(world)
        monkeypatch.setenv("FORETOPIC_URL", url)
        make_first_operator(world.accounts, world.service.sign_in.passwords, "operator@example.org", file)
        assert first_start.main() == 0
        assert "Model: market/AAPL-1d" in capsys.readouterr().out
        file.write_text("ftp_" + "x" * 43)
        assert first_start.main() == 0
        assert "The first start is over" in capsys.readouterr().out


def test_first_start_names_a_setting_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORETOPIC_URL", "gateway:5000")
    assert first_start.main() == 2
    assert "FORETOPIC_URL" in capsys.readouterr().err
