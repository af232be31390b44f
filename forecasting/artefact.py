"""A model version: one JSON recipe and, for fitted models, one ONNX graph. Nothing in it can be executed.

The recipe says everything that turns raw observations into the input of the graph and its output into a forecast, so
that training, backtest and serving compute the same numbers by the same code. `Artefact.digest` names both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from forecasting.errors import InvalidArtefact
from forecasting.models.statistical_recipe import StatisticalRecipe
from schemas.identity import canonical_bytes

VERSION_DIGITS = 16
#: The name under which features of the rows read their times, UTC seconds since 1970; no column has it.
TIME_COLUMN = "time"

Finite = float
Positive = Annotated[float, Meta(gt=0)]
Probability = Annotated[float, Meta(gt=0, lt=1)]
Setting = bool | int | float | str


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a recipe: immutable, and no field of it may go unread."""

    #: Fields that came later: left out of the JSON form where they have their default, so that a recipe which needs
    #: none of them keeps the form and the digest that it always had.
    LATER: ClassVar[frozenset[str]] = frozenset()


class FeatureRecipe(_Part, frozen=True, kw_only=True):
    """One input of the graph beside its parameters and scaler values.

    `scaling` says how the feature is made comparable between series: `volatility` divides it by the recent volatility
    of the window, `standard` subtracts `mean` and divides by `scale`, both taken from the rows that the fit saw, and
    `window`, for a level of the target in the working unit, subtracts the base of the window and divides by its unit.
    """

    LATER = frozenset({"parameters"})
    name: str
    columns: Annotated[tuple[str, ...], Meta(min_length=1)]
    window_size: Annotated[int, Meta(ge=1)] = 1
    #: What else the feature lets one set, where it differs from the default.
    parameters: dict[str, Setting] = {}
    scaling: Literal["volatility", "standard", "window"]
    mean: Finite = 0.0
    scale: Positive = 1.0


class StepFeatureRecipe(_Part, frozen=True, kw_only=True):
    """One number for each step ahead, made from the window, the times of the steps and what is known of the future.

    `scaling` is `none` for the number itself, `standard` as for a row feature, and `window` for a value of the target
    in the working unit: minus the base of the window, over its unit (see `forecasting.inputs.Scale`). `anchor` is
    likewise for such a value, minus what the forecast change of its own step is added to.
    """

    name: str
    columns: tuple[str, ...] = ()
    #: Length of a season or cycle: in rows, or in the unit that the feature says.
    period: Annotated[float, Meta(ge=0)] = 0.0
    #: Which harmonic, season or row back.
    order: Annotated[int, Meta(ge=0)] = 0
    #: A word that the feature needs, such as the country of holidays.
    option: str = ""
    scaling: Literal["none", "standard", "window", "anchor"] = "none"
    mean: Finite = 0.0
    scale: Positive = 1.0

    def __post_init__(self) -> None:
        # A whole number given for a number would come back from JSON as another one, and give another digest.
        msgspec.structs.force_setattr(self, "period", float(self.period))


class VolatilityRecipe(_Part, frozen=True, kw_only=True):
    """How recent volatility is measured: an exponentially weighted mean square of one-step changes.

    RiskMetrics' estimator (J.P. Morgan, 1996, section 5.2) within the window, shrunk towards the `long_run` value.
    """

    decay: Annotated[float, Meta(gt=0, le=1)]
    shrinkage: Annotated[float, Meta(ge=0, le=1)]
    #: Root mean square one-step change of the rows that the fit saw; 0 for a constant series.
    long_run: Annotated[float, Meta(ge=0)]


class AdaptationRecipe(_Part, frozen=True, kw_only=True):
    """How bands follow the folds that came after the training; see `forecasting.adaptation`."""

    #: Newest folds that are forecast again, at most.
    folds: Annotated[int, Meta(ge=1)]
    #: Rows between their cutoffs.
    stride: Annotated[int, Meta(ge=1)]
    #: How fast the aim moves for a row, in standard deviations of a miss.
    rate: Annotated[float, Meta(gt=0, le=1)]
    #: UTC seconds of the last outcome that fit or calibration have seen: earlier cutoffs are not forecast again.
    known_until: int = 0


