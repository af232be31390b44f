"""Linear models of scikit-learn on the same windows, exported by skl2onnx.

`squared` fits ridge regressions (Hoerl and Kennard, 1970) of every step, and with the penalty 0 plain least squares;
recent volatility is then the spread of the forecast. `quantile` fits linear quantile regressions (Koenker and Bassett,
1978) of every step and quantile as linear programmes: slower, and the spread is the model's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnxruntime
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, QuantileRegressor, Ridge

from forecasting.artefact import Setting
from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.models.default_inputs import moving_columns
from forecasting.models.fitting import Epoch, Examples, FitTask, Fitted, InputPlan, SeriesView, pinball, require_parity
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.panel import FloatArray

_PARITY_WINDOWS = 256
_OPSET = {"": 17, "ai.onnx.ml": 3}
#: Ridge penalties tried, relative to the number of examples; the validation part decides.
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
#: The L1 penalty that keeps the linear programmes well posed where inputs repeat each other.
_QUANTILE_PENALTY = 1e-4


def _penalty(description: str) -> Hyperparameter:
    return Hyperparameter(name="penalty", default=-1.0, minimum=-1.0, maximum=1e6, description=description)


class Linear:
    """The algorithm `linear`."""

    name = "linear"
    hyperparameters: tuple[Hyperparameter, ...] = (
        Hyperparameter(
            name="loss",
            default="squared",
            choices=("squared", "quantile"),
            description="What the fit makes small",
            search=SearchRange(choices=("squared", "quantile")),
        ),
        _penalty(
            "Of ridge (squared; 0 is plain least squares) or L1 (quantile); -1: the validation part chooses, or 0.0001"
        ),
    )

    def __init__(self, export: Callable[[LinearRegression], bytes] | None = None) -> None:
        self._export = export or _export

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:  # noqa: ARG002  # the protocol's
        return (0.1, 0.5, 0.9) if hyperparameters.get("loss") == "quantile" else (0.5,)

    def plan(self, view: SeriesView) -> InputPlan:
        return moving_columns(view)

    def fit(self, task: FitTask) -> Fitted:
        inputs = _flat(task.fit).astype(np.float64)
        if task.hyperparameters.get("loss") == "quantile":
            model, epochs = _fit_quantiles(task, inputs)
            chosen: dict[str, Setting] = {}
        else:
            model, epochs, chosen = _fit_ridge(task, inputs)
        graph = self._export(model)
        if task.fit.future.size:
            graph = _with_steps(graph, task.fit.future.shape[1:])
        some = _some(task)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        given = {"window": some.inputs.reshape(len(some), -1), "future": some.future}
        found = session.run(None, {part.name: given[part.name] for part in session.get_inputs()})[0]
        require_parity(found, model.predict(_flat(some)), self.name)
        return Fitted(graph, epochs, model.coef_.size + model.intercept_.size, chosen)


class RidgeRegression(Linear):
    """The algorithm `ridge`: `linear` with the loss `squared`."""

    name = "ridge"
    hyperparameters = (_penalty("On the squared weights; 0 is plain least squares, -1: the validation part chooses"),)


def _flat(examples: Examples) -> FloatInput:
    """Return each window and what is known of its steps as one row."""
    count = len(examples)
    window = examples.inputs.reshape(count, -1)
    return np.concatenate([window, examples.future.reshape(count, -1)], axis=1) if examples.future.size else window


def _some(task: FitTask) -> Examples:
    """Return the examples that graph and model are compared on."""
    parts = ((one.inputs, one.future, one.targets, one.units) for one in (task.validation, task.fit))
    return Examples(*(np.concatenate(both)[:_PARITY_WINDOWS] for both in zip(*parts, strict=True)))


def _fit_ridge(task: FitTask, inputs: FloatArray) -> tuple[LinearRegression, tuple[Epoch, ...], dict[str, Setting]]:
    given = task.number("penalty")
    penalties = _PENALTIES if given < 0 else (given,)
    parts = ((inputs, task.fit.targets), (_flat(task.validation).astype(np.float64), task.validation.targets))
    best: tuple[float, float, LinearRegression] | None = None
    done = []
    models = ridges(inputs, task.fit.targets.astype(np.float64), penalties)
    for number, (penalty, model) in enumerate(zip(penalties, models, strict=True), start=1):
        epoch = _epoch(number, len(penalties), model, parts)
        done.append(epoch)
        task.on_epoch(epoch)
        if best is None or epoch.validation_loss < best[0]:
            best = (epoch.validation_loss, penalty, model)
    assert best is not None  # there is always one penalty
    return best[2], tuple(done), {"penalty": best[1]}


def ridges(inputs: FloatArray, targets: FloatArray, penalties: Sequence[float]) -> Iterator[LinearRegression]:
    """Yield the ridge regression of each penalty, relative to the number of examples; 0 is plain least squares.

    With more examples than inputs they are what scikit-learn's `Ridge` finds by the normal equations, which cost most
    of a fit and are the same for all penalties: here they are made once.

    Args:
        inputs: Shape (examples, inputs).
        targets: Shape (examples, outputs).
        penalties: One at least, none below 0.
    """
    count, width = inputs.shape
    if count <= width or min(penalties) == 0:
        yield from (_ridge(inputs, targets, penalty * count) for penalty in penalties)
        return
    offset, level = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - offset
    squares, products = centred.T @ centred, centred.T @ (targets - level)
    del centred
    for penalty in penalties:
        penalised = squares.copy()
        penalised.flat[:: width + 1] += penalty * count
        try:
            coefficients = linalg.solve(penalised, products, assume_a="pos", overwrite_a=True)
        except linalg.LinAlgError:  # inputs of very different sizes: scikit-learn has another way for them
            yield _ridge(inputs, targets, penalty * count)
        else:
            yield _linear(coefficients.T, level - offset @ coefficients)


def _ridge(inputs: FloatArray, targets: FloatArray, penalty: float) -> LinearRegression:
    found = (Ridge(alpha=penalty) if penalty > 0 else LinearRegression()).fit(inputs, targets)
    return _linear(found.coef_, found.intercept_)


def _epoch(number: int, count: int, model: LinearRegression, parts: Iterable[tuple[FloatArray, FloatInput]]) -> Epoch:
    losses = []
    for inputs, targets in parts:
        errors = targets - model.predict(inputs).reshape(targets.shape)
        losses.append(float(np.mean(errors**2)))
    if not np.isfinite(losses).all():
        raise DivergedTraining(
            "diverged-training", field="loss", expected="finite", found=f"{losses[0]:g} and {losses[1]:g}"
        )
    return Epoch(number, count, losses[0], losses[1], 0.0)


def _fit_quantiles(task: FitTask, inputs: FloatArray) -> tuple[LinearRegression, tuple[Epoch, ...]]:
    given = task.number("penalty")
    penalty = _QUANTILE_PENALTY if given < 0 else given
    horizon, count = task.fit.targets.shape[1], len(task.quantiles)
    coefficients, intercepts, done = [], [], []
    for step in range(horizon):
        losses = np.zeros(2)
        for quantile in task.quantiles:
            coefficient, intercept = _fit_quantile(inputs, task.fit.targets[:, step], quantile, penalty)
            coefficients.append(coefficient)
            intercepts.append(intercept)
            for index, part in enumerate((task.fit, task.validation)):
                forecast = _flat(part).astype(np.float64) @ coefficient + intercept
                losses[index] += pinball(part.targets[:, step], forecast, quantile) / count
        done.append(Epoch(step + 1, horizon, float(losses[0]), float(losses[1]), 0.0))
        task.on_epoch(done[-1])
    return _linear(np.array(coefficients), np.array(intercepts)), tuple(done)


def _fit_quantile(inputs: FloatArray, targets: FloatInput, quantile: float, penalty: float) -> tuple[FloatArray, float]:
    """Return coefficients and intercept of one quantile regression."""
    model = QuantileRegressor(quantile=quantile, alpha=penalty, solver="highs")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(inputs, targets.astype(np.float64))
        except ConvergenceWarning as error:
            raise DivergedTraining(
                "diverged-training",
                field="loss",
                expected=f"the least of the linear programme for the quantile {quantile:g}",
                found=" ".join(str(error).split()),
                advice="raise penalty or use the loss squared",
            ) from error
    return np.asarray(model.coef_, dtype=np.float64), float(model.intercept_)


def _linear(coefficients: FloatArray, intercepts: FloatArray) -> LinearRegression:
    """Return one linear model of all steps and quantiles, shape (outputs, inputs) and (outputs,)."""
    model = LinearRegression()
    model.coef_ = np.atleast_2d(coefficients)
    model.intercept_ = np.atleast_1d(intercepts)
    model.n_features_in_ = model.coef_.shape[1]
    return model


def _export(model: LinearRegression) -> bytes:
    with warnings.catch_warnings():
        # skl2onnx 1.20 still asks for parts of onnx and scikit-learn that say they will move.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        from skl2onnx import convert_sklearn  # noqa: PLC0415  # only an export pays for its import
        from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

        exported = convert_sklearn(
            model,
            name="linear",
            initial_types=[("window", FloatTensorType([None, model.n_features_in_]))],
            target_opset=_OPSET,
        )
    graph: bytes = exported.SerializeToString(deterministic=True)
    return graph


def _with_steps(graph: bytes, shape: tuple[int, ...]) -> bytes:
    """Return a graph of rows as one that takes the window and the step features apart, shape (horizon, features)."""
    import onnx  # noqa: PLC0415  # only an export pays for its import
    from onnx import TensorProto, helper  # noqa: PLC0415

    model = onnx.load_model_from_string(graph)
    (rows,) = model.graph.input
    width = rows.type.tensor_type.shape.dim[1].dim_value - int(np.prod(shape))
    joined = "window_and_steps"
    for node in model.graph.node:
        node.input[:] = [joined if name == rows.name else name for name in node.input]
    del model.graph.input[:]
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("window", TensorProto.FLOAT, [None, width]),
            helper.make_tensor_value_info("future", TensorProto.FLOAT, [None, *shape]),
        ]
    )
    model.graph.node.insert(0, helper.make_node("Flatten", ["future"], ["steps"], name="Flatten_steps"))
    model.graph.node.insert(1, helper.make_node("Concat", ["window", "steps"], [joined], name="Concat_steps", axis=1))
    onnx.checker.check_model(model)
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole
