"""Prove that nothing after a cutoff is used: take the future away, make it wild, and demand the same bits.

Five checks, each of two worlds that share their past:

- **inputs**: every feature of the recipe over the whole history, and every input of the graph as training and backtest
  make it, against what serving makes of a series that ends at the cutoff.
- **forecast**: likewise every number of the forecast.
- **fit**: what a fit of the walk-forward plan estimates (scaler, volatility, drift, graph, bands), against the same fit
  of a series whose rows beyond the first fold that the fit is judged by are wild (`forecasting.audit_fits`).
- **backtest**: the forecasts that skill and coverage are told from, the model's and the baselines', against those of a
  series that is wild from the middle of the test part on.
- **choice**: what `auto` or a search chose, and its leaderboard, against those of a series that is wild from the first
  cutoff of the test part on.

What is audited is an argument (`Code`), so that a planted leak can show that the audit would find it. This is
metamorphic testing (Chen, Cheung and Yiu, "Metamorphic testing: a new approach for generating next test cases", 1998):
no right answer is needed, only that two answers agree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from forecasting.artefact import TIME_COLUMN, FeatureRecipe, Recipe
from forecasting.errors import TooLittleHistory
from forecasting.features import Feature, feature_of
from forecasting.folds import Cut, Part
from forecasting.inputs import FloatInput, InputBuilder
from forecasting.models.fitting import Examples
from forecasting.panel import FloatArray, IntArray, Observations, Window
from forecasting.preparation import examples_of
from forecasting.selection import Choice, choose
from forecasting.serving import LoadedModel
from forecasting.training import fit_cut
from forecasting.training_panel import Panel, panel_of
from forecasting.training_spec import TrainingSpec
from forecasting.wild_future import truncated, wild
from schemas.trainings import CovariateKind

Check = Literal["inputs", "forecast", "fit", "backtest", "choice"]
World = Literal["there", "wild"]
Arrays = dict[str, FloatArray]
_LEVELS = (50.0, 80.0)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A number that knew the future.

    Attributes:
        check: Which check found it.
        part: The feature, number of the forecast or field of the recipe.
        cutoff: Up to when it was to know.
        world: What was done to the future: it was `there` instead of cut off, or it was made `wild`.
        expected: The number without that future.
        found: The number with it.
    """

    check: Check
    part: str
    cutoff: datetime
    world: World
    expected: str
    found: str


class Place(NamedTuple):
    """Where values are compared: the check, up to when they may know, and what was done to the future."""

    check: Check
    cutoff: int
    world: World


@dataclass
class Audit:
    """What was compared and what was found.

    Attributes:
        findings: In the order in which they were found.
        compared: Check -> numbers or arrays that were compared.
    """

    findings: list[Finding] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)

    def compare(self, place: Place, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
        """Note every value that is not the same to the bit, by its name."""
        for name in dict.fromkeys((*expected, *found)):
            self.compared[place.check] += 1
            mine, theirs = expected.get(name), found.get(name)
            if not _is_same(mine, theirs):
                told = _difference(mine, theirs), _difference(theirs, mine)
                self.findings.append(
                    Finding(
                        check=place.check,
                        part=name,
                        cutoff=datetime.fromtimestamp(place.cutoff, UTC),
                        world=place.world,
                        expected=told[0],
                        found=told[1],
                    )
                )


@dataclass(frozen=True, kw_only=True)
class Code:
    """What is audited: the steps from observations to a forecast; the product's own unless others are given.

    Attributes:
        panel: Spec and series to the rows that training and backtest use.
        feature: The recipe of a feature to the feature.
        examples: What a fit learns from at rows of a panel.
        window: What a backtest forecasts from at a row of a panel.
        fit: Spec, panel and cut to the draft recipe and the graph.
        choose: Spec and series to what `auto` or a search chooses.
    """

    panel: Callable[[TrainingSpec, Sequence[Observations]], Panel] = panel_of
    feature: Callable[[FeatureRecipe], Feature] = feature_of
    examples: Callable[[Recipe, Panel, Sequence[Part]], Examples] = examples_of
    window: Callable[[Panel, Recipe, int], Window] = lambda panel, recipe, row: panel.window(
        recipe, 0, row, recipe.history_rows
    )
    fit: Callable[[TrainingSpec, Panel, Cut], tuple[Recipe, bytes | None]] = fit_cut
    choose: Callable[[TrainingSpec, Sequence[Observations]], Choice] = lambda spec, observations: choose(
        spec, observations, lambda _: None, lambda: math.inf
    )


PRODUCT = Code()


def spec_of(recipe: Recipe) -> TrainingSpec:
    """Return the spec that a recipe was trained by, as far as its data and inputs go."""
    covariates: dict[str, CovariateKind] = dict.fromkeys(recipe.future_columns, "known-future")
    covariates |= dict.fromkeys(recipe.static_columns, "static")
    return TrainingSpec(
        algorithm=recipe.algorithm,
        target=recipe.target,
        columns=recipe.columns,
        horizon=recipe.horizon,
        window_size=recipe.window_size,
        covariates=covariates,
        season_length=recipe.season_length,
        gaps=recipe.gaps,
        features=recipe.features,
        step_features=recipe.step_features,
        candidates=tuple(member.algorithm for member in recipe.members),
        hyperparameters=recipe.hyperparameters,
        seed=recipe.seed,
    )


def audit_model(
    audit: Audit,
    model: LoadedModel,
    observations: Observations,
    *,
    cutoffs: int,
    rng: np.random.Generator,
    code: Code = PRODUCT,
) -> None:
    """Check inputs and forecasts of a model version at random cutoffs of a series.

    Args:
        audit: Learns what is found.
        model: The version.
        observations: The series.
        cutoffs: How many; all that there are where there are fewer.
        rng: Chooses cutoffs and wild values.
        code: What is audited.

    Raises:
        TooLittleHistory: No row has a whole window before it and a whole horizon after it.
    """
    model = _outspoken(model)
    spec = spec_of(model.recipe)
    panel = code.panel(spec, [observations])
    known = {*model.recipe.future_columns, *model.recipe.static_columns}
    rows = _cutoffs_of(model, panel)
    for row in np.sort(rng.choice(rows, size=min(cutoffs, len(rows)), replace=False)):
        end = int(panel.series[0].time[row])
        past = truncated(observations, end, known)
        # As the predictor asks for it.
        served = model.window_of(past, model.recipe.history_rows, least=model.window_size)
        known_inputs = _features(model, code.panel(spec, [past]), end, code) | _served_inputs(model, served)
        forecast = _forecast(model, served)
        worlds: dict[World, Panel] = {"there": panel, "wild": _wild_panel(model, observations, end, rng, code)}
        for world, one in worlds.items():
            own = int(np.searchsorted(one.series[0].time, end))
            inputs = _features(model, one, end, code) | _learnt_inputs(model, one, own, code)
            audit.compare(Place("inputs", end, world), known_inputs, inputs)
            found = _forecast(model, code.window(one, model.recipe, own))
            audit.compare(Place("forecast", end, world), forecast, found)


def _cutoffs_of(model: LoadedModel, panel: Panel) -> IntArray:
    """Return the rows with a whole window before them and a whole horizon after them."""
    time = panel.series[0].time
    rows = np.arange(model.window_size - 1, len(time) - model.horizon)
    # A row that the rule for gaps made of later ones is no cutoff; see `gaps.cutoffs_of`.
    rows = rows[panel.cutoffs[0][rows]]
    if not len(rows):
        raise TooLittleHistory(
            "too-little-history",
            field="observations",
            expected=f"at least {model.window_size + model.horizon} complete rows of {panel.series[0].series_id}",
            found=str(len(time)),
        )
    return rows


def _wild_panel(
    model: LoadedModel, observations: Observations, end: int, rng: np.random.Generator, code: Code
) -> Panel:
    """Return the rows of a series with another future, of which so many are left that the cutoff has its outcomes."""
    recipe = model.recipe
    known = {*recipe.future_columns, *recipe.static_columns}
    # A missing value takes its row away, and with it what is known of that step.
    for has_missing in (recipe.gaps != "refuse" and not recipe.future_columns, False):
        other = wild(observations, end, known, rng, has_missing=has_missing)
        panel = code.panel(spec_of(recipe), [other])
        time = panel.series[0].time
        if int(np.searchsorted(time, end)) + recipe.horizon < len(time):
            break
    return panel


def _outspoken(model: LoadedModel) -> LoadedModel:
    """Return the version as it hides least: its graphs believed wholly, its bands adapting from the first row on."""

    def believed(recipe: Recipe) -> Recipe:
        intervals, adaptation = recipe.intervals, recipe.intervals.adaptation
        if adaptation is not None:
            adaptation = msgspec.structs.replace(adaptation, known_until=0)
            intervals = msgspec.structs.replace(intervals, adaptation=adaptation)
        members = tuple(believed(member) for member in recipe.members)
        return msgspec.structs.replace(recipe, intervals=intervals, median_weight=1.0, members=members)

    return LoadedModel.load(believed(model.recipe), model.artefact.graph)


def _served_inputs(model: LoadedModel, window: Window) -> Arrays:
    """Return every input of the graphs as serving makes it."""
    found: Arrays = {}
    for start, recipe in _parts_of(model.recipe):
        builder = InputBuilder(recipe)
        seen = window.last(recipe.window_size)
        found |= _named(start, recipe, *builder.build(seen, builder.scale(seen.values)))
    return found


def _learnt_inputs(model: LoadedModel, panel: Panel, row: int, code: Code) -> Arrays:
    """Return every input of the graphs as a fit is given it."""
    found: Arrays = {}
    for start, recipe in _parts_of(model.recipe):
        if recipe.features or recipe.step_features:
            examples = code.examples(recipe, panel, [Part(0, np.array([row]))])
            found |= _named(start, recipe, examples.inputs[0], examples.future[0])
    return found


def _named(start: str, recipe: Recipe, window: FloatInput, future: FloatInput) -> Arrays:
    names = [f"{start}input {part.name} of {', '.join(part.columns)}" for part in recipe.features]
    names += [f"{start}input volatility"] * recipe.has_volatility_input
    found = {name: window[:, index].astype(np.float64) for index, name in enumerate(names)}
    for index, step in enumerate(recipe.step_features):
        name = " ".join((f"{start}step input {index + 1}", step.name, *step.columns))
        found[name] = future[:, index].astype(np.float64)
    return found


def _forecast(model: LoadedModel, window: Window) -> Arrays:
    """Return every number of the forecast after a window."""
    forecast = model.forecast([window], model.horizon, _LEVELS)[0]
    numbers = {f"quantile {probability:g}": values for probability, values in forecast.quantiles.items()}
    numbers["median"] = forecast.median
    if forecast.direction_probability is not None:
        numbers["direction probability"] = forecast.direction_probability
    return numbers


def _parts_of(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """Return the recipes that have inputs, each with what its names begin with: the members of an ensemble."""
    if not recipe.members:
        return [("", recipe)]
    return [(f"member {number} ({member.algorithm}), ", member) for number, member in enumerate(recipe.members, 1)]


def _features(model: LoadedModel, panel: Panel, end: int, code: Code) -> Arrays:
    """Return every feature of the recipe over a whole history, up to the cutoff."""
    series = panel.series[0]
    columns = {name: panel.values[0][:, index] for index, name in enumerate(model.columns)}
    columns[TIME_COLUMN] = series.time.astype(np.float64)
    size = int(np.searchsorted(series.time, end, side="right"))
    found = {}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start, recipe in _parts_of(model.recipe):
            for part in recipe.features:
                name = f"{start}feature {part.name} of {', '.join(part.columns)}"
                found[name] = code.feature(part).transform(columns)[:size]
    return found


def _is_same(expected: object, found: object) -> bool:
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        return expected.shape == found.shape and expected.tobytes() == found.tobytes()
    return expected == found


def _difference(value: object, other: object) -> str:
    """Return a value, or the first number in which an array differs from another."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    if not isinstance(other, np.ndarray) or value.shape != other.shape:
        return f"{' x '.join(map(str, value.shape))} numbers"
    differs = (value != other) & ~(np.isnan(value) & np.isnan(other))
    first = int(np.argmax(differs))
    return f"{float(value[first])!r} at {first}, and {int(differs.sum()) - 1} more"
