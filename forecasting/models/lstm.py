"""A long short-term memory net (Hochreiter and Schmidhuber, 1997) that forecasts quantiles of all steps at once.

Input: recent changes in units of recent volatility; output: quantiles of the cumulative change to every step in the
same units, over sqrt(step) (the direct multi-horizon quantile strategy of Wen et al., "A Multi-Horizon Quantile
Recurrent Forecaster", arXiv:1711.11053). Fitted by the pinball loss with Adam, early stopping on the validation part
and a learning rate that falls on a plateau.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from forecasting.artefact import Setting
from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.intervals import probabilities_of
from forecasting.models.descent import Adam, Plateau
from forecasting.models.default_inputs import moving_columns
from forecasting.models.fitting import Epoch, Examples, FitTask, Fitted, InputPlan, SeriesView, require_parity
from forecasting.models.hyperparameters import Hyperparameter, layer_sizes
from forecasting.models.lstm_graph import build_graph

#: The bands whose distance is the spread of a forecast, and the median.
_ALWAYS_FORECAST = (0.1, 0.5, 0.9)
_PARITY_WINDOWS = 256
#: A fit whose best epoch is so much worse than the net that it began with has run away, finite or not.
_DIVERGED, _LEAST_LOSS = 3.0, 1e-3


class LstmNet(nn.Module):
    """LSTM layers with dropout after each, an optional dense layer, and one output a step and quantile."""

    def __init__(self, features: int, layers: tuple[int, ...], dense: int, dropout: float, outputs: int) -> None:
        super().__init__()
        sizes = (features, *layers)
        self.recurrent = nn.ModuleList(
            nn.LSTM(size, following, batch_first=True) for size, following in pairwise(sizes)
        )
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(layers[-1], dense) if dense else None
        self.output = nn.Linear(dense or layers[-1], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs of shape (batch, outputs) for inputs of shape (batch, rows, features)."""
        values = inputs
        for index, layer in enumerate(self.recurrent):
            values = layer(values)[0]
            if index == len(self.recurrent) - 1:
                values = values[:, -1]  # the rest is not used: dropping it out would only cost time
            values = self.dropout(values)
        if self.dense is not None:
            values = torch.relu(self.dense(values))
        result: Tensor = self.output(values)
        return result


class Lstm:
    """The algorithm `lstm`. The defaults suit a window of 20 and are small; `100,50` with dense 16 is the classic."""

    name = "lstm"
    hyperparameters = (
        Hyperparameter(name="layers", default="32", is_layers=True, description="Sizes of the LSTM layers"),
        Hyperparameter(name="dropout", default=0.1, minimum=0.0, maximum=0.9, description="Dropout after each layer"),
        Hyperparameter(
            name="dense", default=16, minimum=0, maximum=2048, description="Size of a ReLU layer; 0 is none"
        ),
        Hyperparameter(
            name="l2",
            default=0.0,
            minimum=0.0,
            maximum=10.0,
            description="L2 penalty on the weights of the dense layer",
        ),
        Hyperparameter(name="epochs", default=40, minimum=1, maximum=2000, description="Most passes over the fit part"),
        Hyperparameter(name="batch_size", default=128, minimum=1, maximum=8192, description="Windows a step of Adam"),
        Hyperparameter(
            name="learning_rate", default=0.002, minimum=1e-7, maximum=1000.0, description="Of Adam, at first"
        ),
        Hyperparameter(
            name="patience", default=8, minimum=1, maximum=1000, description="Epochs without a better validation loss"
        ),
        Hyperparameter(
            name="plateau_patience", default=3, minimum=1, maximum=1000, description="Such epochs before the rate falls"
        ),
        Hyperparameter(
            name="plateau_factor", default=0.5, minimum=0.01, maximum=0.99, description="By what the rate falls"
        ),
    )

    def __init__(self, export: Callable[[LstmNet, tuple[int, ...], int, int], bytes] = build_graph) -> None:
        self._export = export

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:  # noqa: ARG002  # the protocol's
        return tuple(sorted({*probabilities_of(levels), *_ALWAYS_FORECAST}))

    def plan(self, view: SeriesView) -> InputPlan:
        return moving_columns(view)

    def fit(self, task: FitTask) -> Fitted:
        with _deterministic(task.seed):
            net = _net_of(task)
            epochs = _fit(net, task)
            graph = self._export(net, task.fit.inputs.shape[1:], task.fit.targets.shape[1], len(task.quantiles))
            windows = np.concatenate([task.validation.inputs, task.fit.inputs])[:_PARITY_WINDOWS]
            net.eval()
            with torch.no_grad():
                expected = net(torch.from_numpy(windows)).numpy()
        require_parity(_run(graph, windows), expected, self.name)
        return Fitted(graph, epochs, sum(part.numel() for part in net.parameters()))


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a generator of our own; the caller's torch is left as it was.

    `torch.use_deterministic_algorithms` does the same and imports torch's compiler, which takes 4 to 8 seconds.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(mode)


def _net_of(task: FitTask) -> LstmNet:
    horizon, count = task.fit.targets.shape[1], len(task.quantiles)
    net = LstmNet(
        task.fit.inputs.shape[2],
        layer_sizes(task.text("layers")),
        task.whole("dense"),
        task.number("dropout"),
        horizon * count,
    )
    # Start from the quantiles of the fit part: the net has to learn only what its inputs add to them.
    quantiles = np.quantile(task.fit.targets, task.quantiles, axis=0).T.astype(np.float32)
    with torch.no_grad():
        net.output.bias.copy_(torch.from_numpy(np.ascontiguousarray(quantiles).reshape(-1)))
        net.output.weight.mul_(0.1)
    return net


def _fit(net: LstmNet, task: FitTask) -> tuple[Epoch, ...]:
    """Fit the net in place, ending with the weights of the best epoch."""
    adam = Adam(net.parameters(), task.number("learning_rate"))
    plateau = Plateau(adam, factor=task.number("plateau_factor"), patience=task.whole("plateau_patience"))
    quantiles = torch.tensor(task.quantiles, dtype=torch.float32)
    start_loss = _validate(net, task.validation, quantiles)
    best_loss, best_epoch, best_state = float("inf"), 0, net.state_dict()
    done: list[Epoch] = []
    for number in range(1, task.whole("epochs") + 1):
        rate = adam.rate
        train_loss = _run_epoch(net, adam, task, quantiles)
        validation_loss = _validate(net, task.validation, quantiles)
        if not np.isfinite(train_loss) or not np.isfinite(validation_loss):
            raise _diverged("finite in every epoch", f"{train_loss:g} and {validation_loss:g} in epoch {number}", task)
        plateau.step(validation_loss)
        done.append(Epoch(number, task.whole("epochs"), train_loss, validation_loss, rate))
        task.on_epoch(done[-1])
        if validation_loss < best_loss:
            best_loss, best_epoch = validation_loss, number
            best_state = {name: part.clone() for name, part in net.state_dict().items()}
        elif number - best_epoch >= task.whole("patience"):
            break
    if best_loss > _DIVERGED * start_loss + _LEAST_LOSS:
        raise _diverged(
            f"at most {_DIVERGED:g} times the {start_loss:g} before the fit", f"{best_loss:g} at best", task
        )
    net.load_state_dict(best_state)
    return tuple(done)


def _diverged(expected: str, found: str, task: FitTask) -> DivergedTraining:
    return DivergedTraining(
        "diverged-training",
        field="loss",
        expected=expected,
        found=found,
        advice=f"lower learning_rate, which was {task.number('learning_rate'):g}, and look for wild values in the data",
    )


def _run_epoch(net: LstmNet, adam: Adam, task: FitTask, quantiles: Tensor) -> float:
    net.train()
    inputs, targets = torch.from_numpy(task.fit.inputs), torch.from_numpy(task.fit.targets)
    total = 0.0
    for chosen in torch.split(torch.randperm(len(inputs)), task.whole("batch_size")):
        loss = pinball(net(inputs[chosen]), targets[chosen], quantiles)
        penalised = loss
        if net.dense is not None and task.number("l2") > 0:
            penalised = loss + task.number("l2") * net.dense.weight.square().sum()
        adam.zero_grad()
        penalised.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        # A rare wild window must not throw the weights away.
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(inputs)


def _validate(net: LstmNet, examples: Examples, quantiles: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        loss = pinball(net(torch.from_numpy(examples.inputs)), torch.from_numpy(examples.targets), quantiles)
    return float(loss)


def pinball(outputs: Tensor, targets: Tensor, quantiles: Tensor) -> Tensor:
    """Return the mean pinball loss of outputs (batch, horizon x quantiles) for targets (batch, horizon)."""
    errors = targets.unsqueeze(2) - outputs.view(*targets.shape, len(quantiles))
    return torch.maximum(quantiles * errors, (quantiles - 1) * errors).mean()


def _run(graph: bytes, inputs: FloatInput) -> FloatInput:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0], dtype=np.float32)
