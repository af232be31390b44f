"""Bad input is refused before anything is fitted, with code, field, rule and what was found; a fit that fails says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from forecasting import fits, training
from forecasting.errors import DivergedTraining, ForecastingError, InvalidObservations
from forecasting.models import registry
from forecasting.panel import Observations
from forecasting.residuals import Residuals
from forecasting.training import TrainingSpec, train
from tests.unit.forecasting.series import BAR_COLUMNS, DAY, bars, observations_of, prices

ROWS = 200
NAME = "observations.market/HET@1d"
Change = Callable[[Observations], Observations]


def spec(**changes: object) -> TrainingSpec:
    settings = {"algorithm": "linear", "columns": BAR_COLUMNS, "horizon": 3, "window_size": 10, "levels": (80.0,)}
    return TrainingSpec(**(settings | changes))  # type: ignore[arg-type]


def sound() -> Observations:
    return observations_of(bars(ROWS))


def having(column: str, values: object, rows: object = slice(None)) -> Change:
    """Put values into some rows of a column."""

    def change(given: Observations) -> Observations:
        made = given.columns.get(column, np.full(len(given), np.nan)).copy()
        made[rows] = values
        return replace(given, columns=given.columns | {column: made})

    return change


def at(time: Callable[[np.ndarray], np.ndarray], **changes: object) -> Change:
    """Give the rows other times."""
    return lambda given: replace(given, time=time(given.time), **changes)


def swapped(time: np.ndarray) -> np.ndarray:
    made = time.copy()
    made[[50, 51]] = made[[51, 50]]
    return made


def doubled(time: np.ndarray) -> np.ndarray:
    made = time.copy()
    made[51] = made[50]
    return made


def nothing(given: Observations) -> Observations:
    return given


BAD_SETTINGS = [
    ({"algorithm": "prophet"}, "unknown-algorithm", "algorithm", "one of ", "'prophet'"),
    ({"hyperparameters": {"depth": 3}}, "unknown-hyperparameter", "hyperparameters.depth", "one that linear has", "3"),
    (
        {"hyperparameters": {"penalty": -2.0}},
        "invalid-hyperparameter",
        "hyperparameters.penalty",
        "a number from",
        "-2",
    ),
    (
        {"hyperparameters": {"loss": "cubic"}},
        "invalid-hyperparameter",
        "hyperparameters.loss",
        "one of squared",
        "cubic",
    ),
    ({"hyperparameters": {"refits": 2.5}}, "invalid-hyperparameter", "hyperparameters.refits", "a whole number", "2.5"),
    (
        {"algorithm": "lstm", "hyperparameters": {"learning_rate": float("nan")}},
        "invalid-hyperparameter",
        "hyperparameters.learning_rate",
        "a number from",
        "nan",
    ),
    ({"horizon": 0}, "invalid-training", "horizon", "at least 1 and at most 1000", "0"),
    ({"horizon": 1001}, "invalid-training", "horizon", "at least 1 and at most 1000", "1001"),
    ({"window_size": 1}, "invalid-training", "window_size", "at least 2 and at most 10000", "1"),
    ({"window_size": 10_001}, "invalid-training", "window_size", "at least 2 and at most 10000", "10001"),
    ({"season_length": -1}, "invalid-training", "season_length", "at least 0", "-1"),
    ({"levels": ()}, "invalid-training", "levels", "1 to 20 levels in percent", "()"),
    ({"levels": (0.0,)}, "invalid-training", "levels", "above 0 and below 100", "0.0"),
    ({"levels": (80.0, 100.0)}, "invalid-training", "levels", "above 0 and below 100", "100.0"),
    ({"columns": ("open",)}, "invalid-training", "columns", "to contain the target close", "open"),
    ({"columns": ("close", "close")}, "invalid-training", "columns", "without repeats", "close, close"),
    ({"covariates": {"close": "static"}}, "invalid-training", "covariates.close", "absent", "close"),
    (
        {"algorithm": "seasonal-naive", "window_size": 6},
        "invalid-training",
        "window_size",
        "at least 7, one season",
        "6",
    ),
    ({"target": "sales", "columns": ()}, "unknown-column", "target", "one of the columns of market/HET@1d", "'sales'"),
    ({"columns": ("close", "ask")}, "unknown-column", "columns", "one of the columns of market/HET@1d", "'ask'"),
    ({"covariates": {"promo": "known-future"}}, "unknown-column", "covariates.promo", "one of the columns", "'promo'"),
]


@pytest.mark.parametrize(("changes", "code", "field", "expected", "found"), BAD_SETTINGS)
def test_settings_that_cannot_be_are_refused(
    changes: dict[str, object], code: str, field: str, expected: str, found: str
) -> None:
    _refused(spec(**changes), [sound()], code, field, expected, found)


BAD_SERIES = [
    ({}, having("close", 7.0), "constant-series", "close", "a target that changes", "7 in all 200 rows"),
    ({}, having("close", np.nan), "empty-column", "close", "a value in some row", "none in 200 rows"),
    ({}, having("volume", np.nan), "empty-column", "volume", "a value in some row", "none in 200 rows"),
    ({}, having("close", np.inf, 50), "infinite-value", "close", "finite", "inf at 2020-02-25"),
    ({}, having("open", -np.inf, [50, 60]), "infinite-value", "open", "finite", "-inf at 2020-02-25, and 1 rows more"),
    ({}, having("volume", -5.0, 100), "negative-volume", "volume", "0 or more", "-5 at 2020-04-15"),
    ({}, having("high", 0.0, 3), "not-positive", "high", "positive, as close is", "0 at 2020-01-09"),
    ({}, having("low", -1.0, 3), "not-positive", "low", "positive, as close is", "-1 at 2020-01-09"),
    ({}, having("open", 0.0, 3), "not-positive", "open", "positive, as close is", "0 at 2020-01-09"),
    ({}, having("adj_close", 0.0, 3), "not-positive", "adj_close", "positive, as close is", "0 at 2020-01-09"),
    ({"target": "high"}, having("close", 0.0, 3), "not-positive", "close", "positive, as high is", "0 at 2020-01-09"),
    (
        {"covariates": {"size": "static"}},
        lambda given: having("size", 9.0, 120)(having("size", 4.0)(given)),
        "static-varies",
        "size",
        "4 in every row",
        "9 at 2020-05-05",
    ),
    ({}, at(swapped), "unsorted-times", "time", "strictly ascending", "2020-02-25 in row 51 after 2020-02-26"),
    ({}, at(doubled), "duplicated-times", "time", "strictly ascending", "2020-02-25 in row 51 after 2020-02-25"),
    ({}, at(lambda time: time[0] + (time - time[0]) // 24), "wrong-freq", "freq", "which is 1h for most", "1d"),
    ({}, at(lambda time: time[0] + (time - time[0]) * 7), "wrong-freq", "freq", "which is 7d for most", "1d"),
    ({}, at(lambda time: time, calendar="XNYS"), "irregular-series", "time", "calendar XNYS", "2020-01-11"),
    (
        {},
        at(lambda time: time + np.random.default_rng(0).integers(0, DAY // 60, ROWS) * 60 // 3),
        "irregular-series",
        "time",
        "for at least 95% of the rows",
        "of 200 rows; the first that is not is",
    ),
    (
        {"gaps": "refuse"},
        having("close", np.nan, 9),
        "missing-observations",
        "",
        "the rule refuse",
        "close of 2020-01-15",
    ),
    (
        {"gaps": "zero"},
        at(lambda time: np.append(time[:-1], time[-1] + 30_000 * DAY)),
        "too-many-gaps",
        "time",
        "if missing rows are to be filled",
        "200 rows over",
    ),
]


@pytest.mark.parametrize(("changes", "change", "code", "column", "expected", "found"), BAD_SERIES)
def test_series_that_should_not_be_learnt_from_are_refused(  # noqa: PLR0917  # one column of the table each
    changes: dict[str, object], change: Change, code: str, column: str, expected: str, found: str
) -> None:
    _refused(spec(**changes), [change(sound())], code, f"{NAME}.{column}".removesuffix("."), expected, found)


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ([], "no-observations", "observations"),
        (
            [sound(), observations_of(bars(ROWS), freq="1h", name="TOC")],
            "mixed-freq",
            "observations.market/TOC@1h.freq",
        ),
        (
            [sound(), observations_of(bars(ROWS), calendar="XNYS", name="TOC")],
            "mixed-calendar",
            "observations.market/TOC@1d.calendar",
        ),
        ([sound(), having("close", 5.0)(observations_of(bars(ROWS), name="TOC"))], "constant-series", "market/TOC@1d"),
        ([observations_of(bars(12))], "too-little-history", "observations"),
    ],
)
def test_series_that_do_not_go_together_are_refused(given: list[Observations], code: str, field: str) -> None:
    with pytest.raises(InvalidObservations) as caught:
        train(spec(), given)
    assert caught.value.code == code
    assert field in caught.value.field


def _refused(  # noqa: PLR0917  # what a refusal says
    asked: TrainingSpec, given: list[Observations], code: str, field: str, expected: str, found: str
) -> None:
    """Hold a refusal to its words, and to coming before any fit."""
    told: list[str] = []
    with pytest.raises(ForecastingError) as caught:
        train(asked, given, lambda progress: told.append(progress.stage))
    error = caught.value
    assert (error.code, error.field) == (code, field)
    assert expected in error.expected
    assert found in error.found
    assert set(told) <= {"reading"}


def test_there_are_enough_cases() -> None:
    assert len(BAD_SETTINGS) + len(BAD_SERIES) > 40


def test_missing_values_are_no_bad_input() -> None:
    given = having("volume", np.nan, [3, 77])(having("close", np.nan, 50)(sound()))

    assert train(spec(), [given]).diagnostics.rows_skipped == 3
    assert train(spec(gaps="forward-fill"), [given]).diagnostics.rows_skipped == 0


# --- fits that go wrong ----------------------------------------------------------------------------------------------

NETS = [
    ("lstm", {"layers": "32", "dense": 0, "epochs": 2, "refits": 1}),
    ("nhits", {"layers": "8", "epochs": 2, "refits": 1}),
    ("tcn", {"layers": "5,4", "epochs": 2, "refits": 1}),
]


@pytest.mark.parametrize(("algorithm", "hyperparameters"), NETS)
def test_outcomes_beyond_all_numbers_are_a_diverged_training(
    algorithm: str, hyperparameters: dict[str, object]
) -> None:
    # The fit part never moves, so that the jump later is infinite in units of its volatility.
    values = np.where(np.arange(300) < 275, 0.0, 1e35 * np.sin(np.arange(300)))
    asked = spec(algorithm=algorithm, columns=(), hyperparameters=hyperparameters)
    with pytest.raises(DivergedTraining) as caught:
        train(asked, [observations_of({"close": values})])
    assert (caught.value.code, caught.value.field) == ("diverged-training", "loss")
    assert "finite in every epoch" in caught.value.expected


@pytest.mark.parametrize(("algorithm", "hyperparameters"), NETS[:2])
def test_a_learning_rate_that_explodes_is_a_diverged_training(
    algorithm: str, hyperparameters: dict[str, object]
) -> None:
    asked = spec(algorithm=algorithm, columns=(), hyperparameters=hyperparameters | {"learning_rate": 1000.0})
    with pytest.raises(DivergedTraining) as caught:
        train(asked, [observations_of({"close": prices(ROWS)})])
    assert "lower learning_rate, which was 1000" in caught.value.advice


@pytest.mark.parametrize(("algorithm", "hyperparameters"), NETS)
def test_a_loss_that_is_not_a_number_is_a_diverged_training(
    algorithm: str, hyperparameters: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that is not a number reaches the loss of every net; red where a loss is not held to be finite."""
    whole = fits.examples_of

    def broken(*arguments: object) -> object:
        examples = whole(*arguments)  # type: ignore[arg-type]
        examples.inputs[0, 0, 0] = np.nan
        return examples

    monkeypatch.setattr(fits, "examples_of", broken)
    with pytest.raises(DivergedTraining, match="nan"):
        train(spec(algorithm=algorithm, hyperparameters=hyperparameters), [sound()])


def test_forecasts_that_leave_the_numbers_are_a_diverged_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without `training._require_finite`: the release would have bands that are not numbers."""
    whole = training.residuals_of

    def broken(*arguments: object) -> Residuals:
        found = whole(*arguments)  # type: ignore[arg-type]
        found.change[0, 0] = np.inf
        return found

    monkeypatch.setattr(training, "residuals_of", broken)
    with pytest.raises(DivergedTraining, match="finite on every fold of the backtest"):
        train(spec(algorithm="drift"), [sound()])


def test_every_net_of_the_registry_shares_the_fit_that_is_tested_here() -> None:
    from forecasting.models.net_fitting import NetAlgorithm

    for name, _ in NETS:
        assert isinstance(registry.algorithm(name), NetAlgorithm)
