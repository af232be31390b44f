"""Prove that no fit, band, backtest or choice of a training knows what it is judged by; see `forecasting.audit`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from forecasting.artefact import Recipe, recipe_to_json
from forecasting.audit import PRODUCT, Arrays, Audit, Code, Place
from forecasting.evaluation import evaluate
from forecasting.folds import Plan
from forecasting.panel import Observations
from forecasting.residuals import calibrated, joined, residuals_of
from forecasting.selection import Choice
from forecasting.serving import LoadedModel
from forecasting.training import plan_of
from forecasting.training_panel import Panel
from forecasting.training_spec import TrainingSpec
from forecasting.wild_future import wild


def audit_fit(
    audit: Audit,
    spec: TrainingSpec,
    observations: Sequence[Observations],
    *,
    rng: np.random.Generator,
    code: Code = PRODUCT,
) -> None:
    """Check that no fit of a training has seen what it is judged by, and that no band has.

    Args:
        audit: Learns what is found.
        spec: The training.
        observations: Its series.
        rng: Chooses wild values.
        code: What is audited.

    Raises:
        ForecastingError: As `train` does.
    """
    known = {*spec.columns_of("known-future"), *spec.columns_of("static")}
    panel = code.panel(spec, observations)
    plan = plan_of(spec, panel)

    def elsewhere(edge: int) -> Panel:
        return code.panel(spec, [wild(one, edge, known, rng, has_missing=False) for one in observations])

    blocks: list[tuple[Recipe, bytes | None]] = []
    for block in plan.blocks:
        edge = min(int(panel.series[part.series].time[part.cutoffs[0]]) for part in block.folds)
        other = elsewhere(edge)
        blocks.append(code.fit(spec, panel, block))
        audit.compare(Place("fit", edge, "wild"), _fields(*blocks[-1]), _fields(*code.fit(spec, other, block)))
    drafts = [LoadedModel.load(*fitted) for fitted in blocks]
    tested, banded = (_with_bands(spec, plan, drafts, world) for world in (panel, other))
    audit.compare(Place("fit", edge, "wild"), _fields(tested, None), _fields(banded, None))
    model = LoadedModel.load(tested, blocks[-1][1])
    first = plan.test[0]
    middle = int(panel.series[first.series].time[first.cutoffs[len(first.cutoffs) // 2]])
    mine, theirs = (_backtest(spec, plan, model, world, middle) for world in (panel, elsewhere(middle)))
    audit.compare(Place("backtest", middle, "wild"), mine, theirs)


def audit_choice(
    audit: Audit,
    spec: TrainingSpec,
    observations: Sequence[Observations],
    *,
    rng: np.random.Generator,
    code: Code = PRODUCT,
) -> TrainingSpec:
    """Check that what was chosen before a training has not seen its test part; return the choice.

    Args:
        audit: Learns what is found.
        spec: With `algorithm` auto, or with a search; without a limit of time, under which two choices may differ.
        observations: Its series.
        rng: Chooses wild values.
        code: What is audited.

    Raises:
        ForecastingError: As `train` does.
    """
    known = {*spec.columns_of("known-future"), *spec.columns_of("static")}
    choice = code.choose(spec, observations)
    panel = code.panel(choice.spec, observations)
    edge = min(int(panel.series[part.series].time[part.cutoffs[0]]) for part in plan_of(choice.spec, panel).test)
    again = code.choose(spec, [wild(one, edge, known, rng, has_missing=False) for one in observations])
    audit.compare(Place("choice", edge, "wild"), _told(choice), _told(again))
    return choice.spec


def _told(choice: Choice) -> dict[str, object]:
    told: dict[str, object] = {
        "chosen algorithm": choice.spec.algorithm,
        "chosen candidates": choice.spec.candidates,
        "chosen hyperparameters": dict(choice.spec.hyperparameters),
    }
    for number, entry in enumerate(choice.leaderboard, 1):
        told |= {f"leaderboard[{number}].{path}": value for path, value in _paths(msgspec.to_builtins(entry))}
    return told


def _with_bands(spec: TrainingSpec, plan: Plan, drafts: Sequence[LoadedModel], panel: Panel) -> Recipe:
    """Return the recipe that the test part is forecast with: calibrated on the blocks before it."""
    residuals = [
        residuals_of(draft, panel, block.folds) for draft, block in zip(drafts[:-1], plan.blocks[:-1], strict=True)
    ]
    return calibrated(drafts[-1].recipe, joined(residuals), spec.levels)


def _backtest(spec: TrainingSpec, plan: Plan, model: LoadedModel, panel: Panel, end: int) -> Arrays:
    """Return what the backtest says of the folds up to a time, the model's and the baselines'."""
    with np.errstate(over="ignore"):  # losses of wild outcomes
        evaluation = evaluate(model, panel, calibration=plan.calibration, test=plan.test, levels=spec.levels)
    time = panel.series[plan.test[0].series].time
    found = {}
    for method, folds in evaluation.folds.items():
        before = time[folds.cutoffs] <= end
        found[f"{method} median"] = folds.median[before].ravel()
        for probability, values in folds.quantiles.items():
            found[f"{method} quantile {probability:g}"] = values[before].ravel()
    return found


def _fields(recipe: Recipe, graph: bytes | None) -> dict[str, object]:
    """Return every field of a recipe by its path, which names the feature that it belongs to, and the graph."""
    fields = dict(_paths(recipe_to_json(recipe)))
    parts = list(_scaled_parts(recipe))
    for index, member in enumerate(recipe.members):
        parts += [(f"members[{index}].{start}", name) for start, name in _scaled_parts(member)]
    for path in list(fields):
        for start, name in parts:
            if path.startswith(start):
                fields[f"{path} ({name})"] = fields.pop(path)
    if graph is not None:
        fields["graph"] = hashlib.sha256(graph).hexdigest()
    return fields


def _scaled_parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the path to each feature, and the feature in words."""
    for index, part in enumerate(recipe.features):
        yield f"features[{index}].", " ".join((part.name, *part.columns))
    for index, step in enumerate(recipe.step_features):
        yield f"step_features[{index}].", " ".join((step.name, *step.columns))


def _paths(form: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a JSON form with the path to it."""
    if isinstance(form, dict):
        for name, value in form.items():
            yield from _paths(value, f"{path}.{name}" if path else name)
    elif isinstance(form, (list, tuple)):
        for index, value in enumerate(form):
            yield from _paths(value, f"{path}[{index}]")
    else:
        yield path, form
