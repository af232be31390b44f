"""Why a request ends without a forecast.

The codes that the predictor itself puts into `ForecastRefused.code`; those of `forecasting.errors` come beside them
(`window-shape`, `window-not-finite`, `too-little-history`, `unknown-column`, `horizon-too-long`,
`level-not-calibrated`, `beyond-calendar`, ...):

================== ===================================================================
as-of-beyond-log   the request may read further than the log goes
forecast-too-large the answer would be larger than a message may be
freq-mismatch      the series has another frequency than the model was trained for
no-champion        the model name has no champion yet
not-finite         the model gives a number that is not finite
request-too-large  the request would not fit into a message once it is pinned
unknown-model      no such model name or version
unknown-series     no observation of the series
window-shape       the window has another shape than the model reads
================== ===================================================================
"""

from __future__ import annotations


class Refused(Exception):
    """Say why one request ends without a forecast; becomes a `ForecastRefused`.

    Attributes:
        code: What kind of refusal, from the table above or from `forecasting.errors`.
        field: The field of the request that is at fault; empty when it is none.
        expected: What it may be.
        found: What it was.
        advice: What the caller can do; ends the sentence.
    """

    def __init__(self, code: str, *, field: str = "", expected: str, found: str, advice: str = "") -> None:
        subject = field or "the request"
        sentence = f"{subject} must be {expected}, was {found}"
        super().__init__(f"{sentence}; {advice}" if advice else sentence)
        self.code = code
        self.field = field
        self.expected = expected
        self.found = found

    @property
    def reason(self) -> str:
        """One sentence: what was expected, what was found, what to do."""
        return str(self)
