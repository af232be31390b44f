"""Statistical models in training and serving: which rows their states belong to, the season's phase, and bad input."""

from __future__ import annotations

import subprocess
import sys
from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from forecasting.artefact import recipe_from_json, recipe_to_json
from forecasting.errors import InvalidArtefact, InvalidTraining, InvalidWindow, TooLittleHistory
from forecasting.models import ets_states, mapa_states, statistical_centre
from forecasting.models.ets_states import EtsStates
from forecasting.models.hyperparameters import resolve
from forecasting.models.seasonal_start import seasonal_of, shrunken_seasonal_of
from forecasting.models.statistical import LEAST_ROWS, fit
from forecasting.models.statistical_recipe import ArimaRecipe, EtsRecipe, MapaRecipe, StatisticalRecipe, ThetaRecipe
from forecasting.models.statistical_settings import SETTINGS, STATISTICAL
from forecasting.panel import Window
from forecasting.serving import LoadedModel
from forecasting.training import TrainingSpec, train
from tests.timing import processor_seconds
from tests.unit.forecasting.series import DAY, START, observations_of, prices

Rows = npt.NDArray[np.float64]
Value = bool | int | float | str
SEASON, STEPS = 7, 14
#: One of every kind of season, with what to ask for.
SEASONAL: tuple[tuple[str, dict[str, Value]], ...] = (
    ("ets", {"model": "AAA"}),
    ("ets", {"model": "MAM", "damped": "yes"}),
    ("ets", {"model": "ANA", "transform": "log"}),
    ("theta", {"season": "multiplicative"}),
    ("theta", {"form": "standard", "season": "additive"}),
    ("ces", {"season": "simple"}),
    ("ces", {"season": "partial"}),
    ("ces", {"season": "full"}),
    ("mapa", {}),
    ("mapa", {"transform": "none"}),
    ("arima", {"max_p": 1, "max_q": 0, "max_seasonal_p": 0, "max_seasonal_q": 1}),
)


def weekly(rows: int, *, noise: float = 0.0, seed: int = 0) -> Rows:
    """A level of 100 that grows a little, with a weekly season that stands out."""
    season = np.array([0.0, 8.0, -5.0, 12.0, -9.0, 3.0, -9.0])
    found = 100 + 0.05 * np.arange(rows) + np.resize(season, rows)
    return found + noise * np.random.default_rng(seed).standard_normal(rows)


def model_of(
    name: str, rows: Rows, settings: dict[str, Value] | None = None, season: int = SEASON
) -> StatisticalRecipe:
    return fit(name, rows, times(len(rows)), season, resolve(SETTINGS[name], settings or {}, name))


def times(rows: int, start: int = 0) -> npt.NDArray[np.int64]:
    return int(START.timestamp()) + DAY * np.arange(start, start + rows, dtype=np.int64)


def path(model: StatisticalRecipe, rows: Rows, time: npt.NDArray[np.int64] | None, steps: int = STEPS) -> Rows:
    centre = statistical_centre.centre_of(model, rows, time, steps, is_log_unit=False)
    return centre.anchor + centre.change


@pytest.mark.parametrize(("name", "settings"), SEASONAL)
def test_the_season_stands_where_the_rows_put_it(name: str, settings: dict[str, Value]) -> None:
    # Red when a state is turned by one row too many or too few, in the stored states or in those of a bare window.
    known, truth = weekly(210, noise=0.1), weekly(260)
    model = model_of(name, known, settings)

    for end in range(210, 224):
        for size in (2 * SEASON + 7, 3 * SEASON + 10, 40):
            window = np.concatenate([known, weekly(260, noise=0.1, seed=1)[210:]])[end - size : end]
            bare = path(model, window, None)
            timed = path(model, window, times(size, end - size))

            np.testing.assert_allclose(bare, truth[end : end + STEPS], atol=4.0)
            np.testing.assert_allclose(timed, truth[end : end + STEPS], atol=1.5)


@pytest.mark.parametrize("name", STATISTICAL)
def test_newer_rows_advance_the_stored_states_exactly(name: str) -> None:
    rows = weekly(240, noise=1.0)
    model = model_of(name, rows[:210])

    # However long the window is that shows row 209, the forecast is the same; without it the window speaks alone.
    long, short = (path(model, rows[240 - size :], times(size, 240 - size)) for size in (80, 31))
    unknown = path(model, rows[-30:], times(30, 210))

    np.testing.assert_array_equal(long, short)
    np.testing.assert_array_equal(unknown, path(model, rows[-30:], None))
    assert not np.array_equal(unknown, long)


@pytest.mark.parametrize("name", STATISTICAL)
def test_states_of_later_rows_are_not_used_for_an_earlier_cutoff(name: str) -> None:
    # Red when `_newer_rows` takes a window that ends before the row of the states.
    rows = weekly(240, noise=1.0)
    model = model_of(name, rows)

    earlier = path(model, rows[150:200], times(50, 150))

    np.testing.assert_array_equal(earlier, path(model, rows[150:200], None))


