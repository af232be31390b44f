from __future__ import annotations

from dataclasses import replace

import pytest

from predictor.log_reader import answered_request
from schemas.errors import MalformedRecord
from schemas.record import Record
from schemas.topics import FORECASTS
from tests import factories


@pytest.mark.parametrize("record", [factories.forecast_issued("r-1"), factories.forecast_refused("r-1")])
def test_answer_is_known_by_its_request_without_decoding_it(record: Record) -> None:
    assert answered_request(factories.message(FORECASTS, record)) == "r-1"


@pytest.mark.parametrize("value", [None, b"", b"junk", b"{}", b'{"request_id": 7}', b"\xff", b"[" * 100_000])
def test_junk_is_no_answer(value: bytes | None) -> None:
    with pytest.raises(MalformedRecord):
        answered_request(replace(factories.message(FORECASTS, factories.forecast_issued()), value=value))


def test_answer_under_the_id_of_another_request_is_none() -> None:
    """Red without the comparison of ``ce_id``: a forged answer would end a request that nobody answered."""
    forged = factories.message(FORECASTS, factories.forecast_refused("r-1"))
    headers = factories.message(FORECASTS, factories.forecast_refused("r-2")).headers

    with pytest.raises(MalformedRecord, match="r-1"):
        answered_request(replace(forged, headers=headers))


def test_message_without_headers_is_no_answer() -> None:
    with pytest.raises(MalformedRecord):
        answered_request(replace(factories.message(FORECASTS, factories.forecast_issued()), headers=()))
