"""Commands that ask the gateway for something."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from foretopic.cli_shared import CLOCK, console, gateway_client, json_option, print_json, settings
from foretopic.errors import ForetopicError
from foretopic.files import files_directory, place_file
from foretopic.first_run import describe_ingest, describe_training
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from foretopic.tables import forecast_table
from schemas.trainings import FINAL_TRAINING_STATES, GapRule, IntervalKind

_POLL_SECONDS = 0.3
#: Sources of US stocks.
_STOCK_SOURCES = frozenset({"yahoo", "sample"})
#: Sources whose symbols are no names of series.
_NAMELESS_SOURCES = frozenset({"file", "url", "sql"})
_FINAL_INGEST_STATES = frozenset({"succeeded", "failed"})

# As text: the registry of them would cost every command the import of numpy.
_ALGORITHMS = (
    "auto compares several. Nets: lstm, gru, tcn, nhits, dlinear, nlinear, patchtst. Of one series: theta, ets, ces, "
    "arima, mapa. Of tables: linear, ridge, lightgbm, gradient-boosting, random-forest. Of the direction: "
    "direction-logistic, direction-forest, direction-boosting. Baselines: last-value, drift, seasonal-naive. "
    "ensemble combines --candidates."
)

key_option = click.option("--key", help="Idempotency key: the same key never asks twice.")
known_at_option = click.option(
    "--known-at", help="Read only what had been received at this time, e.g. 2025-01-02T21:00:00Z."
)


def _client() -> GatewayClient:
    return gateway_client(settings())


@click.command()
@click.argument("sources")
@click.argument("symbol")
@click.option("--series", "series_id", help="Series id; `market/SYMBOL@FREQ` unless given.")
@click.option("--freq", help="Length of one observation: 1d, 1h, 15min. That of --series, else 1d.")
@click.option("--calendar", help="Exchange calendar code, or 24/7. XNYS for yahoo and sample, else 24/7.")
@click.option("--start", help="First day wanted, e.g. 2020-01-01.")
@click.option("--end", help="Last day wanted.")
@click.option("--adjust", is_flag=True, help="Adjust prices for dividends too, not for splits alone.")
@click.option(
    "--known-future", multiple=True, metavar="COLUMN", help="A column that rows later than now may have; repeat."
)
@click.option("--force", is_flag=True, help="Let in what the quality gate would hold back, unless it is impossible.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@key_option
@json_option
def ingest(
    *,
    sources: str,
    symbol: str,
    series_id: str | None,
    freq: str | None,
    calendar: str | None,
    start: str | None,
    end: str | None,
    adjust: bool,
    known_future: tuple[str, ...],
    force: bool,
    no_wait: bool,
    key: str | None,
    as_json: bool,
) -> None:
    """Load or update a series from yahoo, cryptocompare, sample, file, url, sql or mock.

    Several sources with commas are tried in order. SYMBOL is what the source calls the series: a ticker, the path or
    address of a CSV or Parquet file, a named query.

    Example: foretopic ingest yahoo,sample MSFT

    Example: foretopic ingest file sales.csv --series shop/berlin@1d --known-future promo

    Example: foretopic ingest cryptocompare BTC-USD --freq 1h
    """
    found = settings()
    names = [name.strip() for name in sources.split(",")]
    freq = freq or (series_id.rpartition("@")[2] if series_id and "@" in series_id else "1d")
    if series_id is None and set(names) & _NAMELESS_SOURCES:
        raise click.UsageError("a series from a file needs a name, e.g. --series shop/berlin@1d")
    if "file" in names:
        symbol = place_file(Path(symbol), files_directory(found.home, os.environ))
    body = {
        "symbol": symbol,
        "sources": names,
        "series_id": series_id or f"market/{symbol}@{freq}",
        "freq": freq,
        "calendar": calendar or ("XNYS" if set(names) <= _STOCK_SOURCES else "24/7"),
        "start": start,
        "end": end,
        "adjust": adjust,
        "known_future": list(known_future),
        "force": force,
    }
    with _client() as client:
        asked = client.ask_ingest(body, key=key)
        if no_wait:
            _tell(asked, f"Asked: ingest {asked['ingest_id']}.", as_json=as_json)
            return
        if as_json:
            done = _wait(lambda: client.ingest(asked["ingest_id"]), _FINAL_INGEST_STATES)
        else:
            with Reporter(console()).work(f"Loading {asked['series_id']}") as work:

                def ask() -> dict[str, Any]:
                    event = client.ingest(asked["ingest_id"])
                    part = 1.0 if event["state"] == "succeeded" else event.get("fraction") or 0.0
                    work.update(part, describe_ingest(event))
                    return event

                done = _wait(ask, _FINAL_INGEST_STATES)
    _require_success("ingest", done)
    note = f" Note: {done['reason']}." if done.get("reason") else ""
    if done.get("rows_quarantined"):
        note += f" {done['rows_quarantined']} held back: `foretopic quarantine list` shows them."
    note += "".join(f"\n  {flag}" for flag in done.get("flags", ()))
    _tell(
        done,
        f"{done['series_id']}: {done['rows_received']} rows from {done['source']}, "
        f"{done['rows_published']} new or changed.{note}",
        as_json=as_json,
    )


@click.command()
@click.argument("series_ids", nargs=-1, required=True)
@click.option("--model", help="Name of the model; the one named after the first series unless given.")
@click.option("--algorithm", default="lstm", show_default=True, help=_ALGORITHMS)
@click.option("--target", default="close", show_default=True, help="Column that is forecast.")
@click.option("--column", "columns", multiple=True, help="Raw column that the model sees; repeat.")
@click.option("--horizon", default=10, show_default=True, type=click.IntRange(1, 1000), help="Steps ahead.")
@click.option("--window-size", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Observations seen.")
@click.option("--level", "levels", multiple=True, type=float, default=(80.0, 95.0), show_default=True, help="Percent.")
@click.option("--set", "hyperparameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; repeat.")
@click.option("--known-future", multiple=True, metavar="COLUMN", help="A column known at the steps ahead; repeat.")
@click.option("--static", multiple=True, metavar="COLUMN", help="A column that never changes in a series; repeat.")
@click.option(
    "--feature", "features", multiple=True, metavar="NAME[:COLUMNS][:SETTINGS]", help="E.g. rsi:close:14; repeat."
)
@click.option(
    "--step-feature",
    "step_features",
    multiple=True,
    metavar="NAME[:COLUMNS][:SETTINGS]",
    help="Of the steps ahead, e.g. holiday:US; repeat.",
)
@click.option("--season-length", default=0, type=click.IntRange(0, 10_000), help="Steps a season; 0: by freq.")
@click.option(
    "--gaps",
    default="skip",
    show_default=True,
    type=click.Choice(get_args(GapRule)),
    help="What becomes of missing rows and values.",
)
@click.option(
    "--candidates",
    multiple=True,
    callback=lambda _context, _option, given: tuple(name for text in given for name in text.split(",") if name),
    help="What auto compares, or the members of ensemble, such as theta,lstm.",
)
@click.option(
    "--budget", "budget_seconds", default=0.0, type=click.FloatRange(0), help="Seconds for auto; 0: no limit."
)
@click.option(
    "--trials", "search_trials", default=0, type=click.IntRange(0, 10_000), help="Trials of a hyperparameter search."
)
@click.option("--fallback/--no-fallback", default=True, help="Take a simpler model where history is too short.")
@click.option(
    "--intervals",
    default="adaptive",
    show_default=True,
    type=click.Choice(get_args(IntervalKind)),
    help="Bands that follow the newest folds of a series, or stay as they were calibrated.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of all randomness.")
@known_at_option
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@key_option
@json_option
def train(
    *,
    series_ids: tuple[str, ...],
    hyperparameters: tuple[str, ...],
    known_future: tuple[str, ...],
    static: tuple[str, ...],
    features: tuple[str, ...],
    step_features: tuple[str, ...],
    no_wait: bool,
    key: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model version on series.

    Example: foretopic train market/AAPL@1d --algorithm linear

    Example: foretopic train shop/berlin@1d --target sales --known-future promo --step-feature known:promo
    """
    body = {name: value for name, value in options.items() if value is not None}
    body |= {"series_ids": list(series_ids), "hyperparameters": _hyperparameters(hyperparameters)}
    body["levels"] = sorted(options["levels"])
    body["covariates"] = dict.fromkeys(known_future, "known-future") | dict.fromkeys(static, "static")
    body |= _inputs(features, step_features)
    reporter = Reporter(console())
    with _client() as client:
        asked = client.ask_training(body, key=key)
        if no_wait:
            _tell(asked, f"Asked: training {asked['training_id']} of {asked['model']}.", as_json=as_json)
            return
        if as_json:
            done = _wait(lambda: client.training(asked["training_id"]), FINAL_TRAINING_STATES)
        else:
            with reporter.work(f"Training {asked['model']}") as work:

                def ask() -> dict[str, Any]:
                    event = client.training(asked["training_id"])
                    work.update(event.get("fraction") or 0.0, describe_training(event))
                    return event

                done = _wait(ask, FINAL_TRAINING_STATES)
    _require_success("training", done)
    note = f" Note: {done['reason']}." if done.get("reason") else ""
    _tell(done, f"Released {done['model']}:{done['version']}.{note}", as_json=as_json)


