"""The same network served in-process by FastAPI, as people do today: with torch, and with ONNX Runtime.

The network is LSTM 100 -> LSTM 50 -> dense 16 ReLU -> 1 over a window of 60 rows x 6 columns, about 75 thousand
parameters.
Run one with ``python -m benchmarks.peers torch|onnx PORT``.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn

WINDOW_SIZE, COLUMNS = 60, 6
Window = npt.NDArray[np.float32]


class Network(nn.Module):
    """The classic two-layer LSTM regressor, shape (n, 60, 6) -> (n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(COLUMNS, 100, batch_first=True)
        self.second = nn.LSTM(100, 50, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(50, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Return one value a window."""
        hidden, _ = self.first(window)
        hidden, _ = self.second(hidden)
        return self.head(hidden[:, -1])  # type: ignore[no-any-return]  # nn.Module calls are untyped


class PredictRequest(BaseModel):
    """What a client posts: raw rows, oldest first."""

    window: list[list[float]]


class PredictResponse(BaseModel):
    """What it gets."""

    prediction: float


def parameters() -> int:
    """Return how many parameters the network has."""
    return sum(parameter.numel() for parameter in Network().parameters())


def _torch_predictor() -> Callable[[Window], float]:
    network = Network().eval()

    def predict(window: Window) -> float:
        with torch.inference_mode():
            return float(network(torch.from_numpy(window)).item())

    return predict


def _onnx_predictor() -> Callable[[Window], float]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter warns that an LSTM may be exported for one batch size only; this peer serves single windows.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Network().eval(),
            (torch.zeros(1, WINDOW_SIZE, COLUMNS),),
            buffer,
            input_names=["window"],
            output_names=["prediction"],
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])

    def predict(window: Window) -> float:
        return float(session.run(None, {"window": window})[0][0, 0])

    return predict


def create_app(kind: str) -> FastAPI:
    """Return the app; ``kind`` is ``torch`` or ``onnx``."""
    predict = {"torch": _torch_predictor, "onnx": _onnx_predictor}[kind]()
    app = FastAPI()

    @app.post("/predict")
    def answer(request: PredictRequest) -> PredictResponse:
        rows = np.asarray(request.window, dtype=np.float32)
        low, high = rows.min(axis=0), rows.max(axis=0)
        scaled = (rows - low) / np.maximum(high - low, 1e-9)
        return PredictResponse(prediction=predict(scaled[np.newaxis].astype(np.float32)))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
