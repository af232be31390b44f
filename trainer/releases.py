"""The release that comes of a training: the request, what was read, and the trained model in one record."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from forecasting.artefact import recipe_to_json
from forecasting.panel import Observations
from forecasting.training import TrainedModel
from runtime.version import CODE_VERSION
from schemas.identity import canonical_bytes
from schemas.models import ModelReleased
from schemas.trainings import TrainingRequested


def release_of(
    request: TrainingRequested, observations: Sequence[Observations], trained: TrainedModel
) -> ModelReleased:
    """Return the release; it depends on the arguments alone, so a repeated training gives the same bytes."""
    recipe, artefact = trained.recipe, trained.artefact
    return ModelReleased(
        model=request.model,
        version=artefact.version,
        training_id=request.training_id,
        algorithm=recipe.algorithm,
        series_ids=request.series_ids,
        target=recipe.target,
        columns=recipe.columns,
        freq=recipe.freq,
        calendar=recipe.calendar,
        unit=observations[0].unit,
        window_size=recipe.window_size,
        horizon=recipe.horizon,
        levels=request.levels,
        recipe=recipe_to_json(recipe),
        graph=trained.graph,
        artefact_digest=artefact.digest,
        metrics={method: _finite(metrics) for method, metrics in trained.metrics.items()},
        skill=_finite(trained.skill),
        folds=trained.folds,
        as_of=request.as_of,
        data_digest=data_digest_of(observations),
        seed=request.seed,
        code_version=CODE_VERSION,
        fallback_from=trained.fallback_from,
        fallback_reason=trained.fallback_reason,
        calibration_folds=trained.calibration_folds,
        leaderboard=trained.leaderboard,
        fold_metrics=trained.by_fold.folds,
        fold_spread=trained.by_fold.spread,
    )


def data_digest_of(observations: Sequence[Observations]) -> str:
    """Return the SHA-256 over what was read: of each series its facts, its times and all of its columns."""
    digest = hashlib.sha256()
    for series in observations:
        facts = [series.series_id, series.freq, series.calendar, series.unit, len(series), sorted(series.columns)]
        digest.update(canonical_bytes(facts))
        digest.update(series.time.astype("<i8").tobytes())
        for name in sorted(series.columns):
            # Missing values are NaN of one bit pattern: numpy made them all.
            digest.update(series.columns[name].astype("<f8").tobytes())
    return digest.hexdigest()


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are defined: a skill beside a baseline without any loss is not."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
