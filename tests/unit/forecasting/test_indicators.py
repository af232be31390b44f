"""Every indicator: both halves of the pair, a finite memory, nothing from the future, safe when nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.artefact import FeatureRecipe, recipe_to_json
from forecasting.errors import InvalidTraining, InvalidWindow
from forecasting.features import FEATURES, Feature, feature_of
from forecasting.indicators import INDICATORS
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from tests.unit.forecasting.series import bars, observations_of

#: What an indicator says of a series in which nothing moves and nothing is traded; 0 where not named.
STILL = {
    "bollinger-position": 0.5,
    "relative-strength-index": 50.0,
    "stochastic-k": 50.0,
    "stochastic-d": 50.0,
    "williams-percent-range": -50.0,
}
#: The least and most that an indicator can be, where it has bounds.
BOUNDS = {
    "relative-strength-index": (0, 100),
    "stochastic-k": (0, 100),
    "stochastic-d": (0, 100),
    "williams-percent-range": (-100, 0),
    "average-directional-index": (0, 100),
    "on-balance-volume": (-1, 1),
    "average-true-range": (0, np.inf),
    "realised-volatility": (0, np.inf),
    "bollinger-bandwidth": (0, np.inf),
}


def recipe_of(name: str, window_size: int = 5) -> FeatureRecipe:
    columns = tuple("close" if column == "price" else column for column in INDICATORS[name].columns)
    return FeatureRecipe(name=name, columns=columns, window_size=window_size, scaling="standard")


def indicator(name: str, window_size: int = 5) -> Feature:
    return feature_of(recipe_of(name, window_size))


def cut(columns: dict[str, np.ndarray], first: int, end: int) -> dict[str, np.ndarray]:
    return {name: values[first:end] for name, values in columns.items()}


@st.composite
def odd_bars(draw: st.DrawFn, rows: int = 120) -> dict[str, np.ndarray]:
    """Bars with runs where nothing moves or nothing is traded."""
    known = bars(rows, seed=draw(st.integers(0, 1_000)))
    still = draw(st.integers(0, rows))
    until = min(rows, still + draw(st.integers(0, 60)))
    for name in ("open", "high", "low", "close"):
        known[name][still:until] = known["close"][min(still, rows - 1)]
    idle = draw(st.integers(0, rows))
    known["volume"][idle : idle + draw(st.integers(0, 60))] = 0.0
    return known


def test_indicators_and_features_share_no_name() -> None:
    assert not set(INDICATORS) & set(FEATURES)


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=15, deadline=None)
@given(columns=odd_bars(), window_size=st.integers(5, 9))
def test_update_is_the_last_value_of_transform_to_the_bit(
    name: str, columns: dict[str, np.ndarray], window_size: int
) -> None:
    feature = indicator(name, window_size)
    whole = feature.transform(columns)

    assert np.isnan(whole[: feature.lookback - 1]).all()
    assert np.isfinite(whole[feature.lookback - 1 :]).all()
    for row in range(feature.lookback - 1, 120):
        assert feature.update(cut(columns, 0, row + 1)) == whole[row]
        # A finite memory: the rows of the window give the value, whatever stood before them.
        assert feature.update(cut(columns, row + 1 - feature.lookback, row + 1)) == whole[row]


@pytest.mark.parametrize("name", INDICATORS)
def test_no_indicator_sees_past_the_cutoff(name: str) -> None:
    feature, known, cutoff = indicator(name), bars(160), 110
    wild = {column: np.where(np.arange(160) > cutoff, 1e9, values) for column, values in known.items()}
    before, after = feature.transform(known), feature.transform(wild)

    assert np.isfinite(before[cutoff])
    np.testing.assert_array_equal(before[: cutoff + 1], after[: cutoff + 1])
    assert before[cutoff + 1] != after[cutoff + 1]


@pytest.mark.parametrize("name", INDICATORS)
def test_every_row_of_the_lookback_counts_and_none_before_it(name: str) -> None:
    # Windows are cut by the lookback: one too long wastes history, one too short would read what is not there.
    feature, known = indicator(name), bars(160)
    newest = feature.update(known)

    def changed(row: int) -> bool:
        return any(
            feature.update(known | {column: np.where(np.arange(160) == row, known[column] * factor, known[column])})
            != newest
            for column in recipe_of(name).columns
            for factor in (0.5, 2.0)
        )

    assert changed(160 - feature.lookback)
    assert not changed(160 - feature.lookback - 1)


@pytest.mark.parametrize("level", [100.0, 0.1, 1e-6, 123_456.789])
@pytest.mark.parametrize("name", INDICATORS)
def test_where_nothing_moves_and_nothing_is_traded_the_value_is_the_neutral_one(name: str, level: float) -> None:
    # Red when `distance` sums values in place of differences, or `ratio` divides where the denominator is 0.
    columns = {column: np.full(160, level) for column in ("open", "high", "low", "close")} | {"volume": np.zeros(160)}
    feature = indicator(name)

    np.testing.assert_array_equal(feature.transform(columns)[feature.lookback - 1 :], STILL.get(name, 0.0))


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_values_stay_within_their_bounds(name: str, bounds: tuple[float, float]) -> None:
    values = np.concatenate([indicator(name).transform(bars(400, seed=seed)) for seed in range(5)])
    known = values[np.isfinite(values)]

    assert bounds[0] - 1e-9 <= known.min() < known.max() <= bounds[1] + 1e-9


@pytest.mark.parametrize("name", sorted(set(INDICATORS) - {"average-directional-index"}))
def test_the_unit_of_the_price_and_of_the_volume_does_not_matter(name: str) -> None:
    # So that one model may learn from several series; log(1 + volume) alone feels the unit, where little is traded.
    feature, known = indicator(name), bars(160)
    scaled = {column: values * 1_024 for column, values in known.items()}

    np.testing.assert_allclose(feature.transform(scaled), feature.transform(known), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("name", ["simple-average-ratio", "hull-average-ratio", "average-true-range", "rate-of-change"])
def test_a_price_that_is_not_positive_has_no_share(name: str) -> None:
    # Red when `relative` divides by any price: the window is refused in place of a number without meaning.
    feature, known = indicator(name), bars(60)
    below = {column: -values for column, values in known.items()}

    assert np.isnan(feature.transform(below)).all()


@pytest.mark.parametrize("name", ["on-balance-volume", "volume-momentum"])
def test_a_negative_volume_has_no_value(name: str) -> None:
    # Red when `indicators_volume._checked` lets it through; -0.5 still has a logarithm of 1 + v.
    feature, known = indicator(name), bars(60)
    known["volume"][-1] = -0.5

    assert np.isnan(feature.update(known))
    assert np.isfinite(feature.transform(known)[-2])


@pytest.mark.parametrize("name", INDICATORS)
def test_short_history_has_no_value(name: str) -> None:
    feature = indicator(name)
    short = bars(feature.lookback - 1)

    assert np.isnan(feature.transform(short)).all()
    with pytest.raises(ValueError, match=f"at least {feature.lookback} rows"):
        feature.update(short)


@pytest.mark.parametrize("name", INDICATORS)
def test_too_small_a_window_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        indicator(name, INDICATORS[name].least - 1)

    assert (caught.value.code, caught.value.field) == ("invalid-feature", f"features.{name}.window_size")
    assert f"at least {INDICATORS[name].least}" in caught.value.expected


def test_wrong_number_of_columns_is_refused_and_an_unknown_name_told_the_indicators() -> None:
    with pytest.raises(InvalidTraining, match=r"features\.average-true-range\.columns must be 3 raw names"):
        feature_of(FeatureRecipe(name="average-true-range", columns=("close",), window_size=5, scaling="standard"))
    with pytest.raises(InvalidTraining, match="relative-strength-index"):
        feature_of(FeatureRecipe(name="strength", columns=("close",), window_size=5, scaling="standard"))


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    """Bars whose volume tells the next return, and nothing else does."""
    rng, rows = np.random.default_rng(3), 600
    told = rng.standard_normal(rows)
    close = 100 * np.exp(np.cumsum(0.02 * np.concatenate([[0.0], told[:-1]]) + rng.normal(scale=0.002, size=rows)))
    spread = 1 + np.abs(rng.normal(scale=0.01, size=(2, rows)))
    return {
        "close": close,
        "high": close * spread[0],
        "low": close / spread[1],
        "volume": np.floor(np.exp(12 + told)),
    }


@pytest.fixture(scope="module")
def trained(columns: dict[str, np.ndarray]) -> TrainedModel:
    spec = TrainingSpec(
        algorithm="linear",
        columns=tuple(columns),
        horizon=1,
        window_size=60,
        levels=(80.0,),
        hyperparameters={"refits": 1},
        features=tuple(recipe_of(name) for name in INDICATORS),
    )
    return train(spec, [observations_of(columns)])


@pytest.fixture(scope="module")
def model(trained: TrainedModel) -> LoadedModel:
    return LoadedModel.load(recipe_to_json(trained.recipe), trained.graph)


def test_a_model_trained_on_every_indicator_serves(model: LoadedModel, columns: dict[str, np.ndarray]) -> None:
    matrix = np.column_stack(list(columns.values()))
    (numbers,) = model.forecast([matrix[-60:]], 1, (80.0,))

    assert [part.name for part in model.recipe.features] == list(INDICATORS)
    assert np.isfinite(numbers.median).all()
    assert (numbers.quantiles[0.1] <= numbers.median).all()
    assert (numbers.median <= numbers.quantiles[0.9]).all()


def test_what_only_an_indicator_sees_makes_the_forecast_better(
    trained: TrainedModel, model: LoadedModel, columns: dict[str, np.ndarray]
) -> None:
    # The volume reaches the forecast through indicators alone.
    window = np.column_stack(list(columns.values()))[-60:]
    busy = window.copy()
    busy[-1, list(columns).index("volume")] *= 20

    (given, other) = model.forecast([window, busy], 1, (80.0,))
    assert trained.skill["last-value"] > 0.3
    assert other.median[0] > given.median[0]


def test_a_negative_volume_refuses_the_window(model: LoadedModel, columns: dict[str, np.ndarray]) -> None:
    window = np.column_stack(list(columns.values()))[-60:]
    window[-1, list(columns).index("volume")] = -5.0

    with pytest.raises(InvalidWindow) as caught:
        model.check(window, 1, (80.0,))
    assert caught.value.code == "window-not-positive"
