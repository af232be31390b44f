"""`auto` on a real series through a trainer, its child process and MLflow, on a real Kafka."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.models import ModelReleased
from schemas.observations import ObservationBatch
from schemas.topics import OBSERVATIONS
from tests.factories import observation_batch
from tests.integration.trainer_process import Client, trainer_process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
SERIES = "sales/airline-passengers@1mo"


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[Client]:
    client = Client(kafka, topic_prefix)
    yield client
    client.close()


def passengers(shared_data: Path) -> ObservationBatch:
    """The monthly passengers of 1949 to 1960 (Box and Jenkins, series G)."""
    with (shared_data / "sales" / "monthly-airline-passengers.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    times = tuple(datetime.strptime(row["Month"], "%Y-%m").replace(tzinfo=UTC) for row in rows)
    values = tuple(float(row["Passengers"]) for row in rows)
    return observation_batch(series_id=SERIES, time=times, columns={"close": values}, source="file", freq="1mo")


def test_auto_finds_a_seasonal_model_for_a_seasonal_series(client: Client, tmp_path: Path, shared_data: Path) -> None:
    partition, offset = client.write(OBSERVATIONS, passengers(shared_data))
    client.request(
        "training-1",
        series_ids=(SERIES,),
        algorithm="auto",
        candidates=("theta", "ets", "linear"),
        search_trials=3,
        horizon=6,
        window_size=24,
        as_of={str(partition): offset + 1},
    )

    with trainer_process(client, tmp_path, mlflow_tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"):
        end = client.wait_for_end("training-1")

    assert end.state == "succeeded", end.reason
    (release,) = client.records(ModelReleased)
    chosen = release.leaderboard[0]
    assert (chosen.state, chosen.algorithm) == ("chosen", release.algorithm)
    assert release.algorithm in ("theta", "ets", "linear", "ensemble")
    assert chosen.skill["seasonal-naive"] > 0.3
    assert release.skill["seasonal-naive"] > 0.3, "on folds that no choice has seen"
    assert {"last-value", "drift", "seasonal-naive"} <= {one.algorithm for one in release.leaderboard}
    assert "search" in {event.stage for event in client.events("training-1")}
    kept = {path.name for path in (tmp_path / "mlruns").rglob("*.json")}
    assert {"leaderboard.json", "trials.json"} <= kept
