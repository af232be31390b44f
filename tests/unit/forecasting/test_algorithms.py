"""Every algorithm, held to `check_forecaster`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from forecasting.artefact import Setting
from forecasting.models.registry import ALGORITHMS
from tests.unit.forecasting.check_forecaster import check_forecaster

#: Small nets: what is tested does not depend on size.
CASES = [
    ("lstm", {"layers": "6,5", "dense": 4, "epochs": 3, "refits": 1}),
    ("lstm", {"layers": "6", "dense": 0, "epochs": 2, "refits": 2}),
    ("gru", {"layers": "6", "dense": 4, "epochs": 2, "refits": 1}),
    ("tcn", {"layers": "5,4", "epochs": 2, "refits": 1}),
    ("nhits", {"layers": "6", "epochs": 2, "refits": 1}),
    ("dlinear", {"kernel": 5, "epochs": 2, "refits": 1}),
    ("nlinear", {"epochs": 2, "refits": 1}),
    ("patchtst", {"patch": 4, "stride": 2, "width": 4, "heads": 2, "dense": 6, "epochs": 2, "refits": 1}),
    ("linear", {"refits": 1}),
    ("linear", {"loss": "quantile", "refits": 1}),
    ("linear", {"penalty": 0.0, "refits": 1}),
    ("ridge", {"refits": 1}),
    ("lightgbm", {"rounds": 4, "leaves": 4, "refits": 1}),
    ("lightgbm", {"loss": "quantile", "steps": "apart", "rounds": 2, "leaves": 3, "refits": 1}),
    ("gradient-boosting", {"rounds": 2, "leaves": 3, "refits": 1}),
    ("random-forest", {"trees": 2, "leaves": 4, "loss": "quantile", "refits": 1}),
    ("direction-logistic", {"refits": 1}),
    ("direction-forest", {"trees": 3, "leaves": 4, "refits": 1}),
    ("direction-boosting", {"rounds": 3, "leaves": 4, "calibration": "isotonic", "refits": 1}),
    ("last-value", {}),
    ("drift", {}),
    ("theta", {"refits": 1}),
    ("ets", {"refits": 1}),
    ("ces", {"refits": 1}),
    ("mapa", {"refits": 1}),
    ("arima", {"max_p": 1, "max_q": 1, "max_seasonal_p": 1, "max_seasonal_q": 0, "refits": 1}),
    ("seasonal-naive", {}),
]


@pytest.mark.parametrize(("algorithm", "hyperparameters"), CASES)
def test_algorithm_passes_check_forecaster(algorithm: str, hyperparameters: Mapping[str, Setting]) -> None:
    check_forecaster(algorithm, hyperparameters)


def test_every_algorithm_is_checked() -> None:
    assert {name for name, _ in CASES} == set(ALGORITHMS)
