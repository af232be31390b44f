"""The one-machine stack as processes: up, used, hurt, down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from foretopic import ports
from foretopic.services import NAMES
from foretopic.stack_state import read_state
from tests.integration.installation import SECONDS, Installation, eventually, is_gone

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("stack"))
    installation.succeed("up", "--detach", "--without-first-run")
    # `up` does not wait for MLflow.
    eventually(lambda: installation.run("status").returncode == 0)
    yield installation
    installation.run("down")


def test_status_shows_every_service(stack):
    eventually(lambda: stack.run("status").returncode == 0)
    found = stack.json("status")
    assert [line["service"] for line in found["services"]] == ["supervisor", *NAMES]
    assert all(line["resident_mebibytes"] > 1 for line in found["services"])
    assert found["is_whole"]


def test_second_start_on_the_same_home_is_refused(stack):
    result = stack.run("up")
    assert result.returncode == 1
    assert f"{stack.home} is in use by process" in result.stderr
    assert "FORETOPIC_HOME" in result.stderr


def test_every_busy_port_is_told_at_once(stack, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "foretopic.cli", "up"],
        env=stack.environment | {"FORETOPIC_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 1
    for name, port in stack.ports.items():
        assert f"port {port}" in result.stderr
        assert f"FORETOPIC_{name}_PORT" in result.stderr
    assert not list(tmp_path.glob("logs/*.log"))


def test_killed_service_comes_back(stack):
    eventually(lambda: stack.service("ingestor")["state"] == "running")
    before = stack.service("ingestor")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: stack.service("ingestor")["restarts"] == before["restarts"] + 1)
    eventually(lambda: stack.service("ingestor")["state"] == "running")
    assert stack.service("ingestor")["last_end"] == "SIGKILL"


def test_series_is_loaded_and_listed(stack):
    done = stack.json("ingest", "sample", "AAPL")
    assert (done["state"], done["source"]) == ("succeeded", "sample")
    assert stack.json("series")[0]["series_id"] == "market/AAPL@1d"
    again = stack.json("ingest", "sample", "AAPL")
    assert again["rows_published"] == 0


def test_file_becomes_a_series(stack, tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text("Date,sales\n2025-01-01,3\n2025-01-02,4\n2025-01-03,5\n")
    done = stack.json("ingest", "file", str(path), "--series", "shop/berlin@1d")
    assert (done["state"], done["rows_published"]) == ("succeeded", 3)
    assert {line["series_id"]: line["calendar"] for line in stack.json("series")}["shop/berlin@1d"] == "24/7"


def test_file_becomes_a_project_that_is_trained_and_predicts(stack):
    months = [f"{1949 + number // 12}-{number % 12 + 1:02}" for number in range(144)]
    lines = [f"{month},{100 + 2 * number + 30 * (number % 12 in (5, 6, 7))}" for number, month in enumerate(months)]
    content = "\n".join(["Month,Passengers", *lines]).encode()
    address = f"http://{ports.LOOPBACK}:{stack.ports['GATEWAY']}/api/v1"
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        project = client.post("/projects", files={"file": ("airline.csv", content)}).raise_for_status().json()
        path = f"/projects/{project['project_id']}"
        eventually(lambda: client.get(path).json()["state"] == "ready")
        client.post(f"{path}/train", json={"algorithm": "theta", "horizon": 12}).raise_for_status()
        eventually(lambda: client.get(path).json()["trainings"][0]["state"] in ("succeeded", "failed"), SECONDS)
        rows = [{"Month": "1961-01"}, {"Month": "1961-02"}]
        answer = client.post(f"{path}/predict", json={"rows": rows}, headers={"Prefer": "wait=60"})

    assert answer.status_code == 200, f"{answer.text}\n{stack.logs()}"
    found = answer.json()
    assert (found["target"], found["is_rounded"], len(found["values"])) == ("passengers", True, 2)
    assert 350 < found["previsao_de_vendas"] < 430


def test_topics_are_listed_and_creating_them_again_changes_nothing(stack):
    assert "All topics exist." in stack.succeed("topics", "create")
    assert {row["topic"]: row["partitions"] for row in stack.json("topics", "list")}["models"] == 1


def test_unknown_series_is_told_as_an_error(stack):
    result = stack.run("forecast", "market/NOPE@1d")
    assert result.returncode == 1
    assert "market/NOPE@1d" in result.stderr


def test_junk_becomes_a_dead_letter_that_can_be_shown_and_sent_again(stack):
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=f"{ports.LOOPBACK}:{stack.ports['KAFKA']}")
    sent = producer.send("ingest-requests", b"\xff junk", key=b"x", partition=3).get(timeout=60)
    producer.close()
    name = f"ingest-requests/3/{sent.offset}"
    eventually(lambda: any(letter["message"] == name for letter in stack.json("dead-letters", "list")))
    shown = json.loads(stack.succeed("dead-letters", "show", name))
    assert shown["service"] == "ingestor"
    assert shown["value"] == {"base64": "/yBqdW5r"}
    assert f"{name} now stands at ingest-requests/" in stack.succeed("dead-letters", "replay", name, "--yes")
    eventually(lambda: len(stack.json("dead-letters", "list")) >= 2)
    assert stack.run("dead-letters", "show", "ingest-requests/3/999").returncode == 2


def test_two_stacks_run_side_by_side(stack, tmp_path):
    stack.succeed("ingest", "sample", "AAPL")
    second = Installation(tmp_path)
    second.succeed("up", "--detach", "--without-first-run")
    try:
        assert second.json("series") == []
        assert stack.json("series") != []
        pids = second.pids()
    finally:
        second.succeed("down")
    eventually(lambda: all(is_gone(pid) for pid in pids))
    assert all(ports.is_free(port) for port in second.ports.values())
    assert stack.service("gateway")["pid"]


def test_killed_supervisor_leaves_nothing_behind_and_the_home_starts_again(stack):
    stack.succeed("ingest", "sample", "AAPL")
    state = read_state(stack.home)
    assert state is not None
    pids = stack.pids()
    os.kill(state.supervisor.pid, signal.SIGKILL)
    eventually(lambda: all(is_gone(pid) for pid in pids))
    result = stack.run("status")
    assert result.returncode == 1
    assert "no stack runs" in result.stderr
    stack.succeed("up", "--detach", "--without-first-run")
    rows = {series["series_id"]: series["rows"] for series in stack.json("series")}
    assert rows["market/AAPL@1d"] > 3000


def test_down_leaves_no_process_and_no_port(stack):
    pids = stack.pids()
    assert "Stopped." in stack.succeed("down")
    # What a service had started is killed with it, and ends by itself.
    eventually(lambda: all(is_gone(pid) for pid in pids))
    assert all(ports.is_free(port) for port in stack.ports.values())
    assert stack.run("down").returncode == 1


def test_interrupt_stops_everything(tmp_path):
    installation = Installation(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "foretopic.cli", "up", "--without-first-run"],
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = [process.stdout.readline()]
    assert output[0].startswith("Kafka runs on"), installation.logs()
    eventually(lambda: len(installation.pids()) > 4)
    pids = installation.pids()
    process.send_signal(signal.SIGINT)
    output += process.stdout.readlines()
    process.stdout.close()
    assert process.wait(SECONDS) == 0
    assert output[-1] == "Stopped.\n"
    eventually(lambda: all(is_gone(pid) for pid in pids))


def test_from_nothing_to_a_forecast_and_the_same_forecast_after_a_restart(tmp_path):
    installation = Installation(tmp_path)
    try:
        text = installation.succeed("up", "--detach")
        assert "sample taken instead" in text
        assert "80 % band" in text
        assert "2013-03-15" in text
        first = installation.json("forecast", "market/AAPL@1d", "--horizon", "4")
        installation.succeed("down")
        text = installation.succeed("up", "--detach")
        assert "Training" not in text
        again = installation.json("forecast", "market/AAPL@1d", "--horizon", "4")
        assert (again["forecast_id"], again["steps"]) == (first["forecast_id"], first["steps"])
        lines = installation.succeed("subscribe", "--from", "earliest", "--limit", "2", "--json").splitlines()
        assert {json.loads(line)["type"] for line in lines} == {"ForecastIssued"}
        example = Path(__file__).parents[2] / "examples" / "subscribe_kafka_python.py"
        servers = {"FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": f"{ports.LOOPBACK}:{installation.ports['KAFKA']}"}
        subscriber = subprocess.Popen(
            [sys.executable, "-u", example], env=installation.environment | servers, stdout=subprocess.PIPE, text=True
        )
        assert subscriber.stdout is not None
        assert subscriber.stdout.readline().startswith("market/AAPL@1d 2013-03-04T00:00:00Z ")
        subscriber.kill()
        subscriber.wait()
        subscriber.stdout.close()
    finally:
        installation.run("down")
