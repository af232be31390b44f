"""Features in the words of the command line: ``rsi:close:14``, ``macd:12,26,9``, ``holiday:US``.

NAME, then the columns where the feature takes any, then its settings, parted by colons. Columns may be left out.
Settings are numbers and words in the order that `docs/features.md` lists them in, or NAME=VALUE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
import msgspec

from forecasting.features import FEATURE_KINDS
from forecasting.features_kind import Kind
from forecasting.step_features import STEP_FEATURES
from schemas.trainings import FeatureRequested, StepFeatureRequested

JsonObject = dict[str, object]
#: What people call an indicator: one feature, or several that belong together.
SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "adx": ("average-directional-index",),
    "atr": ("average-true-range",),
    "bollinger": ("bollinger-position", "bollinger-bandwidth"),
    "cci": ("commodity-channel-index",),
    "ema": ("exponential-average-ratio",),
    "hma": ("hull-average-ratio",),
    "macd": ("macd-line", "macd-signal", "macd-histogram"),
    "obv": ("on-balance-volume",),
    "roc": ("rate-of-change",),
    "rsi": ("relative-strength-index",),
    "sma": ("simple-average-ratio",),
    "stochastic": ("stochastic-k", "stochastic-d"),
    "williams-r": ("williams-percent-range",),
}
_WINDOW = "window_size"
#: The order that everybody knows.
_MACD = ("fast", _WINDOW, "signal")
_STEP_SETTINGS = ("option", "order", "period")


def features_of(texts: Sequence[str]) -> list[JsonObject]:
    """Return the features that ``--feature`` options name, as the gateway takes them.

    Raises:
        click.BadParameter: A text that names none, or a setting that it does not have.
    """
    return [one for text in texts for one in _features(text)]


def settings_of(name: str, kind: Kind) -> tuple[str, ...]:
    """Return the settings of a feature in the order of the command line."""
    if name.startswith("macd-"):
        return _MACD
    return (*((_WINDOW,) if kind.least is not None else ()), *(parameter.name for parameter in kind.parameters))


def step_settings_of(name: str) -> tuple[str, ...]:
    """Return the settings of a step feature in the order of the command line."""
    return tuple(setting for setting in _STEP_SETTINGS if setting in STEP_FEATURES[name].takes)


def _features(text: str) -> list[JsonObject]:
    name, *parts = text.split(":")
    found: list[JsonObject] = []
    for known in SHORT_NAMES.get(name, (name,)):
        if known not in FEATURE_KINDS:
            raise _bad("--feature", f"{name!r} is none of {', '.join((*SHORT_NAMES, *FEATURE_KINDS))}")
        kind = FEATURE_KINDS[known]
        columns, words = _parted(text, parts, takes_columns=not kind.is_of_time, option="--feature")
        order = settings_of(known, kind)
        settings = _settings(text, words, order, option="--feature")
        window = {_WINDOW: settings.pop(_WINDOW)} if _WINDOW in settings else {}
        found.append({"name": known, "columns": columns, **window, "parameters": settings})
    return [_checked(one, FeatureRequested, text, "--feature") for one in found]


def step_features_of(texts: Sequence[str]) -> list[JsonObject]:
    """Return the step features that ``--step-feature`` options name, as the gateway takes them.

    Raises:
        click.BadParameter: A text that names none, or a setting that it does not have.
    """
    return [_step_feature(text) for text in texts]


def _step_feature(text: str) -> JsonObject:
    name, *parts = text.split(":")
    if name not in STEP_FEATURES:
        raise _bad("--step-feature", f"{name!r} is none of {', '.join(STEP_FEATURES)}")
    takes_columns = "columns" in STEP_FEATURES[name].takes
    columns, words = _parted(text, parts, takes_columns=takes_columns, option="--step-feature")
    settings = _settings(text, words, step_settings_of(name), option="--step-feature")
    return _checked({"name": name, "columns": columns, **settings}, StepFeatureRequested, text, "--step-feature")


def _parted(text: str, parts: list[str], *, takes_columns: bool, option: str) -> tuple[list[str], list[str]]:
    """Return columns and settings; a first part that begins like a number or is NAME=VALUE holds settings."""
    columns: list[str] = []
    if takes_columns and parts and not (len(parts) == 1 and (parts[0][:1].isdecimal() or "=" in parts[0])):
        columns = [column for column in parts[0].split(",") if column]
        parts = parts[1:]
    if len(parts) > 1:
        raise _bad(option, f"NAME{':COLUMNS' if takes_columns else ''}:SETTINGS is expected, found {text!r}")
    return columns, parts[0].split(",") if parts and parts[0] else []


def _settings(text: str, words: Sequence[str], order: Sequence[str], *, option: str) -> JsonObject:
    found: JsonObject = {}
    for place, word in enumerate(words):
        name, separator, value = word.rpartition("=")
        if not separator and place >= len(order):
            raise _bad(option, f"at most {len(order)} settings ({', '.join(order)}) are expected, found {text!r}")
        name = name if separator else order[place]
        if name not in order:
            raise _bad(option, f"one of the settings {', '.join(order)} is expected, found {name!r} in {text!r}")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _checked(one: JsonObject, kind: type[msgspec.Struct], text: str, option: str) -> JsonObject:
    try:
        checked = msgspec.convert(one, kind)
    except msgspec.ValidationError as error:
        raise _bad(option, f"{text!r}: {error}") from error
    found: JsonObject = msgspec.json.decode(msgspec.json.encode(checked))
    return found


def _bad(option: str, message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=option)
