"""Training runs in MLflow: what they hold, once each also after a crash, and nothing lost when MLflow is away."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.models import ModelReleased
from tests.integration.trainer_process import TINY_LSTM, Client, trainer_process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@dataclass(kw_only=True)
class Run:
    """A run as it stands in MLflow's database, read without MLflow: that takes seconds and warns."""

    run_id: str
    status: str
    experiment: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: dict[str, float]
    artefacts: set[str]


def runs(store: Path) -> list[Run]:
    # Not read-only: who was killed while it wrote leaves a journal, which the next reader has to roll back.
    with closing(sqlite3.connect(f"file:{store}?mode=rw", uri=True, timeout=60)) as database:
        database.row_factory = sqlite3.Row
        experiments = dict(database.execute("SELECT experiment_id, name FROM experiments").fetchall())

        def values(table: str, run_id: str) -> dict[str, object]:
            return dict(database.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run_id,)).fetchall())

        return [
            Run(
                run_id=run["run_uuid"],
                status=run["status"],
                experiment=experiments[run["experiment_id"]],
                tags=values("tags", run["run_uuid"]),  # type: ignore[arg-type]
                parameters=values("params", run["run_uuid"]),  # type: ignore[arg-type]
                metrics=values("latest_metrics", run["run_uuid"]),  # type: ignore[arg-type]
                artefacts=files_in(Path(run["artifact_uri"])),
            )
            for run in database.execute("SELECT run_uuid, status, experiment_id, artifact_uri FROM runs").fetchall()
        ]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[Client]:
    client = Client(kafka, topic_prefix)
    yield client
    client.close()


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making its tables takes seconds."""
    store = tmp_path_factory.mktemp("mlflow") / "empty.db"
    make = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([sys.executable, "-c", make, f"sqlite:///{store}"], cwd=store.parent, check=True, timeout=240)
    return store


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


def test_mlflow_away_costs_a_warning_and_nothing_else(client: Client, tmp_path: Path, nobody: int) -> None:
    client.request("training-1", as_of=client.history())
    uri = f"http://127.0.0.1:{nobody}"
    with trainer_process(client, tmp_path, mlflow_tracking_uri=uri, mlflow_timeout_seconds=1):
        end = client.wait_for_end("training-1")

    assert (end.state, end.mlflow_run_id) == ("succeeded", None)
    (warning,) = [event for event in client.events("training-1") if event.reason]
    assert warning.reason.startswith("the run is not recorded in MLflow: ")
    assert len(client.records(ModelReleased)) == 1


def test_run_is_one_also_after_a_crash_while_it_was_recorded(client: Client, tmp_path: Path, store: Path) -> None:
    # Red without the search by tag in `_run_of`: the second recording makes a second run.
    request = client.request("training-1", as_of=client.history())
    tracking_uri = f"sqlite:///{store}"
    with trainer_process(client, tmp_path, held_at="recorded", mlflow_tracking_uri=tracking_uri) as trainer:
        client.wait_until(lambda: runs(store), what="a run is begun")
        trainer.kill()
    assert not client.ends("training-1")
    assert [run.status for run in runs(store)] == ["RUNNING"]

    with trainer_process(client, tmp_path, mlflow_tracking_uri=tracking_uri):
        end = client.wait_for_end("training-1")

    (run,) = runs(store)
    (release,) = client.records(ModelReleased)
    assert (run.run_id, run.status, run.experiment) == (end.mlflow_run_id, "FINISHED", request.model)
    assert run.tags["training_id"] == "training-1"
    assert run.parameters["algorithm"] == "drift"
    assert run.metrics["model.mae"] == pytest.approx(release.metrics["model"]["mae"])
    assert "artefact/recipe.json" in run.artefacts


def test_run_has_parameters_metrics_plots_and_the_artefact(client: Client, tmp_path: Path, store: Path) -> None:
    client.request("training-1", **TINY_LSTM, as_of=client.history())

    with trainer_process(client, tmp_path, mlflow_tracking_uri=f"sqlite:///{store}"):
        end = client.wait_for_end("training-1")

    (run,) = runs(store)
    assert (run.run_id, end.reason) == (end.mlflow_run_id, "")
    assert run.parameters["hyperparameters.layers"] == "4"
    assert {"loss.train", "loss.validation", "model.mae", "last-value.mae", "skill.last-value"} <= set(run.metrics)
    plots = {f"plots/{name}.png" for name in ("loss-curve", "fit", "residuals", "fan", "calibration", "skill-by-step")}
    assert run.artefacts == plots | {"artefact/recipe.json", "artefact/model.onnx", "backtest/folds.json"}
    (release,) = client.records(ModelReleased)
    last = release.fold_metrics[-1].metrics["model"]
    assert {name: run.metrics[f"model.fold.{name}"] for name in last} == pytest.approx(last)
    assert run.metrics["model.fold-mean.mae"] == pytest.approx(release.metrics["model"]["mae"])