class IntervalRecipe(_Part, frozen=True, kw_only=True):
    """Split-conformal state: for each step the ascending scores of the folds that the fit did not see.

    A score is (outcome - median) / spread of a fold, in the working unit of the target; see `forecasting.intervals`.
    """

    LATER = frozenset({"few_folds", "adaptation"})
    #: True: bands use the size of a score alone, which supports wider levels from few folds.
    is_symmetric: bool
    #: Shape (horizon, folds).
    scores: Annotated[tuple[tuple[Finite, ...], ...], Meta(min_length=1)]
    #: Folds that the scores were made from where they were too few for the levels; 0: every score is a fold.
    few_folds: Annotated[int, Meta(ge=0)] = 0
    #: ``None``: bands stay as they were calibrated.
    adaptation: AdaptationRecipe | None = None

    def __post_init__(self) -> None:
        for step, scores in enumerate(self.scores, start=1):
            if len(scores) != len(self.scores[0]) or not scores:
                raise ValueError(
                    f"scores must have equal, positive length at every step, step {step} has {len(scores)}"
                )
            if any(a > b for a, b in pairwise(scores)):
                raise ValueError(f"scores must ascend, those of step {step} do not")


class Recipe(_Part, frozen=True, kw_only=True):
    """What turns observations into the input of the graph and its output into a forecast."""

    LATER = frozenset(
        {
            "anchor",
            "future_columns",
            "static_columns",
            "step_features",
            "output",
            "gaps",
            "statistical",
            "members",
            "weights",
            "member_spreads",
        },
    )
    #: The form of the recipe that this code reads and writes.
    format: Literal[1] = 1
    algorithm: str
    #: The column that is forecast; one of `columns`.
    target: str
    #: Raw columns in the order in which a window gives them.
    columns: Annotated[tuple[str, ...], Meta(min_length=1)]
    freq: str
    calendar: str
    season_length: Annotated[int, Meta(ge=1)]
    window_size: Annotated[int, Meta(ge=2)]
    horizon: Annotated[int, Meta(ge=1)]
    #: Working unit of the target: `log-return` works on logarithms, `difference` on the values themselves.
    transform: Literal["log-return", "difference"]
    #: Inputs of the graph in order; empty without a graph.
    features: tuple[FeatureRecipe, ...] = ()
    #: Whether the graph also sees log(recent / long-run volatility) beside every row.
    has_volatility_input: bool = False
    volatility: VolatilityRecipe
    #: Probabilities of the graph's outputs, ascending, with 0.5; empty without a graph.
    quantiles: tuple[Probability, ...] = ()
    #: The share of the graph's median that is believed; the rest is the last value. Learnt on the validation part.
    median_weight: Annotated[float, Meta(ge=0, le=1)] = 1.0
    #: Mean one-step change in the working unit over the rows that the fit saw: the slope of the drift baseline.
    drift: Finite
    intervals: IntervalRecipe
    hyperparameters: dict[str, Setting] = {}
    seed: Annotated[int, Meta(ge=0)] = 0
    #: What the forecast change comes on top of: the value at the cutoff, the mean of the window in the working unit,
    #: or the value one season before each step.
    anchor: Literal["last", "mean", "seasonal"] = "last"
    #: Columns whose values at the steps are known at the cutoff; the others are past-only.
    future_columns: tuple[str, ...] = ()
    #: Columns that never change within a series.
    static_columns: tuple[str, ...] = ()
    #: Second input of the graph, one row a step; empty where the graph has none.
    step_features: tuple[StepFeatureRecipe, ...] = ()
    #: What the graph gives: quantiles of the change, or the probability that the target ends above its last value.
    output: Literal["quantiles", "direction"] = "quantiles"
    #: What becomes of missing rows and values: see `forecasting.grid`.
    gaps: Literal["skip", "forward-fill", "interpolate", "zero", "refuse"] = "skip"
    #: Parameters and states of a statistical model, which has no graph.
    statistical: StatisticalRecipe | None = None
    #: Of an ensemble, each with its own window and inputs; their graphs are one: see `forecasting.ensemble`.
    members: tuple[Recipe, ...] = ()
    #: Of the members, summing to 1; empty combines them by the median.
    weights: tuple[Annotated[float, Meta(ge=0, le=1)], ...] = ()
    #: What each member's spread is multiplied by at each step before they are combined: half its 80 % band.
    member_spreads: tuple[tuple[Positive, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.target not in self.columns:
            raise ValueError(f"target must be one of the columns {', '.join(self.columns)}, was {self.target!r}")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns must not repeat, were {', '.join(self.columns)}")
        if len(self.intervals.scores) != self.horizon:
            raise ValueError(f"intervals must have {self.horizon} steps, had {len(self.intervals.scores)}")
        if self.quantiles and (0.5 not in self.quantiles or list(self.quantiles) != sorted(set(self.quantiles))):  # noqa: PLR2004  # the median
            raise ValueError(f"quantiles must ascend and have 0.5, were {self.quantiles}")
        unknown = {name for feature in self.features for name in feature.columns} - {*self.columns, TIME_COLUMN}
        if unknown:
            raise ValueError(f"features must use the columns alone, used {', '.join(sorted(unknown))}")
        for what, names in (("future_columns", self.future_columns), ("static_columns", self.static_columns)):
            if not set(names) <= set(self.columns) - {self.target}:
                raise ValueError(f"{what} must be columns beside the target, were {', '.join(names)}")
        if self.anchor == "seasonal" and self.window_size < self.season_length:
            raise ValueError(f"window_size must be at least {self.season_length}, one season, was {self.window_size}")
        if set(self.future_columns) & set(self.static_columns):
            raise ValueError("a column must not be both static and known in the future")
        self._check_members()

    def _check_members(self) -> None:
        if not self.members:
            return
        for member in self.members:
            for name in ("target", "columns", "freq", "calendar", "horizon", "transform", "future_columns"):
                if getattr(member, name) != getattr(self, name):
                    raise ValueError(f"{name} of a member must be {getattr(self, name)}, was {getattr(member, name)}")
            if member.members or member.output != "quantiles" or member.window_size > self.window_size:
                raise ValueError(f"a member must forecast values from the window, {member.algorithm} does not")
        if self.weights and (len(self.weights) != len(self.members) or abs(sum(self.weights) - 1) > 1e-6):  # noqa: PLR2004  # rounding
            raise ValueError(f"weights must be {len(self.members)} that sum to 1, were {self.weights}")
        if [len(spreads) for spreads in self.member_spreads] != [self.horizon] * len(self.members):
            raise ValueError(f"member_spreads must be {len(self.members)} x {self.horizon}")

    @property
    def history_rows(self) -> int:
        """Rows that a forecast reads where there are as many: the window, and what adaptive bands look back on."""
        adaptation = self.intervals.adaptation
        if adaptation is None:
            return self.window_size
        return self.window_size + (adaptation.folds - 1) * adaptation.stride + self.horizon

    @property
    def baseline_rows(self) -> int:
        """Rows that the seasonal-naive baseline and the window need together."""
        return max(self.window_size, self.season_length)


def recipe_to_json(recipe: Recipe) -> dict[str, object]:
    """Return the JSON form of a recipe, for `ModelReleased.recipe`."""
    return _form(recipe)


def _form(part: _Part) -> dict[str, object]:
    form: dict[str, object] = {}
    for field in _fields(type(part)):
        value = getattr(part, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if field.name not in part.LATER or value != default:
            form[field.name] = _plain(value)
    return form


#: Looked up once a class: it reads the annotations anew each time.
_fields = cache(msgspec.structs.fields)


def _plain(value: object) -> object:
    if isinstance(value, _Part):
        return _form(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return msgspec.to_builtins(value)


def recipe_from_json(form: Mapping[str, object]) -> Recipe:
    """Return the recipe of a JSON form.

    Raises:
        InvalidArtefact: ``invalid-recipe``.
    """
    try:
        return msgspec.convert(dict(form), Recipe)
    except msgspec.ValidationError as error:
        raise InvalidArtefact(
            "invalid-recipe",
            field="recipe",
            expected="a recipe of format 1",
            found=f"one that breaks a rule: {error}",
            advice="train the model again with this version",
        ) from error


@dataclass(frozen=True)
class Artefact:
    """A recipe and the ONNX graph that belongs to it; ``None`` for a statistical model."""

    recipe: Recipe
    graph: bytes | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the recipe, a NUL and the graph, as 64 hexadecimal digits."""
        form = canonical_bytes(recipe_to_json(self.recipe))
        return hashlib.sha256(form + b"\0" + (self.graph or b"")).hexdigest()

    @property
    def version(self) -> str:
        """The first 16 digits of the digest: the version of the model."""
        return self.digest[:VERSION_DIGITS]
