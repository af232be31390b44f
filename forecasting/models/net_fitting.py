"""How every net is fitted.

Pinball loss, Adam, gradients clipped at norm 1, a learning rate that falls on a plateau of the validation loss, and
early stopping: the weights of the best epoch are kept. The net begins at the quantiles of the fit part, so it has to
learn only what its inputs add to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from forecasting.artefact import FeatureRecipe, Setting
from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.intervals import probabilities_of
from forecasting.models.default_inputs import covariate_steps, default_features
from forecasting.models.descent import Adam, Plateau
from forecasting.models.fitting import Epoch, Examples, FitTask, Fitted, InputPlan, SeriesView, require_parity
from forecasting.models.graph_writer import FUTURE, WINDOW, array_of
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.nets import Body, NetSize, QuantileNet, outputs_of, write_graph
from forecasting.models.table_plan import ANCHOR, anchor_of

#: The bands whose distance is the spread of a forecast, and the median.
_ALWAYS_FORECAST = (0.1, 0.5, 0.9)
_PARITY_WINDOWS = 256
#: Windows of a validation pass and of each of its steps: enough to rank epochs, and bounded memory.
_VALIDATION_WINDOWS, _VALIDATION_BATCH = 4_096, 1_024
#: A fit whose best epoch is so much worse than the net that it began with has run away, finite or not.
_DIVERGED, _LEAST_LOSS = 3.0, 1e-3

#: What can be set about every net beside its architecture.
FITTING = (
    ANCHOR,
    Hyperparameter(name="epochs", default=40, minimum=1, maximum=2000, description="Most passes over the fit part"),
    Hyperparameter(
        name="epoch_windows",
        default=4096,
        minimum=32,
        maximum=10_000_000,
        description="Most windows of a pass; of a larger fit part each pass draws so many anew",
    ),
    Hyperparameter(name="batch_size", default=128, minimum=1, maximum=8192, description="Windows a step of Adam"),
    Hyperparameter(
        name="learning_rate",
        default=0.002,
        minimum=1e-7,
        maximum=1000.0,
        description="Of Adam, at first",
        search=SearchRange(low=3e-4, high=1e-2, is_log=True),
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


class NetAlgorithm(ABC):
    """An algorithm whose model is a net; a new one gives its name, its own hyperparameters and its body.

    Args:
        export: Writes the graph of a fitted net.
    """

    name: ClassVar[str]
    architecture: ClassVar[tuple[Hyperparameter, ...]] = ()

    def __init__(self, export: Callable[[QuantileNet, NetSize], bytes] = write_graph) -> None:
        self._export = export
        self.hyperparameters = (*self.architecture, *FITTING)

    @abstractmethod
    def body(self, size: NetSize, task: FitTask) -> Body:
        """Return a new body with the hyperparameters of the task."""

    def plan(self, view: SeriesView) -> InputPlan:
        return level_inputs(view)

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:  # noqa: ARG002  # the protocol's
        return tuple(sorted({*probabilities_of(levels), *_ALWAYS_FORECAST}))

    def fit(self, task: FitTask) -> Fitted:
        examples = task.fit
        quantiles, features = len(task.quantiles), examples.future.shape[2]
        rows, inputs = examples.inputs.shape[1:]
        size = NetSize(rows, inputs, examples.targets.shape[1], outputs_of(quantiles, features))
        device = device_of()
        with _deterministic(task.seed, device):
            start = np.quantile(examples.targets, task.quantiles, axis=0).T.astype(np.float32)
            net = QuantileNet(self.body(size, task), torch.from_numpy(np.ascontiguousarray(start)), features)
            epochs = _Fit(net, task, device).run()
            net.to("cpu").eval()
            graph = self._export(net, size)
            window, future = _some(task)
            with torch.no_grad():
                expected = array_of(net(torch.from_numpy(window), torch.from_numpy(future)))
        require_parity(_run(graph, window, future), expected, self.name)
        return Fitted(graph, epochs, sum(part.numel() for part in net.parameters()))


def level_inputs(view: SeriesView) -> InputPlan:
    """Return the target's level relative to the window, for nets that look at its shape, and how other columns move.

    The level comes first. The regime of the volatility is left out: it says the same beside every row.
    """
    level = FeatureRecipe(name="log-level" if view.is_log else "level", columns=(view.target,), scaling="window")
    others = tuple(name for name in view.past_columns if name != view.target)
    return InputPlan(
        features=(level, *default_features(others, view.target, is_log=view.is_log)),
        step_features=covariate_steps(view),
        anchor=anchor_of(view),
        has_volatility=False,
    )


def device_of(is_available: Callable[[], bool] = torch.cuda.is_available) -> torch.device:
    """Return where nets are fitted: the first CUDA device, else the processor. The recipe does not tell them apart."""
    return torch.device("cuda", 0) if is_available() else torch.device("cpu")


@contextmanager
def _deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """One thread, deterministic algorithms and a generator of our own; the caller's torch is left as it was.

    `torch.use_deterministic_algorithms` does the same and imports torch's compiler, which takes 4 to 8 seconds.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []):
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(mode)


