"""Other people's models on the same folds, with their own defaults: neuralforecast's N-HiTS."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping

import numpy as np

from forecasting.panel import FloatArray, Observations

#: Rows that N-HiTS sees for each step ahead; it has no default for it, and five is what its own search begins with.
_ROWS_A_STEP = 5


def nhits(series: Mapping[str, Observations], *, horizon: int, test_rows: int) -> tuple[dict[str, FloatArray], float]:
    """Return the forecasts of one N-HiTS for all series, fitted before the test part, and the seconds it took.

    Args:
        series: With their test parts; the column `close` is forecast, raw, as its users do.
        horizon: Steps ahead.
        test_rows: Newest rows, in which every cutoff is forecast.

    Returns:
        Name -> forecasts of the cutoffs whose steps all lie in the test part, shape (cutoffs, horizon).
    """
    import pandas as pd  # noqa: PLC0415  # these take seconds to import
    from neuralforecast import NeuralForecast  # noqa: PLC0415
    from neuralforecast.models import NHITS  # noqa: PLC0415

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    frame = pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": np.arange(len(one)), "y": one.columns["close"]})
            for name, one in series.items()
        ]
    )
    started = time.perf_counter()
    model = NHITS(
        h=horizon,
        input_size=_ROWS_A_STEP * horizon,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = NeuralForecast(models=[model], freq=1).cross_validation(
            frame, n_windows=None, test_size=test_rows, step_size=1, refit=False
        )
    seconds = time.perf_counter() - started
    forecasts = {
        str(name): group.sort_values(["cutoff", "ds"])["NHITS"].to_numpy(np.float64).reshape(-1, horizon)
        for name, group in found.groupby("unique_id")
    }
    return forecasts, seconds
