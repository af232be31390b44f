"""What can be set about the statistical models."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from forecasting.models.hyperparameters import Hyperparameter, SearchRange

THETA, ETS, ARIMA, CES, MAPA = "theta", "ets", "arima", "ces", "mapa"
STATISTICAL = (THETA, ETS, ARIMA, CES, MAPA)
#: Names of theta's forms -> those of Fiorucci et al. (2016).
THETA_FORMS = {
    "standard": "STM",
    "optimised": "OTM",
    "dynamic-standard": "DSTM",
    "dynamic-optimised": "DOTM",
}
CES_SEASONS = {"none": "N", "simple": "S", "partial": "P", "full": "F"}


def is_statistical(algorithm: str) -> bool:
    """Return whether an algorithm is fitted to the rows of one series and served without a graph."""
    return algorithm in STATISTICAL


def _ets_models() -> tuple[str, ...]:
    """Return error, trend and season as letters; without the forms whose variance is infinite (Hyndman 2008, 4.4)."""
    return tuple("".join(letters) for letters in product("ZAM", "ZNA", "ZNAM") if letters[::2] != ("A", "M"))


_NEWEST = Hyperparameter(
    name="newest_rows", default=1_000, minimum=12, maximum=100_000, description="Most rows that a fit looks at"
)
_COMMON = (
    Hyperparameter(
        name="transform",
        default="none",
        choices=("none", "log"),
        description="What is fitted: the target or its log",
        search=SearchRange(choices=("none", "log")),
    ),
    _NEWEST,
)
SETTINGS: Mapping[str, tuple[Hyperparameter, ...]] = {
    THETA: (
        Hyperparameter(
            name="form",
            default="dynamic-optimised",
            choices=("auto", *THETA_FORMS),
            description="Of Fiorucci et al.; auto takes the one with the least squared error",
            search=SearchRange(choices=tuple(THETA_FORMS)),
        ),
        Hyperparameter(
            name="season",
            default="multiplicative",
            choices=("multiplicative", "additive"),
            description="How a season that is significant is taken out; factors only of a positive target",
            search=SearchRange(choices=("multiplicative", "additive")),
        ),
        *_COMMON,
    ),
    ETS: (
        Hyperparameter(
            name="model",
            default="ZZZ",
            choices=_ets_models(),
            description="Error, trend and season: N none, A additive, M multiplicative, Z chosen by AICc",
        ),
        Hyperparameter(
            name="damped", default="auto", choices=("auto", "yes", "no"), description="Whether a trend fades out"
        ),
        *_COMMON,
    ),
    ARIMA: (
        Hyperparameter(name="max_p", default=5, minimum=0, maximum=10, description="Most autoregressive lags"),
        Hyperparameter(name="max_q", default=5, minimum=0, maximum=10, description="Most moving-average lags"),
        Hyperparameter(name="max_d", default=2, minimum=0, maximum=2, description="Most differences by one row"),
        Hyperparameter(name="seasonal", default=True, description="Whether seasonal terms are tried"),
        Hyperparameter(name="max_seasonal_p", default=2, minimum=0, maximum=3, description="Most lags of a season, AR"),
        Hyperparameter(name="max_seasonal_q", default=2, minimum=0, maximum=3, description="Most lags of a season, MA"),
        *_COMMON,
    ),
    CES: (
        Hyperparameter(
            name="season",
            default="auto",
            choices=("auto", *CES_SEASONS),
            description="Form of the season; auto is chosen by AICc",
        ),
        *_COMMON,
    ),
    MAPA: (
        Hyperparameter(
            name="transform",
            default="auto",
            choices=("auto", "none", "log"),
            description="What is fitted; auto is the log of a target that is always positive",
        ),
        _NEWEST,
    ),
}
