"""What a statistical model is once it is fitted: its form, its parameters and its states after the last fitted row.

Plain numbers only. Serving advances the states by the rows that came since; it never fits anything again.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Finite = float
Season = Annotated[int, Meta(ge=1)]


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every statistical model has.

    States belong to the row at `state_time`: a window that shows this row and newer ones advances them exactly.
    """

    #: Whether the model was fitted to natural logarithms of the target.
    is_log: bool = False
    #: Rows of one season; 1 is none.
    season_length: Season = 1
    #: UTC start of the last fitted row in seconds since 1970; ``None`` where the rows had no times.
    state_time: int | None = None


class EtsRecipe(_Model, frozen=True, kw_only=True, tag="ets"):
    """An exponential smoothing model of Hyndman, Koehler, Ord and Snyder (2008), chapter 2."""

    error: Literal["additive", "multiplicative"]
    has_trend: bool
    season: Literal["none", "additive", "multiplicative"]
    alpha: Finite
    beta: Finite = 0.0
    gamma: Finite = 0.0
    #: 1 is a trend that is not damped.
    phi: Finite = 1.0
    level: Finite
    slope: Finite = 0.0
    #: Seasonal states in the order of the next rows, shape (season_length,); empty without a season.
    seasonal: tuple[Finite, ...] = ()
    #: Variance of the one-step errors; relative errors where `error` is multiplicative.
    variance: Annotated[float, Meta(ge=0)]

    def __post_init__(self) -> None:
        expected = 0 if self.season == "none" else self.season_length
        if len(self.seasonal) != expected:
            raise ValueError(f"seasonal must have {expected} states, had {len(self.seasonal)}")


class ThetaRecipe(_Model, frozen=True, kw_only=True, tag="theta"):
    """A theta model in the state space form of Fiorucci et al. (Int. J. Forecasting 32, 2016), section 3.

    `dynamic` forms estimate the trend line from the rows so far; the others keep the line of the fit.
    """

    is_dynamic: bool
    alpha: Annotated[float, Meta(gt=0, le=1)]
    theta: Annotated[float, Meta(ge=1)]
    #: Rows seen, on which the line stands.
    rows: Annotated[int, Meta(ge=1)]
    level: Finite
    #: Mean of the rows seen, without their season.
    mean: Finite
    intercept: Finite
    slope: Finite
    season: Literal["none", "additive", "multiplicative"] = "none"
    #: Seasonal indices in the order of the next rows; empty without a season.
    seasonal: tuple[Finite, ...] = ()

    def __post_init__(self) -> None:
        expected = 0 if self.season == "none" else self.season_length
        if len(self.seasonal) != expected:
            raise ValueError(f"seasonal must have {expected} indices, had {len(self.seasonal)}")


class CesRecipe(_Model, frozen=True, kw_only=True, tag="ces"):
    """Complex exponential smoothing of Svetunkov, Kourentzes and Ord (Naval Research Logistics 69, 2022)."""

    season: Literal["none", "simple", "partial", "full"]
    #: Real and imaginary part of the smoothing parameter.
    alpha: tuple[Finite, Finite]
    #: The same of the seasonal one; only its real part counts where the season is partial.
    beta: tuple[Finite, Finite] = (0.0, 0.0)
    #: Level and potential of the newest rows, oldest first: one row, or a whole season where the season is simple.
    level: tuple[tuple[Finite, Finite], ...]
    #: Seasonal state and its potential in the order of the next rows; empty where the season is none or simple.
    seasonal: tuple[tuple[Finite, Finite], ...] = ()

    def __post_init__(self) -> None:
        levels = self.season_length if self.season == "simple" else 1
        seasonal = self.season_length if self.season in ("partial", "full") else 0
        if (len(self.level), len(self.seasonal)) != (levels, seasonal):
            raise ValueError(
                f"level and seasonal must have {levels} and {seasonal} states, had {len(self.level)} and "
                f"{len(self.seasonal)}"
            )


class ArimaRecipe(_Model, frozen=True, kw_only=True, tag="arima"):
    """A seasonal ARIMA model: the polynomials multiplied out, so that only lags are left.

    The value is `mean` + `drift` x row + x, where x differenced `order[1]` times by one row and `seasonal_order[1]`
    times by a season is an ARMA process with the coefficients `ar` and `ma` at lags 1, 2, and so on.
    """

    #: p, d, q: for people; `ar` and `ma` already contain them.
    order: tuple[int, int, int]
    seasonal_order: tuple[int, int, int] = (0, 0, 0)
    ar: tuple[Finite, ...] = ()
    ma: tuple[Finite, ...] = ()
    mean: Finite = 0.0
    drift: Finite = 0.0
    #: Number of the last fitted row, counted from 1: where the drift stands.
    rows: Annotated[int, Meta(ge=1)]
    #: The newest values of x, oldest first: as many as differencing reaches back.
    values: tuple[Finite, ...] = ()
    #: State of the ARMA process after the last row (Harvey's form), shape (max(len(ar), len(ma) + 1),).
    state: tuple[Finite, ...]
    #: Its covariance over the innovation variance, row by row; empty where it is zero, which it tends to.
    covariance: tuple[tuple[Finite, ...], ...] = ()

    def __post_init__(self) -> None:
        size = max(len(self.ar), len(self.ma) + 1)
        if len(self.state) != size:
            raise ValueError(f"state must have {size} numbers, had {len(self.state)}")
        if self.covariance and [len(row) for row in self.covariance] != [size] * size:
            raise ValueError(f"covariance must be {size} x {size}")
        reach = self.order[1] + self.season_length * self.seasonal_order[1]
        if len(self.values) != reach:
            raise ValueError(f"values must have {reach} numbers, had {len(self.values)}")


class AggregateRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of the means of so many rows each, at one level of temporal aggregation."""

    rows: Annotated[int, Meta(ge=1)]
    #: Its states are those of the means that end with the last fitted row.
    model: EtsRecipe
    #: Level and slope of the means that end 1 to rows - 1 rows earlier, the earliest first.
    earlier: tuple[tuple[Finite, Finite], ...] = ()

    def __post_init__(self) -> None:
        if self.model.season != "none" or len(self.earlier) != self.rows - 1:
            raise ValueError(f"a level of {self.rows} rows must have {self.rows - 1} earlier states and no season")


class MapaRecipe(_Model, frozen=True, kw_only=True, tag="mapa"):
    """Multiple aggregation of Kourentzes, Petropoulos and Trapero (Int. J. Forecasting 30, 2014)."""

    levels: Annotated[tuple[AggregateRecipe, ...], Meta(min_length=1)]
    #: The newest rows without their season, oldest first: as many as the largest level has.
    newest: tuple[Finite, ...]
    #: Added to each row, in the order of the next rows; empty without a season.
    seasonal: tuple[Finite, ...] = ()

    def __post_init__(self) -> None:
        if len(self.newest) != max(level.rows for level in self.levels):
            raise ValueError(f"newest must have the rows of the largest level, had {len(self.newest)}")
        if self.seasonal and len(self.seasonal) != self.season_length:
            raise ValueError(f"seasonal must have {self.season_length} indices, had {len(self.seasonal)}")

    @property
    def season(self) -> Literal["none", "additive"]:
        """The form of the season."""
        return "additive" if self.seasonal else "none"


StatisticalRecipe = EtsRecipe | ThetaRecipe | CesRecipe | ArimaRecipe | MapaRecipe