@pytest.mark.parametrize("name", STATISTICAL)
def test_nothing_is_fitted_in_serving(name: str) -> None:
    code = (
        "import sys, forecasting.serving, forecasting.statistical_forecaster;"
        "print([m for m in ('statsforecast', 'scipy', 'statsmodels', 'pandas', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)

    assert found.stdout.strip() == "[]"
    model = model_of(name, weekly(60, noise=1.0))
    assert msgspec.json.decode(msgspec.json.encode(model), type=StatisticalRecipe) == model


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_constant_history_is_forecast_by_its_value(name: str) -> None:
    model = model_of(name, np.full(40, 7.0))

    for window, when in ((np.full(20, 7.0), None), (np.full(20, 7.0), times(20, 20))):
        np.testing.assert_allclose(path(model, window, when), 7.0, rtol=1e-9)
    # It is no stone: the first row that differs moves it.
    moved = path(model, np.append(np.full(19, 7.0), 8.0), times(20, 21))
    assert (moved > 7.1).all()


@pytest.mark.parametrize("name", STATISTICAL)
def test_short_histories_are_fitted_without_a_season_and_shorter_ones_refused(name: str) -> None:
    model = model_of(name, weekly(13, noise=1.0))
    assert model.season_length == 1

    with pytest.raises(TooLittleHistory, match=f"at least {LEAST_ROWS} complete rows for {name}, was 11"):
        model_of(name, weekly(11))


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_window_that_the_recursion_cannot_start_on_is_refused(name: str) -> None:
    settings: dict[str, Value] = {"arima": dict(SEASONAL[-1][1]), "ces": {"season": "full"}}.get(name, {})
    model = model_of(name, weekly(210, noise=0.1), settings)
    needed = statistical_centre.least_rows(model)

    assert needed >= SEASON
    with pytest.raises(InvalidWindow, match=f"at least {needed} rows to start on, was {needed - 1} rows"):
        path(model, weekly(needed - 1), None)
    assert np.isfinite(path(model, weekly(needed), None)).all()


def test_logarithms_and_factors_need_a_positive_target() -> None:
    rows = weekly(60) - 100
    for name, settings, field in (
        ("theta", {"transform": "log"}, "transform"),
        ("ets", {"model": "ZZM"}, "model"),
        ("ets", {"model": "MAN"}, "model"),
    ):
        with pytest.raises(InvalidTraining, match=f"hyperparameters.{field} must be .*0 or below") as caught:
            model_of(name, rows, settings)
        assert caught.value.code == "invalid-hyperparameter"
    with pytest.raises(InvalidTraining, match="without M where transform is log"):
        model_of("ets", weekly(60), {"transform": "log", "model": "MAM"})
    # Chosen forms keep clear of both; theta adds its season.
    ets, theta = model_of("ets", rows), model_of("theta", rows)
    assert isinstance(ets, EtsRecipe)
    assert isinstance(theta, ThetaRecipe)
    assert (ets.error, ets.season, theta.season) == ("additive", "additive", "additive")


def test_a_log_model_refuses_a_window_that_is_not_positive() -> None:
    model = model_of("ets", weekly(60), {"transform": "log"})
    window = weekly(20)
    window[3] = 0.0

    with pytest.raises(InvalidWindow, match=r"window\[3\] must be positive") as caught:
        path(model, window, None)
    assert caught.value.code == "window-not-positive"


def test_a_positive_target_stays_positive() -> None:
    # A straight line down reaches zero; red without the floor of `centre_of`.
    falling = np.linspace(100, 2, 50)
    model = model_of("ets", falling, {"model": "AAN", "damped": "no"}, season=1)

    centre = statistical_centre.centre_of(model, falling, times(50), STEPS, is_log_unit=True)

    levels = centre.anchor * np.exp(centre.change)
    assert (levels > 0).all()
    assert levels[-1] == pytest.approx(1.0)
    assert path(model, falling, times(50))[-1] < 0


@pytest.mark.parametrize("name", STATISTICAL)
def test_bands_widen_with_the_step(name: str) -> None:
    rows = prices(200)
    for is_log in (True, False):
        growth = statistical_centre.centre_of(model_of(name, rows), rows, times(200), STEPS, is_log_unit=is_log).growth
        assert growth[0] == pytest.approx(1)
        assert growth[-1] > 1.5
        assert (growth > 0).all()


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_statistical_model_is_trained_on_one_series(name: str) -> None:
    series = [observations_of({"close": prices(150, seed=seed)}, name=f"S{seed}") for seed in range(2)]

    with pytest.raises(InvalidTraining, match=f"one series: {name} is a model of a single one, was 2 series") as caught:
        train(TrainingSpec(algorithm=name, horizon=3), series)
    assert caught.value.code == "one-series-only"
    with pytest.raises(InvalidTraining, match=f"at least 7, one season, for {name}"):
        train(TrainingSpec(algorithm=name, horizon=3, window_size=6), series[:1])


@pytest.mark.parametrize("name", ["theta", "ets"])
def test_the_released_model_knows_its_last_row(name: str) -> None:
    rows = weekly(200, noise=1.0)
    trained = train(
        TrainingSpec(algorithm=name, horizon=SEASON, hyperparameters={"refits": 1}), [observations_of({"close": rows})]
    )
    model = LoadedModel.load(recipe_to_json(trained.recipe), None)

    assert trained.graph is None
    assert trained.recipe.statistical is not None
    assert trained.recipe.statistical.state_time == times(200)[-1]
    assert recipe_from_json(recipe_to_json(trained.recipe)) == trained.recipe
    assert model.reads_time
    window = Window(rows[-20:, None], None, times(20, 180))
    known, bare = (model.forecast([one], SEASON, (80.0,))[0].median for one in (window, window._replace(time=None)))
    assert not np.array_equal(known, bare)
    assert trained.skill["last-value"] > 0.5  # the season is there to be seen
    with pytest.raises(InvalidArtefact, match=f"absent for {name}"):
        LoadedModel.load(trained.recipe, b"graph")


def test_the_levels_of_mapa_take_turns_row_by_row() -> None:
    # One state for each row that a mean can end with: the oldest takes the newest mean and becomes the newest.
    rows = np.log(weekly(240, noise=1.0))
    model = model_of("mapa", np.exp(rows[:210]))
    assert isinstance(model, MapaRecipe)
    assert [level.rows for level in model.levels] == [1, 7]
    seasonal = np.array(model.seasonal)

    for newer in (1, 6, 7, 8, 30):
        states = mapa_states.stored(model, rows[210 : 210 + newer])
        for level, found in states.levels:
            turns = deque(EtsStates(*pair, ()) for pair in level.earlier)
            turns.append(EtsStates(level.model.level, level.model.slope, ()))
            adjusted = list(model.newest)
            for row in range(newer):
                adjusted.append(rows[210 + row] - seasonal[row % SEASON])
                mean = np.array([np.mean(adjusted[-level.rows :])])
                turns.append(ets_states.advanced(level.model, turns.popleft(), mean)[0])
            # A slope is the difference of two levels: it has their last digits, which depend on the processor.
            np.testing.assert_allclose(found[:2], turns[-1][:2], rtol=1e-12, atol=1e-12 * found[0])
        np.testing.assert_array_equal(states.seasonal, np.roll(seasonal, -newer))


def test_a_season_that_does_not_repeat_is_shrunk_to_none() -> None:
    # Over four seasons both take the same means; one is a share of the other.
    def share(rows: Rows) -> float:
        classical = seasonal_of(rows, SEASON, is_multiplicative=False)
        shrunk = shrunken_seasonal_of(rows, SEASON)
        np.testing.assert_allclose(shrunk * (classical @ classical), classical * (shrunk @ classical), atol=1e-9)
        return float(shrunk @ classical / (classical @ classical))

    rng = np.random.default_rng(0)

    assert share(weekly(28, noise=0.1)) > 0.99
    assert np.mean([share(rng.standard_normal(28)) for _ in range(50)]) < 0.6
    np.testing.assert_array_equal(shrunken_seasonal_of(np.arange(28.0), SEASON), 0.0)


def test_arima_differences_no_further_back_than_a_window_shows() -> None:
    rows = weekly(120, noise=0.1)
    settings = resolve(SETTINGS["arima"], SEASONAL[-1][1], "arima")

    wide, narrow = (fit("arima", rows, None, SEASON, settings, window_size=size) for size in (20, 8))

    assert isinstance(wide, ArimaRecipe)
    assert isinstance(narrow, ArimaRecipe)
    assert wide.seasonal_order[1] == 1
    assert len(narrow.values) < 8
    assert statistical_centre.least_rows(narrow) <= 8


def test_recipes_with_states_of_the_wrong_length_are_refused() -> None:
    for name, field in (("ets", "seasonal"), ("theta", "seasonal"), ("ces", "seasonal"), ("arima", "state")):
        form = msgspec.to_builtins(model_of(name, weekly(70, noise=0.1)))
        form[field] = [*form[field], form[field][0] if form[field] else 1.0]
        with pytest.raises(msgspec.ValidationError, match="must have"):
            msgspec.convert(form, StatisticalRecipe)


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_window_of_200_rows_costs_little(name: str) -> None:
    # Thirty times less than a fit on the same machine when written: nothing is fitted.
    rows = weekly(200, noise=1.0)
    model = model_of(name, rows)

    # The first fit has compiled what it needs.
    fitted = processor_seconds(lambda: model_of(name, rows), 2)
    assert 5 * processor_seconds(lambda: path(model, rows, None), 20) < fitted
