"""The recursions of the statistical models against statsforecast, on the monthly series of M3 and on sales."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from statsforecast.arima import auto_arima_f, forecast_arima, forward_arima
from statsforecast.ces import auto_ces, forecast_ces
from statsforecast.ets import ets_f, forecast_ets, forward_ets
from statsforecast.theta import auto_theta, forecast_theta

from forecasting.models import arima_states, ces_states, ets_states, theta_states
from forecasting.models.hyperparameters import resolve
from forecasting.models.statistical import fit
from forecasting.models.statistical_recipe import ArimaRecipe, CesRecipe, EtsRecipe, ThetaRecipe
from forecasting.models.statistical_settings import SETTINGS, THETA_FORMS

Rows = npt.NDArray[np.float64]
SEASON, NEWER, STEPS = 12, 18, 30
#: Of M3: without a season, with one, with a trend, short.
NAMES = ("M1", "M141", "M281", "M561", "M701", "M1121", "M1401")
TIGHT = 1e-8

ETS_FORMS = [
    (model, damped)
    for model in ("ANN", "ANA", "AAN", "AAA", "MNN", "MNA", "MNM", "MAN", "MAA", "MAM")
    for damped in (("no", "yes") if model[1] == "A" else ("no",))
]


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, Rows]:
    """Monthly series, the test part of M3 at their ends."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    with gzip.open(shared_data / "benchmarks" / "M3_monthly.csv.gz", mode="rt") as lines:
        for row in csv.DictReader(lines):
            if row["unique_id"] in found:
                found[row["unique_id"]].append(float(row["y"]))
    with (shared_data / "sales" / "monthly-airline-passengers.csv").open() as lines:
        found["passengers"] = [float(row["Passengers"]) for row in csv.DictReader(lines)]
    return {name: np.array(values) for name, values in found.items()}


def fitted(name: str, rows: Rows, **settings: bool | float | str) -> EtsRecipe | ThetaRecipe:
    times = np.arange(len(rows), dtype=np.int64)
    return fit(name, rows, times, SEASON, resolve(SETTINGS[name], settings, name))  # type: ignore[return-value]


def assert_close(found: Rows, expected: Rows) -> None:
    expected = np.asarray(expected, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=TIGHT, atol=TIGHT * float(np.abs(expected).max()))


@pytest.mark.parametrize(("model", "damped"), ETS_FORMS)
def test_every_ets_form_follows_the_library(real: dict[str, Rows], model: str, damped: str) -> None:
    for rows in real.values():
        known = rows[:-NEWER]
        recipe = fitted("ets", known, model=model, damped=damped)
        theirs = ets_f(known, SEASON, model=model, damped=damped == "yes")
        first = theirs["states"][0]
        seasonal = tuple(first[-SEASON:][::-1]) if recipe.seasonal else ()
        start = ets_states.EtsStates(first[0], first[1] if recipe.has_trend else 0.0, seasonal)

        end, expected = ets_states.advanced(recipe, start, known)
        newer, _ = ets_states.advanced(recipe, ets_states.stored(recipe), rows[-NEWER:])

        assert_close(expected, theirs["fitted"])
        assert_close(np.hstack(end), np.hstack(ets_states.stored(recipe)))
        # The stored states and the newer rows are where the library comes from its first states.
        after = forward_ets(theirs, rows)["states"][-1]
        assert_close(
            np.hstack(newer)[[0, *range(2, 2 + len(seasonal))]],
            np.hstack([after[0], after[-SEASON:][::-1][: len(seasonal)]]),
        )


@pytest.mark.parametrize(("model", "damped"), ETS_FORMS)
def test_ets_path_is_what_the_recursion_expects_of_itself(real: dict[str, Rows], model: str, damped: str) -> None:
    # A forecast that comes true teaches nothing; the library's own damped path breaks this: its second step is
    # phi + phi, where Hyndman (2008, table 2.1) has phi + phi^2.
    for rows in real.values():
        recipe = fitted("ets", rows, model=model, damped=damped)
        states = ets_states.stored(recipe)
        path = ets_states.path(recipe, states, STEPS)

        assert_close(ets_states.advanced(recipe, states, path)[1], path)
        if damped == "no":
            assert_close(path, forecast_ets(ets_f(rows, SEASON, model=model, damped=False), STEPS)["mean"])


@pytest.mark.parametrize("form", THETA_FORMS)
def test_every_theta_form_follows_the_library(real: dict[str, Rows], form: str) -> None:
    for rows in real.values():
        recipe = fitted("theta", rows, form=form)
        theirs = auto_theta(rows, SEASON, model=THETA_FORMS[form])
        half = len(rows) // 2
        turned = np.roll(recipe.seasonal, -((half - len(rows)) % SEASON)) if recipe.seasonal else ()
        middle = theta_states.ThetaStates(half, *theirs["states"][half - 1][:4], tuple(turned))

        end, _ = theta_states.advanced(recipe, middle, rows[half:])

        assert_close(np.hstack(end), np.hstack(theta_states.stored(recipe)))
        path = theta_states.path(recipe, theta_states.stored(recipe), STEPS)
        assert_close(path, forecast_theta(theirs, STEPS)["mean"])
        assert_close(theta_states.advanced(recipe, theta_states.stored(recipe), path)[1], path)


def test_theta_fitted_values_follow_the_library(real: dict[str, Rows]) -> None:
    rows = real["M1401"]
    for form in THETA_FORMS:
        recipe = fitted("theta", rows, form=form)
        theirs = auto_theta(rows, SEASON, model=THETA_FORMS[form])
        assert recipe.season == "none"  # the library's residuals are scaled by the season where there is one

        first = theta_states.ThetaStates(1, *theirs["states"][0][:4], ())

        assert_close(theta_states.advanced(recipe, first, rows[1:])[1], (rows - theirs["residuals"])[1:])