@click.command()
@click.argument("series_id")
@click.option("--horizon", default=10, show_default=True, type=click.IntRange(1, 1000), help="Steps ahead.")
@click.option("--level", "levels", multiple=True, type=float, default=(80.0, 95.0), show_default=True, help="Percent.")
@click.option("--model", help="Model name, or name:version; the one named after the series unless given.")
@click.option(
    "--known",
    "known",
    multiple=True,
    metavar="COLUMN=V1,V2,...",
    help="Values of a column that the model knows in the future, one a step; repeat.",
)
@known_at_option
@click.option("--wait", "wait_seconds", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds.")
@key_option
@json_option
def forecast(
    *,
    series_id: str,
    horizon: int,
    levels: tuple[float, ...],
    model: str | None,
    known: tuple[str, ...],
    known_at: str | None,
    wait_seconds: float,
    key: str | None,
    as_json: bool,
) -> None:
    """Forecast a series.

    Example: foretopic forecast market/AAPL@1d --horizon 5 --level 90

    Example: foretopic forecast shop/berlin@1d --horizon 3 --known promo=1,1,0

    Example: foretopic forecast market/AAPL@1d --known-at 2025-01-02T21:00:00Z
    """
    body: dict[str, object] = {"series_id": series_id, "horizon": horizon, "levels": sorted(levels)}
    if model is not None:
        body["model"] = model
    if known_at is not None:
        body["known_at"] = known_at
    if known:
        body["future"] = {"columns": dict(_known_values(text) for text in known)}
    with _client() as client:
        answer = client.forecast(body, wait_seconds=wait_seconds, key=key)
    if as_json:
        print_json(answer)
        return
    reporter = Reporter(console())
    reporter.show(forecast_table(answer))
    used = answer["model"]
    reporter.line(f"Model: {used['name']}:{used['version']} ({used['algorithm']}, {used['role']}).")
    reporter.line(f"Forecast {answer['forecast_id']}, request {answer['request_id']}.")


def _known_values(text: str) -> tuple[str, list[float]]:
    name, _, values = text.partition("=")
    try:
        return name, [float(value) for value in values.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"must be a column and its numbers, such as promo=1,1,0, was {text!r}", param_hint="--known"
        ) from error


@click.command()
@click.argument("model")
@click.argument("version")
@click.option(
    "--role",
    default="champion",
    show_default=True,
    type=click.Choice(["champion", "challenger", "shadow"]),
    help="Role.",
)
@click.option("--reason", default="", help="Why, for whoever reads the log.")
@key_option
@json_option
def deploy(*, model: str, version: str, role: str, reason: str, key: str | None, as_json: bool) -> None:
    """Give a model version a role; the champion answers.

    Example: foretopic deploy market/AAPL-1d 0123456789abcdef --reason "better on volatile days"
    """
    with _client() as client:
        done = client.deploy(model, {"version": version, "role": role, "reason": reason}, key=key)
    _tell(done, f"{model}:{version} is {role} now.", as_json=as_json)


def _inputs(features: tuple[str, ...], step_features: tuple[str, ...]) -> dict[str, object]:
    if not (features or step_features):
        return {}
    # numpy and all features, which only who names one pays for.
    from foretopic.cli_features import features_of, step_features_of  # noqa: PLC0415

    return {"features": features_of(features), "step_features": step_features_of(step_features)}


def _hyperparameters(assignments: tuple[str, ...]) -> dict[str, object]:
    """Return NAME=VALUE pairs, each value as JSON where it is JSON and as text otherwise."""
    found: dict[str, object] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not name or not separator:
            raise click.BadParameter(f"NAME=VALUE is expected, found {assignment!r}", param_hint="--set")
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name] = text
    return found


def _wait(ask: Callable[[], dict[str, Any]], final: frozenset[str]) -> dict[str, Any]:
    while (state := ask())["state"] not in final:
        CLOCK.sleep(_POLL_SECONDS)
    return state


def _require_success(what: str, document: Mapping[str, Any]) -> None:
    if document["state"] != "succeeded":
        raise ForetopicError(f"the {what} {document['state']}: {document.get('reason') or 'no reason given'}")


def _tell(document: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(line)
