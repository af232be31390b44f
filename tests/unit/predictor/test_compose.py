from __future__ import annotations

from dataclasses import replace

import pytest

from predictor.compose import partitions_of
from predictor.sessions import Sessions
from predictor.settings import PredictorSettings
from runtime.errors import SettingsError, TransientError
from runtime.memory_broker import MemoryBroker
from runtime.settings import load_settings
from runtime.topic_specs import specs
from schemas.topics import PARTITIONS
from tests.fakes import ManualClock
from tests.predictor_world import recipe, release


def test_number_of_partitions_is_that_of_the_topics(broker: MemoryBroker) -> None:
    assert partitions_of(PredictorSettings(), broker) == PARTITIONS


def test_missing_topics_are_named(clock: ManualClock) -> None:
    with pytest.raises(TransientError, match=r"acme-forecast-requests.*foretopic topics"):
        partitions_of(PredictorSettings(topic_prefix="acme-"), MemoryBroker(clock))


def test_topics_that_are_cut_differently_are_refused(clock: ManualClock) -> None:
    """Red without the comparison in `partitions_of`: the observations of a series would live with another instance."""
    broker = MemoryBroker(clock)
    broker.ensure_topics(replace(spec, partitions=3) if spec.name == "forecasts" else spec for spec in specs())

    with pytest.raises(ValueError, match="forecasts 3"):
        partitions_of(PredictorSettings(), broker)


def test_all_faults_of_the_settings_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_PREDICTOR_MAX_BATCH", "0")
    monkeypatch.setenv("FORETOPIC_PREDICTOR_SESSION_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("FORETOPIC_PREDICTOR_MAXIMUM_BATCH", "7")

    with pytest.raises(SettingsError) as raised:
        load_settings(PredictorSettings)

    for name in ("MAX_BATCH", "SESSION_TIMEOUT_SECONDS", "MAXIMUM_BATCH"):
        assert f"FORETOPIC_PREDICTOR_{name}" in str(raised.value)


def test_least_recently_used_model_is_let_go() -> None:
    sessions = Sessions(limit=2)
    first, second, third = (release(recipe(drift=0.001 * (index + 1))) for index in range(3))
    loaded = sessions.of(first)
    sessions.of(second)
    assert sessions.of(first) is loaded
    sessions.of(third)

    assert len(sessions) == 2
    assert sessions.of(first) is loaded