@pytest.mark.parametrize("season", ["none", "simple", "partial", "full"])
def test_every_ces_form_follows_the_library(real: dict[str, Rows], season: str) -> None:
    for rows in real.values():
        recipe = fitted("ces", rows, season=season)
        assert isinstance(recipe, CesRecipe)
        theirs = auto_ces(rows, SEASON, model=season[0].upper())
        lag, half = recipe.season_length, len(rows) // 2
        pairs = np.pad(theirs["states"], ((0, 0), (0, 4)))[:, :4]
        newest = slice(half, half + lag)
        levels = pairs[newest, :2] if season == "simple" else pairs[half + lag - 1 : half + lag, :2]
        seasonal = pairs[newest, 2:] if recipe.seasonal else pairs[:0, 2:]
        middle = ces_states.CesStates(tuple(map(tuple, levels)), tuple(map(tuple, seasonal)))

        end, expected = ces_states.advanced(recipe, middle, rows[half:])

        assert_close(expected, theirs["fitted"][half:])
        assert_close(np.array([*end.level, *end.seasonal]), np.array([*recipe.level, *recipe.seasonal]))
        path = ces_states.path(recipe, ces_states.stored(recipe), STEPS)
        assert_close(path, forecast_ces(theirs, STEPS)["mean"])
        assert_close(ces_states.advanced(recipe, ces_states.stored(recipe), path)[1], path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the library, about forms that it drops
@pytest.mark.parametrize("seasonal", [True, False])
def test_arima_follows_the_library(real: dict[str, Rows], *, seasonal: bool) -> None:
    orders = set()
    for rows in (real[name] for name in ("M1", "M561", "M701", "M1401", "passengers")):
        known = rows[:-NEWER]
        recipe = fitted("arima", known, max_p=1, max_q=1, max_seasonal_p=1, max_seasonal_q=1, seasonal=seasonal)
        assert isinstance(recipe, ArimaRecipe)
        theirs = auto_arima_f(
            known, period=SEASON, max_p=1, max_q=1, max_P=1, max_Q=1, seasonal=seasonal, approximation=False
        )
        expected = forecast_arima(theirs, STEPS, level=[80])
        after = forecast_arima(forward_arima(theirs, rows), STEPS)["mean"]

        stored = arima_states.stored(recipe)
        newer, _ = arima_states.advanced(recipe, stored, rows[-NEWER:])

        path = arima_states.path(recipe, stored, STEPS)
        assert_close(path, expected["mean"])
        assert_close(arima_states.path(recipe, newer, STEPS), after)
        assert_close(arima_states.advanced(recipe, stored, path)[1], path)
        band = (expected["upper"].to_numpy() - expected["lower"].to_numpy())[:, 0]
        # The library adds what is left of the uncertainty about the first rows.
        np.testing.assert_allclose(arima_states.spread(recipe, newer, STEPS), band / band[0], rtol=5e-3)
        orders.add((recipe.order[1], recipe.seasonal_order[1], recipe.drift != 0, recipe.mean != 0))
    # Differenced by a row and by a season, with a drift and with a mean: all of it was tried.
    assert {row for row, *_ in orders} >= {0, 1}
    assert any(mean for *_, mean in orders)
    assert any(drift for *_, drift, _ in orders)
    assert any(differences for _, differences, *_ in orders) == seasonal


@pytest.mark.parametrize(("model", "damped"), ETS_FORMS)
def test_ets_spread_is_that_of_simulated_paths(real: dict[str, Rows], model: str, damped: str) -> None:
    # 1 / sqrt(2 x 20,000 paths) is 0.5 %, and a step is compared with the first one.
    for name in ("M701", "passengers"):
        recipe = fitted("ets", real[name], model=model, damped=damped)
        assert isinstance(recipe, EtsRecipe)

        found = ets_states.spread(recipe, ets_states.stored(recipe), STEPS)

        deviation = simulated(recipe, paths=20_000).std(axis=0)
        # The variance of a multiplicative season is an approximation (section 6.4).
        tolerance = 0.04 if recipe.season == "multiplicative" else 0.03
        np.testing.assert_allclose(found / found[0], deviation / deviation[0], rtol=tolerance)


def simulated(recipe: EtsRecipe, paths: int) -> Rows:
    """Return paths by the error correction form of Hyndman (2008, tables 2.2 and 2.3), shape (paths, steps)."""
    rng = np.random.default_rng(0)
    level, slope = np.full(paths, recipe.level), np.full(paths, recipe.slope)
    seasonal = np.tile(recipe.seasonal, (paths, 1))
    found = np.empty((paths, STEPS))
    for step in range(STEPS):
        base, at = level + recipe.phi * slope, step % SEASON
        season = seasonal[:, at] if recipe.seasonal else 1.0 if recipe.season == "multiplicative" else 0.0
        middle = base * season if recipe.season == "multiplicative" else base + season
        error = rng.normal(scale=np.sqrt(recipe.variance), size=paths)
        if recipe.error == "multiplicative":
            error = error * middle
        found[:, step] = middle + error
        over = error / season if recipe.season == "multiplicative" else error
        level, slope = base + recipe.alpha * over, recipe.phi * slope + recipe.beta * over
        if recipe.seasonal:
            gained = error / base if recipe.season == "multiplicative" else error
            seasonal[:, at] = seasonal[:, at] + recipe.gamma * gained
    return found
