"""What can be wrong with a forecast, a training or what they are made from.

ForecastingError             has code, field, expected, found, advice
├── InvalidWindow            window-shape, window-not-finite, window-not-positive, cutoff-missing, future-missing
├── InvalidObservations      unknown-column, mixed-freq, mixed-calendar, no-observations, duplicated-times,
│   │                        unsorted-times, wrong-freq, irregular-series, missing-observations, too-many-gaps
│   └── TooLittleHistory     too-little-history
├── HorizonTooLong           horizon-too-long
├── LevelNotCalibrated       level-not-calibrated
├── CalendarError            unknown-calendar, unknown-freq, beyond-calendar, cutoff-off-calendar
├── InvalidArtefact          invalid-recipe, invalid-graph
│   └── ParityBroken         parity-broken
├── InvalidTraining          unknown-algorithm, unknown-hyperparameter, invalid-hyperparameter, invalid-training,
│                            one-series-only, unknown-feature, invalid-feature
└── DivergedTraining         diverged-training
"""

from __future__ import annotations


class ForecastingError(ValueError):
    """Say what was expected, what was found and what to do.

    Attributes:
        code: Kind of the error, lower-case-with-hyphens; fit for a `ForecastRefused`.
        field: The argument at fault.
        expected: What it may be.
        found: What it was.
        advice: What to do; may be empty.
    """

    def __init__(self, code: str, *, field: str, expected: str, found: str, advice: str = "") -> None:
        self.code = code
        self.field = field
        self.expected = expected
        self.found = found
        self.advice = advice
        super().__init__(f"{field} must be {expected}, was {found}" + (f"; {advice}" if advice else ""))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by its parts: a training child sends its errors to the parent process."""
        facts = {"field": self.field, "expected": self.expected, "found": self.found, "advice": self.advice}
        return (_rebuild, (type(self), self.code, facts))


def _rebuild(kind: type[ForecastingError], code: str, facts: dict[str, str]) -> ForecastingError:
    return kind(code, **facts)


class InvalidWindow(ForecastingError):
    """Say that a window of raw values cannot be the input of the model."""


class InvalidObservations(ForecastingError):
    """Say that observations cannot be used by a model or a training."""


class TooLittleHistory(InvalidObservations):
    """Say how many rows are needed and how many there are."""


class HorizonTooLong(ForecastingError):
    """Say that more steps are asked for than the model was trained and calibrated for."""


class LevelNotCalibrated(ForecastingError):
    """Say which levels the calibration folds can support."""


class CalendarError(ForecastingError):
    """Say that the calendar or freq is unknown, or does not reach that far."""


class InvalidArtefact(ForecastingError):
    """Say that a recipe and a graph are not a model version that this code can serve."""


class ParityBroken(InvalidArtefact):
    """Say that the exported graph does not compute what the fitted model computes."""


class InvalidTraining(ForecastingError):
    """Say that a training is asked for that cannot be done."""


class DivergedTraining(ForecastingError):
    """Say that a fit ended in a loss that is not a number."""
