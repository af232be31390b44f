"""Training runs in MLflow, for people to look at; nothing of the system reads them.

Imports MLflow only when a run is recorded, which happens in the child process that trained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.models import ModelReleased
from schemas.trainings import TrainingRequested
from trainer.jobs import Recorded

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from forecasting.search import Trial
    from forecasting.training import TrainedModel

TRAINING_ID_TAG = "training_id"
#: What one call of the MLflow API takes.
_METRICS_A_CALL = 1_000
_LONGEST_PARAMETER = 500
#: The run is whole; one without it was cut off and is filled again.
_FINISHED = "FINISHED"


def mlflow_environment(timeout_seconds: int) -> dict[str, str]:
    """Return the variables under which MLflow gives up in time and keeps quiet; set them before it is imported."""
    return {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


class MlflowRecorder:
    """Records a release as one MLflow run: the experiment is the model name, the run has the tag ``training_id``.

    Args:
        tracking_uri: Of the MLflow server, or of a local store.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri

    def record(self, request: TrainingRequested, release: ModelReleased, trained: TrainedModel | None) -> Recorded:
        """Record a run, or fill the one that an earlier attempt has begun.

        Args:
            request: What was asked.
            release: What came of it.
            trained: For loss curves and plots; ``None`` where a restart lost it.

        Returns:
            The id of the run, or the warning that there is none: MLflow being away is not an error.
        """
        from mlflow import MlflowClient  # noqa: PLC0415  # costs seconds and 130 MB
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            client = MlflowClient(self._tracking_uri)
            run = _run_of(client, release)
            if run.info.status != _FINISHED:
                _fill(client, run, _content_of(request, release, trained))
        except (MlflowException, OSError) as error:
            # OSError: what `requests` raises, and a local store that cannot be written.
            warning = f"the run is not recorded in MLflow: {str(error).splitlines()[0][:500]}"
            return Recorded(training_id=request.training_id, warning=warning)
        return Recorded(training_id=request.training_id, run_id=run.info.run_id)


def _run_of(client: MlflowClient, release: ModelReleased) -> Run:
    """Return the run of this training, begun if there is none."""
    experiment_id = _experiment_of(client, release.model)
    # An id holds no quote, so it cannot end the filter.
    found = client.search_runs([experiment_id], f"tags.{TRAINING_ID_TAG} = '{release.training_id}'", max_results=1)
    if found:
        return found[0]
    return client.create_run(
        experiment_id,
        tags={
            TRAINING_ID_TAG: release.training_id,
            "version": release.version,
            "artefact_digest": release.artefact_digest,
            "data_digest": release.data_digest,
            "code_version": release.code_version,
        },
        run_name=release.version,
    )


def _experiment_of(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            # Another training of the same model may have made it since.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What goes into a run."""

    request: TrainingRequested
    release: ModelReleased
    losses: Mapping[str, Sequence[float]]
    plots: Mapping[str, bytes]
    trials: Sequence[Trial] = ()


def _content_of(request: TrainingRequested, release: ModelReleased, trained: TrainedModel | None) -> _Content:
    if trained is None:
        return _Content(request=request, release=release, losses={}, plots={})
    from trainer.plots import losses_of, plots_of  # noqa: PLC0415  # needs numpy

    return _Content(
        request=request, release=release, losses=losses_of(trained), plots=plots_of(trained), trials=trained.trials
    )


def _fill(client: MlflowClient, run: Run, content: _Content) -> None:
    from mlflow.entities import Param  # noqa: PLC0415

    run_id = run.info.run_id
    parameters = [Param(name, value[:_LONGEST_PARAMETER]) for name, value in _parameters(content).items()]
    client.log_batch(run_id, params=parameters)
    # All points carry the start of the run: what was logged before a crash is then the same point, not a second one.
    points = _metrics(content, run.info.start_time)
    for start in range(0, len(points), _METRICS_A_CALL):
        client.log_batch(run_id, metrics=points[start : start + _METRICS_A_CALL])
    with tempfile.TemporaryDirectory() as folder:
        for name, written in (_artefacts(content) | dict(content.plots)).items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(written)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, _FINISHED)


def _parameters(content: _Content) -> dict[str, str]:
    request, release = content.request, content.release
    parameters: dict[str, object] = {
        "algorithm": release.algorithm,
        "series_ids": ", ".join(release.series_ids),
        "target": release.target,
        "columns": ", ".join(release.columns),
        "freq": release.freq,
        "calendar": release.calendar,
        "window_size": release.window_size,
        "horizon": release.horizon,
        "levels": ", ".join(f"{level:g}" for level in release.levels),
        "seed": release.seed,
        "as_of": msgspec.json.encode(release.as_of, order="sorted").decode(),
        "cause": request.cause,
    }
    if request.candidates or request.algorithm != release.algorithm:
        parameters |= {"asked.algorithm": request.algorithm, "asked.candidates": ", ".join(request.candidates)}
    if release.leaderboard:
        parameters |= {"budget_seconds": request.budget_seconds, "search_trials": request.search_trials}
        chosen = release.leaderboard[0]
        parameters |= {f"chosen.{name}": value for name, value in chosen.hyperparameters.items()}
    if release.fallback_from:
        parameters |= {"fallback_from": release.fallback_from, "fallback_reason": release.fallback_reason}
    parameters |= {f"hyperparameters.{name}": value for name, value in request.hyperparameters.items()}
    return {name: str(value) for name, value in parameters.items()}


def _metrics(content: _Content, start_time: int) -> list[Metric]:
    from mlflow.entities import Metric  # noqa: PLC0415

    release = content.release
    values = {
        f"{method}.{name}": value for method, metrics in release.metrics.items() for name, value in metrics.items()
    }
    values |= {f"skill.{baseline}": value for baseline, value in release.skill.items()}
    values |= {"folds": float(release.folds), "calibration_folds": float(release.calibration_folds)}
    for name, found in release.fold_spread.get("model", {}).items():
        values |= {f"model.fold-mean.{name}": found.mean, f"model.fold-deviation.{name}": found.deviation}
    folds = [
        Metric(f"model.fold.{name}", value, start_time, number)
        for number, fold in enumerate(release.fold_metrics, start=1)
        for name, value in fold.metrics["model"].items()
    ]
    epochs = [
        Metric(f"loss.{name}", loss, start_time, epoch)
        for name, series in content.losses.items()
        for epoch, loss in enumerate(series, start=1)
    ]
    trials = [
        Metric("search.loss", trial.loss, start_time, trial.number)
        for trial in content.trials
        if trial.ending == "finished"
    ]
    return [Metric(name, value, start_time, 0) for name, value in values.items()] + folds + epochs + trials


def _artefacts(content: _Content) -> dict[str, bytes]:
    """Return the recipe, the graph where there is one, the folds, and what was compared where something was chosen."""
    release = content.release
    recipe = msgspec.json.format(msgspec.json.encode(release.recipe, order="sorted"))
    files = {"artefact/recipe.json": recipe}
    if release.graph is not None:
        files["artefact/model.onnx"] = release.graph
    if release.fold_metrics:
        # The step of a metric tells no cutoff.
        files["backtest/folds.json"] = msgspec.json.format(msgspec.json.encode(release.fold_metrics))
    if release.leaderboard:
        files["selection/leaderboard.json"] = msgspec.json.format(msgspec.json.encode(release.leaderboard))
    if content.trials:
        files["selection/trials.json"] = msgspec.json.format(msgspec.json.encode(content.trials))
    return files
