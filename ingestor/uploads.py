"""Source `upload`: the series of a file that somebody sent to the gateway.

The gateway has a process of its own read what others wrote, and leaves NumPy arrays, a file a series: nothing is
parsed here, so no further process is needed. The symbol is checked by its form; only files that the gateway made are
read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecasting.calendars import season_length
from forecasting.errors import CalendarError
from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.sources import SourceFrame, Wanted, within_days

NAME = "upload"
_SYMBOL = re.compile(r"([0-9a-f]{32})/([0-9]{5})")


@dataclass(frozen=True, kw_only=True)
class UploadSource:
    """Uploads below ``directory``/uploads; ``None``: there are none.

    Attributes:
        directory: What gateway and ingestor share.
        max_bytes: Largest file of a series.
    """

    name = NAME
    directory: Path | None
    max_bytes: int

    def fetch(self, wanted: Wanted) -> SourceFrame:
        path = self._path(wanted.symbol)
        try:
            season_length(wanted.freq, wanted.calendar)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        try:
            size = path.stat().st_size
            if size > self.max_bytes:
                raise BadSourceData(NAME, f"a series must have at most {self.max_bytes} bytes, has {size}")
            with path.open("rb") as raw:
                names, time, values = (np.lib.format.read_array(raw, allow_pickle=False) for _ in range(3))
        except FileNotFoundError as error:
            raise UnknownSymbol(
                NAME, f"there is no series {wanted.symbol}; its upload may have been removed"
            ) from error
        except (OSError, ValueError) as error:
            raise BadSourceData(NAME, f"{wanted.symbol} is not whole: {error}; upload the file again") from error
        columns = {str(name): values[index] for index, name in enumerate(names)}
        return within_days(SourceFrame(source=NAME, unit="", time=time, columns=columns), wanted)

    def _path(self, symbol: str) -> Path:
        if self.directory is None:
            raise BadSourceData(NAME, "uploads are not served: set FORETOPIC_INGESTOR_FILES_DIRECTORY")
        found = _SYMBOL.fullmatch(symbol)
        if found is None:
            raise UnknownSymbol(NAME, f"the symbol of an upload is made by the gateway, was {symbol[:100]!r}")
        return self.directory / "uploads" / found[1] / "series" / f"{found[2]}.npy"
