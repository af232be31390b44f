"""Features of the steps that the calendar gives, and the number of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.features_calendar import CYCLES, DAY, HOLIDAYS, TERMS, Term, cycle_of_days, is_region, wave
from forecasting.panel import FloatArray, IntArray
from forecasting.step_features_context import (
    Build,
    StepContext,
    StepFeature,
    StepKind,
    Unfit,
    ahead_of,
    seconds_of,
)


def _term(term: Term) -> Build:
    def compute(context: StepContext) -> FloatArray:
        return term.of(seconds_of(context.future_time)).astype(np.float64)

    return lambda *_: StepFeature(compute=compute, needs_time=True)


def _holiday(
    value: Callable[[IntArray, str], FloatArray],
) -> Build:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        if not is_region(part.option):
            raise Unfit("option", "a country of the holidays package, or a part of one: US, DE/BW", repr(part.option))
        return StepFeature(compute=lambda context: value(seconds_of(context.future_time), part.option), needs_time=True)

    return build


def _fourier(*, is_sine: bool) -> Build:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        passed, order = _passed(part), max(part.order, 1)
        return StepFeature(
            compute=lambda context: wave(passed(context), order, is_sine=is_sine), needs_time=bool(part.option)
        )

    return build


def _passed(part: StepFeatureRecipe) -> Callable[[StepContext], FloatArray]:
    """Return how much of its cycle has passed at each step."""
    if part.option in CYCLES:
        if part.period:
            raise Unfit("period", f"left out: a {part.option} has its own length", part.period)
        cycle = CYCLES[part.option]
        return lambda context: cycle(seconds_of(context.future_time))
    if part.option not in ("", "days"):
        raise Unfit("option", f"{', '.join(CYCLES)}, days, or nothing for rows", repr(part.option))
    if not part.period:
        raise Unfit("period", "above 0", part.period)
    if part.option == "days":
        return lambda context: cycle_of_days(seconds_of(context.future_time), part.period)
    return lambda context: ahead_of(context) / part.period


def _gap(_: StepFeatureRecipe, __: Recipe) -> StepFeature:
    def compute(context: StepContext) -> FloatArray:
        time, future = seconds_of(context.time), seconds_of(context.future_time)
        return np.asarray(np.diff(future, prepend=time[..., -1:]) / DAY, dtype=np.float64)

    return StepFeature(compute=compute, needs_time=True)


_FOURIER = frozenset({"period", "order", "option"})
#: Values of a term that is no or yes.
_FLAG = 2
_REGION = frozenset({"option"})
CALENDAR_KINDS: Mapping[str, StepKind] = {
    "step": StepKind(says="1 for the first step, 2 for the next, ...", build=lambda *_: StepFeature(compute=ahead_of)),
    **{
        name: StepKind(
            scaling="none" if term.count == _FLAG else "standard", says=f"{term.says}, of the step", build=_term(term)
        )
        for name, term in TERMS.items()
    },
    "fourier-sin": StepKind(
        takes=_FOURIER,
        scaling="none",
        says="`sin(2 pi order t / period)`. `option` is the cycle: hour, day, week, month, quarter, year (of the "
        "calendar, without `period`), days (t and `period` in days since 1970), or none (t is the step, `period` "
        "in rows)",
        build=_fourier(is_sine=True),
    ),
    "fourier-cos": StepKind(
        takes=_FOURIER, scaling="none", says="the cosine of fourier-sin", build=_fourier(is_sine=False)
    ),
    "holiday": StepKind(
        takes=_REGION,
        scaling="none",
        says="1 on a public holiday, else 0. `option` is the country or a part of it, such as US or DE/BW",
        build=_holiday(HOLIDAYS["holiday"]),
    ),
    "days-to-holiday": StepKind(
        takes=_REGION,
        says="days to the next holiday, 0 on one, at most 14",
        build=_holiday(HOLIDAYS["days-to-holiday"]),
    ),
    "days-since-holiday": StepKind(
        takes=_REGION,
        says="days since the last holiday, 0 on one, at most 14",
        build=_holiday(HOLIDAYS["days-since-holiday"]),
    ),
    "gap": StepKind(says="days since the step before: more than usual after closed days", build=_gap),
}
