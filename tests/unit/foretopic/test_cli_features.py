"""Features in the words of the command line: what they stand for, and what is said of one that stands for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import msgspec
import pytest
from click.testing import CliRunner

from forecasting.features import FEATURE_KINDS
from forecasting.step_features import STEP_FEATURES
from foretopic.cli import main
from foretopic.cli_features import SHORT_NAMES, features_of, settings_of, step_features_of
from gateway.bodies import TrainingBody
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log-return", [{"name": "log-return"}]),
        ("rsi:close:14", [{"name": "relative-strength-index", "columns": ["close"], "window_size": 14}]),
        ("rsi:14", [{"name": "relative-strength-index", "window_size": 14}]),
        ("atr:high,low,close:14", [{"name": "average-true-range", "columns": ["high", "low", "close"], "window_size": 14}]),
        ("atr::14", [{"name": "average-true-range", "window_size": 14}]),
        (
            "macd:close:12,26,9",
            [
                {"name": name, "columns": ["close"], "window_size": 26, "parameters": {"fast": 12, "signal": 9}}
                for name in ("macd-line", "macd-signal", "macd-histogram")
            ],
        ),
        (
            "bollinger:20,2.5",
            [
                {"name": name, "window_size": 20, "parameters": {"deviations": 2.5}}
                for name in ("bollinger-position", "bollinger-bandwidth")
            ],
        ),
        ("rolling-quantile:volume:28,0.9", [{"name": "rolling-quantile", "columns": ["volume"], "window_size": 28, "parameters": {"quantile": 0.9}}]),
        ("lag:7,log=false", [{"name": "lag", "window_size": 7, "parameters": {"log": False}}]),
        ("month", [{"name": "month"}]),
        ("holiday:DE/BW", [{"name": "holiday", "parameters": {"option": "DE/BW"}}]),
        ("fourier-sin:year,2", [{"name": "fourier-sin", "parameters": {"option": "year", "order": 2}}]),
    ],
)  # fmt: skip
def test_a_feature_in_short(text: str, expected: list[dict[str, object]]) -> None:
    assert features_of([text]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("step", {"name": "step"}),
        ("holiday:US", {"name": "holiday", "option": "US"}),
        ("known:promo", {"name": "known", "columns": ["promo"]}),
        ("matched-mean:day-of-week,promo:4", {"name": "matched-mean", "columns": ["day-of-week", "promo"], "order": 4}),
        ("fourier-cos:week,2", {"name": "fourier-cos", "option": "week", "order": 2}),
        ("fourier-cos:days,1,365.25", {"name": "fourier-cos", "option": "days", "order": 1, "period": 365.25}),
        ("seasonal-lag:2,24", {"name": "seasonal-lag", "order": 2, "period": 24.0}),
        ("window-mean:order=7", {"name": "window-mean", "order": 7}),
    ],
)
def test_a_step_feature_in_short(text: str, expected: dict[str, object]) -> None:
    assert step_features_of([text]) == [expected]


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (features_of, "strength:14", "'strength' is none of adx, atr"),
        (features_of, "rsi:close:14,2", "at most 1 settings (window_size) are expected"),
        (features_of, "rsi:close:14:2", "NAME:COLUMNS:SETTINGS is expected"),
        (features_of, "rsi:close:rows=14", "one of the settings window_size is expected, found 'rows'"),
        (features_of, "rsi:close:fourteen", "Expected `int`"),
        (features_of, "month:close", "at most 0 settings"),
        (step_features_of, "tomorrow", "'tomorrow' is none of step"),
        (step_features_of, "seasonal-lag:x", "Expected `int`"),
        (step_features_of, "holiday:US:2", "NAME:SETTINGS is expected"),
    ],
)
def test_what_stands_for_nothing_is_told(parse: Callable[[list[str]], object], text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        parse([text])

    assert said in caught.value.message


def test_short_names_stand_for_features_and_hide_none() -> None:
    assert {name for names in SHORT_NAMES.values() for name in names} <= set(FEATURE_KINDS)
    assert not set(SHORT_NAMES) & {*FEATURE_KINDS, *STEP_FEATURES}


@pytest.mark.parametrize("name", FEATURE_KINDS)
def test_every_setting_of_a_feature_can_be_said(name: str) -> None:
    kind = FEATURE_KINDS[name]
    window = {"window_size"} if kind.least is not None else set()

    assert set(settings_of(name, kind)) == {parameter.name for parameter in kind.parameters} | window


def sent(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, arguments: str) -> dict[str, object]:
    """Return what `foretopic train` asks the gateway for."""
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    gateway.answer(202, {"training_id": "training-1", "state": "queued", "model": "shop/berlin-1d"})

    result = CliRunner().invoke(main, ["train", "shop/berlin@1d", "--no-wait", *arguments.split()])
    assert result.exit_code == 0, result.output
    ((_, path, _, body),) = gateway.requests
    assert path == "/api/v1/trainings"
    found: dict[str, object] = json.loads(body)
    return found


@pytest.mark.loopback
def test_train_sends_features_and_covariates(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    body = sent(
        gateway,
        monkeypatch,
        "--target sales --feature lag:7 --step-feature known:promo --known-future promo --static region "
        "--season-length 6 --gaps zero --candidates theta --budget 60 --trials 5 --no-fallback --intervals split",
    )

    assert body["features"] == [{"name": "lag", "window_size": 7}]
    assert body["step_features"] == [{"name": "known", "columns": ["promo"]}]
    assert body["covariates"] == {"promo": "known-future", "region": "static"}
    assert (body["season_length"], body["gaps"], body["candidates"]) == (6, "zero", ["theta"])
    assert (body["search_trials"], body["fallback"], body["budget_seconds"]) == (5, False, 60.0)
    assert body["intervals"] == "split"
    assert msgspec.convert(body, TrainingBody).target == "sales"


@pytest.mark.loopback
def test_a_training_that_names_no_features_has_those_that_suit(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = sent(gateway, monkeypatch, "")

    assert not {"features", "step_features"} & set(body)


def test_a_feature_that_there_is_not_ends_with_2() -> None:
    result = CliRunner().invoke(main, ["train", "shop/berlin@1d", "--feature", "strength"])

    assert result.exit_code == 2
    assert "--feature" in result.output
