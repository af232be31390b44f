"""`foretopic audit leakage`: what it reads, what it says, and its exit code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from forecasting.artefact import recipe_to_json
from forecasting.audit import Code
from forecasting.panel import SeriesHistory
from forecasting.training import TrainingSpec, train
from foretopic import leakage
from foretopic.cli import main
from foretopic.cli_audit import show
from foretopic.errors import ForetopicError
from runtime.topic_specs import specs
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests.factories import SERIES, deployment, model_release, observation_batch, outgoing_message
from tests.unit.forecasting.series import prices

ROWS = 200


@pytest.fixture
def sales(tmp_path):
    path = tmp_path / "sales.csv"
    days = np.datetime64("2024-01-01") + np.arange(ROWS)
    lines = [f"{day},{value:.3f},{row % 7}" for row, (day, value) in enumerate(zip(days, prices(ROWS), strict=True))]
    path.write_text("\n".join(["date,sales,weekday", *lines]) + "\n")
    return path


def audit(*arguments: str):
    return CliRunner().invoke(main, ["audit", "leakage", "shop/berlin@1d", *arguments])


def test_a_file_is_audited_without_a_stack(sales):
    result = audit("--file", str(sales), "--target", "sales", "--algorithm", "drift", "--cutoffs", "3")
    assert (result.exit_code, result.output.count("drift: nothing knows the future")) == (0, 1)
    assert "of forecast" in result.output
    assert "of fit" in result.output


def test_findings_are_shown_and_make_the_exit_code_1(sales, clock, capsys):
    """A window that is one row late stands for code that knows the future."""
    late = Code(window=lambda panel, recipe, row: panel.window(recipe, 0, row + 1, recipe.history_rows))
    series = leakage.series_from_file(sales, "shop/berlin@1d", "24/7", clock)
    subject = leakage.trained(TrainingSpec(algorithm="last-value", target="sales"), series)
    audits = {"last-value": leakage.audited(subject, cutoffs=2, seed=0, code=late)}

    assert show(audits, as_json=False) == 1
    assert "last-value knows the future" in capsys.readouterr().out
    assert show(audits, as_json=True) == 1
    [document] = json.loads(capsys.readouterr().out)
    assert "median" in {finding["part"] for finding in document["findings"]}
    assert document["compared"]["forecast"] > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--file", "FILE"), "name an --algorithm"),
        (("--algorithm", "drift", "--model", "shop/berlin-1d"), "give one of them"),
        (("--cutoffs", "0", "--algorithm", "drift", "--file", "FILE"), "--cutoffs"),
    ],
)
def test_wrong_usage_ends_with_2(sales, arguments, expected):
    result = audit(*(str(sales) if each == "FILE" else each for each in arguments))
    assert result.exit_code == 2
    assert expected in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--target", "sales", "--algorithm", "crystal-ball"), "crystal-ball"),
        (("--target", "turnover", "--algorithm", "drift"), "turnover"),
    ],
)
def test_what_cannot_be_trained_is_told_and_ends_with_1(sales, arguments, expected):
    result = audit("--file", str(sales), *arguments)
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_missing_is_told(tmp_path):
    result = audit("--file", str(tmp_path / "none.csv"), "--algorithm", "drift")
    assert result.exit_code == 1
    assert "there is no file 'none.csv'" in result.output


@pytest.fixture
def log(broker):
    """A log with a series, two versions of its model, and the first of them as champion."""
    broker.ensure_topics(specs("", 1))
    batch = observation_batch(rows=ROWS, columns={"close": tuple(prices(ROWS).tolist())})
    producer = broker.producer()
    producer.send(outgoing_message(OBSERVATIONS, batch)).result(1)
    for algorithm in ("drift", "last-value"):
        view = _series(batch)
        trained = train(TrainingSpec(algorithm=algorithm, horizon=3), [view])
        release = model_release(
            algorithm=algorithm,
            version=trained.artefact.version,
            artefact_digest=trained.artefact.digest,
            recipe=recipe_to_json(trained.recipe),
            graph=trained.graph,
            horizon=3,
            window_size=20,
        )
        producer.send(outgoing_message(MODELS, release)).result(1)
        if algorithm == "drift":
            producer.send(outgoing_message(DEPLOYMENTS, deployment(version=release.version))).result(1)
    return broker


def _series(batch):
    history = SeriesHistory(batch.series_id)
    history.append(0, batch)
    return history.view()


def test_champion_of_the_log_is_audited(log, clock):
    series = leakage.series_of(log, "", clock, SERIES)
    assert len(series) == ROWS
    subject = leakage.released(
        "shop/apples-1d",
        leakage.releases_of(log, "", clock),
        lambda name: leakage.series_of(log, "", clock, name),
        SERIES,
    )
    assert subject.model.recipe.algorithm == "drift"
    found = leakage.audited(subject, cutoffs=3, seed=0)
    assert found.findings == []
    assert found.compared["forecast"] > 0


def test_version_of_the_log_is_audited_by_name(log, clock):
    releases = leakage.releases_of(log, "", clock)
    series = leakage.series_of(log, "", clock, SERIES)
    version = train(TrainingSpec(algorithm="last-value", horizon=3), [series]).artefact.version
    subject = leakage.released(f"shop/apples-1d:{version}", releases, lambda _: series, SERIES)
    assert subject.model.recipe.algorithm == "last-value"


def test_unknown_model_and_series_are_told(log, clock):
    with pytest.raises(ForetopicError, match="shop/pears-1d"):
        leakage.released(
            "shop/pears-1d", leakage.releases_of(log, "", clock), lambda name: pytest.fail(f"{name} was read"), SERIES
        )
    with pytest.raises(ForetopicError, match="no series shop/pears@1d"):
        leakage.series_of(log, "", clock, "shop/pears@1d")
