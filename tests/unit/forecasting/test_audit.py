"""The leakage audit: every algorithm passes, and planted leaks are caught and named."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from forecasting.artefact import FeatureRecipe
from forecasting.audit import Audit, Code, audit_model
from forecasting.audit_fits import audit_choice, audit_fit
from forecasting.features import Feature, feature_of
from forecasting.folds import Part
from forecasting.panel import Observations
from forecasting.preparation import examples_of
from forecasting.serving import LoadedModel
from forecasting.training import fit_cut, train
from forecasting.training_panel import Panel, panel_of
from forecasting.training_spec import TrainingSpec
from forecasting.wild_future import truncated, wild
from tests.unit.forecasting.series import DAY, START, observations_of, prices
from tests.unit.forecasting.test_algorithms import CASES

#: A price, what came with it, and what was announced before.
COLUMNS = ("close", "volume", "temperature", "promo")
SPEC = TrainingSpec(
    algorithm="linear",
    columns=COLUMNS,
    covariates={"promo": "known-future"},
    horizon=2,
    window_size=10,
    hyperparameters={"refits": 1},
)


@pytest.fixture(scope="module")
def series() -> Observations:
    rows, rng = 150, np.random.default_rng(3)
    columns = {
        "close": prices(rows, seed=2),
        "volume": np.floor(rng.lognormal(mean=8, size=rows)),
        "temperature": 10 * np.sin(np.arange(rows) / 20) + rng.normal(size=rows),
        "promo": (rng.random(rows) < 0.3).astype(np.float64),
    }
    columns["close"] *= 1 + 0.05 * columns["promo"]
    for name in ("volume", "temperature"):
        columns[name][[40, 41, 100]] = np.nan
    return observations_of(columns)


def audited(model: LoadedModel, series: Observations, code: Code | None = None, cutoffs: int = 3) -> Audit:
    audit = Audit()
    audit_model(audit, model, series, cutoffs=cutoffs, rng=np.random.default_rng(0), code=code or Code())
    return audit


def fits_audited(spec: TrainingSpec, series: Observations, code: Code | None = None) -> Audit:
    audit = Audit()
    audit_fit(audit, spec, [series], rng=np.random.default_rng(0), code=code or Code())
    return audit


@pytest.fixture(scope="module")
def model(series: Observations) -> LoadedModel:
    trained = train(SPEC, [series])
    return LoadedModel.load(trained.recipe, trained.graph)


def assert_clean(spec: TrainingSpec, series: Observations) -> None:
    trained = train(spec, [series])

    found = audited(LoadedModel.load(trained.recipe, trained.graph), series)
    fits = fits_audited(spec, series)

    assert found.findings == []
    assert fits.findings == []
    assert found.compared["forecast"] >= 3 * 2 * 5
    assert fits.compared["fit"] > 20
    assert fits.compared["backtest"] > 20


@pytest.mark.parametrize(("algorithm", "hyperparameters"), dict(reversed(CASES)).items())
def test_algorithm_knows_nothing_of_the_future(algorithm, hyperparameters, series):
    assert_clean(replace(SPEC, algorithm=algorithm, hyperparameters=hyperparameters), series)


def test_ensemble_knows_nothing_of_the_future(series):
    hyperparameters = {"combination": "stacking", "refits": 1}
    assert_clean(
        replace(SPEC, algorithm="ensemble", candidates=("linear", "theta"), hyperparameters=hyperparameters), series
    )


@pytest.mark.parametrize("gaps", ["forward-fill", "interpolate", "zero"])
def test_filled_gaps_know_nothing_of_the_future(gaps, series):
    spec = replace(SPEC, gaps=gaps)
    assert_clean(spec, series)
    trained = train(spec, [series])
    # Every row: those that are made of later ones stand in gaps alone.
    assert audited(LoadedModel.load(trained.recipe, trained.graph), series, cutoffs=1_000).findings == []


def test_a_known_future_column_is_used(model, series):
    """Without this the audit could not tell a model that is allowed to know from one that is not."""
    model = LoadedModel.load(msgspec.structs.replace(model.recipe, median_weight=1.0), model.artefact.graph)
    promo = series.columns["promo"].copy()
    promo[-2:] = 1 - promo[-2:]
    end = int(series.time[-3])
    window = model.window_of(truncated(series, end, {"promo"}))
    other = replace(series, columns=series.columns | {"promo": promo})

    changed = model.window_of(truncated(other, end, {"promo"}))

    assert not np.array_equal(
        model.forecast([window], 2, (80,))[0].median, model.forecast([changed], 2, (80,))[0].median
    )


def test_a_centred_average_is_caught_and_named(model, series):
    def centred(columns):
        return np.convolve(columns["temperature"], np.full(5, 0.2), mode="same")

    def leaky(recipe: FeatureRecipe) -> Feature:
        if recipe.columns == ("temperature",):
            return Feature(lookback=1, compute=centred)
        return feature_of(recipe)

    found = audited(model, series, Code(feature=leaky)).findings

    assert found
    assert {finding.part for finding in found} == {"feature level of temperature"}
    assert {finding.check for finding in found} == {"inputs"}
    assert {finding.world for finding in found} == {"there", "wild"}
    assert all(finding.expected != finding.found for finding in found)


def test_a_scaler_that_was_fitted_on_everything_is_caught_and_named(series):
    def leaky(spec, panel, cut):
        everything = [Part(0, np.arange(spec.window_size - 1, len(panel.values[0]) - spec.horizon))]
        return fit_cut(spec, panel, cut._replace(fit=everything))[0], fit_cut(spec, panel, cut)[1]

    found = fits_audited(SPEC, series, Code(fit=leaky)).findings

    parts = {finding.part for finding in found}
    assert {"features[2].mean (level temperature)", "features[2].scale (level temperature)"} <= parts
    assert {"volatility.long_run", "drift"} <= parts
    assert "graph" not in parts


def test_a_fit_that_reaches_into_its_folds_is_caught(series):
    def leaky(spec, panel, cut):
        return fit_cut(spec, panel, cut._replace(fit=cut.fit + cut.folds))

    assert "graph" in {finding.part for finding in fits_audited(SPEC, series, Code(fit=leaky)).findings}


def test_history_that_was_smoothed_as_a_whole_is_caught(model, series):
    """Smoothing before the windows are cut is the centred average that no single feature shows."""

    def leaky(spec, observations) -> Panel:
        panel = panel_of(spec, observations)
        values = panel.values[0].copy()
        values[1:-1, 0] = np.exp(np.log(values[:, 0])[np.arange(len(values) - 2)[:, None] + np.arange(3)].mean(axis=1))
        return replace(panel, values=[values])

    found = audited(model, series, Code(panel=leaky)).findings

    assert {"inputs", "forecast"} == {finding.check for finding in found}
    assert {"fit", "backtest"} == {finding.check for finding in fits_audited(SPEC, series, Code(panel=leaky)).findings}
    assert "median" in {finding.part for finding in found}
    assert "input log-return of close" in {finding.part for finding in found}


def test_a_window_that_is_one_row_late_is_caught(model, series):
    """Off by one: the oldest of all leaks."""
    found = audited(
        model, series, Code(window=lambda panel, recipe, row: panel.window(recipe, 0, row + 1, recipe.history_rows))
    ).findings

    assert "median" in {finding.part for finding in found if finding.world == "there"}


AUTO = replace(SPEC, algorithm="auto", candidates=("linear", "theta"), hyperparameters={})


def choice_audited(series: Observations, code: Code | None = None) -> Audit:
    audit = Audit()
    audit_choice(audit, AUTO, [series], rng=np.random.default_rng(0), code=code or Code())
    return audit


def test_what_auto_chooses_knows_nothing_of_the_test_part(series):
    found = choice_audited(series)
    assert found.findings == []
    assert found.compared["choice"] > 20


def test_a_choice_by_the_whole_history_is_caught_and_named(series):
    def leaky(spec, observations):
        rise = observations[0].columns["close"][-1] / observations[0].columns["close"][0]
        choice = Code().choose(spec, observations)
        return replace(choice, spec=replace(choice.spec, algorithm="drift" if rise < 10 else "theta", candidates=()))

    found = choice_audited(series, Code(choose=leaky)).findings
    assert "chosen algorithm" in {finding.part for finding in found}


def test_examples_that_are_one_row_late_are_caught(model, series):
    """What a fit learns from is made for a whole history at once: by other code than what serving sees."""

    def leaky(recipe, panel, parts):
        return examples_of(recipe, panel, [Part(part.series, part.cutoffs + 1) for part in parts])

    found = audited(model, series, Code(examples=leaky)).findings
    assert {finding.check for finding in found} == {"inputs"}
    assert "input log-return of close" in {finding.part for finding in found}


def test_the_same_seed_finds_the_same(model, series):
    late = Code(window=lambda panel, recipe, row: panel.window(recipe, 0, row + 1, recipe.history_rows))
    assert audited(model, series, late).findings == audited(model, series, late).findings


def test_wild_future_keeps_the_past_and_what_was_announced(series):
    end = int(series.time[120])
    other = wild(series, end, {"promo"}, np.random.default_rng(0), has_missing=True)

    for name, values in series.columns.items():
        np.testing.assert_array_equal(other.columns[name][:121], values[:121])
    np.testing.assert_array_equal(other.columns["promo"], series.columns["promo"])
    close = other.columns["close"][121:]
    assert np.isnan(close).any()
    known = close[np.isfinite(close)]
    assert (known > 0).all()
    assert known.max() / known.min() > 1e9
    assert np.sign(other.columns["temperature"][121:]).tolist() != np.sign(series.columns["temperature"][121:]).tolist()


def test_wild_bars_are_still_bars():
    rows = 50
    low = np.linspace(10, 20, rows)
    bars = observations_of({"low": low, "high": 1.1 * low})
    other = wild(bars, int(bars.time[9]), (), np.random.default_rng(0), has_missing=False)

    assert (other.columns["low"] < other.columns["high"]).all()
    assert len(np.unique(np.round(other.columns["high"] / other.columns["low"], 9))) > 1


def test_truncated_series_ends_at_the_cutoff(series):
    end = int(START.timestamp()) + 99 * DAY
    assert len(truncated(series, end, ())) == 100
    past = truncated(series, end, {"promo"})
    assert np.isnan(past.columns["close"][100:]).all()
    assert np.isfinite(past.columns["promo"]).all()
