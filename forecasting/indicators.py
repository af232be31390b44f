"""The technical indicators by name; a `FeatureRecipe` names one beside the plain features of `forecasting.features`."""

from __future__ import annotations

from collections.abc import Mapping

from forecasting.indicators_averages import AVERAGES
from forecasting.indicators_oscillators import OSCILLATORS
from forecasting.indicators_ranges import RANGES
from forecasting.indicators_volume import VOLUMES
from forecasting.indicators_window import Indicator

INDICATORS: Mapping[str, Indicator] = {**AVERAGES, **OSCILLATORS, **RANGES, **VOLUMES}
