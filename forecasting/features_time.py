"""Features of the rows from their times alone: calendar terms, Fourier terms, holidays and gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from forecasting.artefact import TIME_COLUMN
from forecasting.features_calendar import CYCLES, DAY, HOLIDAYS, TERMS, cycle_of_days, is_region, wave
from forecasting.features_kind import Build, Feature, Kind, Parameter, Settings, Unfit
from forecasting.panel import FloatArray, IntArray


def _of_time(value: Callable[[IntArray], FloatArray]) -> Feature:
    """Return the feature of one row's time, which stands among columns of float64."""
    return Feature(lookback=1, compute=lambda columns: value(columns[TIME_COLUMN].astype(np.int64)))


def _term(of: Callable[[IntArray], IntArray]) -> Build:
    return lambda *_: _of_time(lambda time: of(time).astype(np.float64))


def _holiday(value: Callable[[IntArray, str], FloatArray]) -> Build:
    def build(_: Sequence[str], __: int, settings: Settings) -> Feature:
        region = str(settings["option"])
        if not is_region(region):
            raise Unfit("option", "a country of the holidays package, or a part of one: US, DE/BW")
        return _of_time(lambda time: value(time, region))

    return build


def _fourier(*, is_sine: bool) -> Build:
    def build(_: Sequence[str], __: int, settings: Settings) -> Feature:
        passed = _passed(str(settings["option"]), float(settings["period"]))
        return _of_time(lambda time: wave(passed(time), int(settings["order"]), is_sine=is_sine))

    return build


def _passed(option: str, period: float) -> Callable[[IntArray], FloatArray]:
    """Return how much of a cycle has passed at a time."""
    if option in CYCLES:
        if period:
            raise Unfit("period", f"left out: a {option} has its own length")
        return CYCLES[option]
    if option != "days":
        raise Unfit("option", f"{', '.join(CYCLES)} or days")
    if not period:
        raise Unfit("period", "above 0")
    return lambda time: cycle_of_days(time, period)


_TIME = (TIME_COLUMN,)
_REGION = (Parameter(name="option", default="", says="the country or a part of it, such as US or DE/BW"),)
_FOURIER = (
    Parameter(name="option", default="days", says="the cycle: hour, day, week, month, quarter, year, or days"),
    Parameter(name="order", default=1, least=1, most=1_000, says="which harmonic"),
    Parameter(name="period", default=0.0, least=0, most=100_000, says="length of the cycle in days, for days"),
)
_HOLIDAY_SAYS = {
    "holiday": "1 on a public holiday, else 0",
    "days-to-holiday": "days to the next holiday, 0 on one, at most 14",
    "days-since-holiday": "days since the last holiday, 0 on one, at most 14",
}
TIME_KINDS: Mapping[str, Kind] = {
    **{
        name: Kind(columns=_TIME, says=f"{term.says}, of the row", build=_term(term.of)) for name, term in TERMS.items()
    },
    "fourier-sin": Kind(
        columns=_TIME,
        parameters=_FOURIER,
        says="`sin(2 pi order t / period)`, t since the cycle began, for days since 1970",
        build=_fourier(is_sine=True),
    ),
    "fourier-cos": Kind(
        columns=_TIME, parameters=_FOURIER, says="the cosine of fourier-sin", build=_fourier(is_sine=False)
    ),
    **{
        name: Kind(columns=_TIME, parameters=_REGION, says=_HOLIDAY_SAYS[name], build=_holiday(value))
        for name, value in HOLIDAYS.items()
    },
    "gap": Kind(
        columns=_TIME,
        says="days since the row before: more than usual after closed days",
        build=lambda *_: Feature(lookback=2, compute=lambda columns: np.diff(columns[TIME_COLUMN]) / DAY),
    ),
}