class _Tensors(NamedTuple):
    """Examples on the device."""

    window: Tensor
    future: Tensor
    targets: Tensor

    @classmethod
    def of(cls, examples: Examples, device: torch.device) -> _Tensors:
        parts = (examples.inputs, examples.future, examples.targets)
        return cls(*(torch.from_numpy(part).to(device) for part in parts))

    def at(self, rows: Tensor | slice) -> _Tensors:
        return _Tensors(*(part[rows] for part in self))


class _Fit:
    """One fit of a net, in place."""

    def __init__(self, net: QuantileNet, task: FitTask, device: torch.device) -> None:
        self._net, self._task, self._device = net.to(device), task, device
        self._examples = _Tensors.of(task.fit, device)
        validation = _Tensors.of(task.validation, device)
        self._validation = validation.at(slice(None, None, -(-len(task.validation) // _VALIDATION_WINDOWS)))
        self._quantiles = torch.tensor(task.quantiles, dtype=torch.float32, device=device)
        self._adam = Adam(net.parameters(), task.number("learning_rate"))

    def run(self) -> tuple[Epoch, ...]:
        """Fit the net, ending with the weights of the best epoch."""
        net, task = self._net, self._task
        plateau = Plateau(self._adam, factor=task.number("plateau_factor"), patience=task.whole("plateau_patience"))
        start_loss = self._validate()
        best_loss, best_epoch, best_state = float("inf"), 0, net.state_dict()
        done: list[Epoch] = []
        for number in range(1, task.whole("epochs") + 1):
            rate = self._adam.rate
            train_loss, validation_loss = self._pass(), self._validate()
            if not np.isfinite(train_loss) or not np.isfinite(validation_loss):
                found = f"{train_loss:g} and {validation_loss:g} in epoch {number}"
                raise _diverged("finite in every epoch", found, task)
            plateau.step(validation_loss)
            done.append(Epoch(number, task.whole("epochs"), train_loss, validation_loss, rate))
            task.on_epoch(done[-1])
            if validation_loss < best_loss:
                best_loss, best_epoch = validation_loss, number
                best_state = {name: part.clone() for name, part in net.state_dict().items()}
            elif number - best_epoch >= task.whole("patience"):
                break
        if best_loss > _DIVERGED * start_loss + _LEAST_LOSS:
            allowed = f"at most {_DIVERGED:g} times the {start_loss:g} before the fit"
            raise _diverged(allowed, f"{best_loss:g} at best", task)
        net.load_state_dict(best_state)
        return tuple(done)

    def _pass(self) -> float:
        """Take the steps of one epoch and return the mean loss before each."""
        self._net.train()
        order = torch.randperm(len(self._task.fit))[: self._task.whole("epoch_windows")]
        # Batches of nearly equal size: a last one of a few windows would be a step in a random direction.
        count = -(-len(order) // self._task.whole("batch_size"))
        total = 0.0
        for chosen in torch.tensor_split(order.to(self._device), count):
            loss = self._loss(self._examples.at(chosen))
            penalty = self._net.body.penalty()
            self._adam.zero_grad()
            (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            # A rare wild window must not throw the weights away.
            nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
            self._adam.step()
            total += float(loss.detach()) * len(chosen)
        return total / len(order)

    def _validate(self) -> float:
        self._net.eval()
        total, count = 0.0, len(self._validation.targets)
        with torch.no_grad():
            for first in range(0, count, _VALIDATION_BATCH):
                part = self._validation.at(slice(first, first + _VALIDATION_BATCH))
                total += float(self._loss(part)) * len(part.targets)
        return total / count

    def _loss(self, examples: _Tensors) -> Tensor:
        return pinball(self._net(examples.window, examples.future), examples.targets, self._quantiles)


def pinball(outputs: Tensor, targets: Tensor, quantiles: Tensor) -> Tensor:
    """Return the mean pinball loss of outputs (batch, horizon, quantiles) for targets (batch, horizon)."""
    errors = targets.unsqueeze(2) - outputs
    return torch.maximum(quantiles * errors, (quantiles - 1) * errors).mean()


def _diverged(expected: str, found: str, task: FitTask) -> DivergedTraining:
    return DivergedTraining(
        "diverged-training",
        field="loss",
        expected=expected,
        found=found,
        advice=f"lower learning_rate, which was {task.number('learning_rate'):g}, and look for wild values in the data",
    )


def _some(task: FitTask) -> tuple[FloatInput, FloatInput]:
    """Return real windows and steps to hold the graph against the net with."""
    parts = (task.validation, task.fit)
    return (
        np.concatenate([part.inputs[:_PARITY_WINDOWS] for part in parts])[:_PARITY_WINDOWS],
        np.concatenate([part.future[:_PARITY_WINDOWS] for part in parts])[:_PARITY_WINDOWS],
    )


def _run(graph: bytes, window: FloatInput, future: FloatInput) -> FloatInput:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    known = {WINDOW: window, FUTURE: future}
    given = {entry.name: known[entry.name] for entry in session.get_inputs()}
    return np.asarray(session.run(None, given)[0], dtype=np.float32)
