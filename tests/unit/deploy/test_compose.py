from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from gateway.settings import GatewaySettings
from runtime.settings import variable_of
from tests.unit.deploy.containers import (
    ROOT,
    SETTINGS,
    Dockerfile,
    compose,
    env_example,
    image_of,
    services,
)

TEXT = (ROOT / "docker-compose.yml").read_text()
#: Run once and end.
ONE_SHOT = {"topics", "first-run"}
OURS = set(SETTINGS) | {"mlflow"}


def schema_of(name: str) -> Validator:
    """Return a schema that the package ships; the package itself is not imported."""
    spec = find_spec("check_jsonschema")
    assert spec is not None
    [folder] = spec.submodule_search_locations or []
    loaded = json.loads(Path(folder, f"builtin_schemas/vendor/{name}.json").read_text())
    return validator_for(loaded)(loaded)


def faults_of(document: object, schema: str) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema_of(schema).iter_errors(document)]


def test_file_is_valid_by_the_compose_specification() -> None:
    assert faults_of(compose(), "compose-spec") == []


def test_schema_of_compose_files_can_refuse() -> None:
    assert faults_of({"services": {"kafka": {"imag": "x"}}}, "compose-spec")


def workflow() -> dict[str, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    loaded["on"] = loaded.pop(True)  # what YAML 1.1 makes of it
    return loaded


def test_workflow_is_valid_and_may_only_read() -> None:
    assert faults_of(workflow(), "github-workflows") == []
    assert faults_of(workflow() | {"permission": {}}, "github-workflows")
    assert workflow()["permissions"] == {"contents": "read"}
    for step in workflow()["jobs"]["test"]["steps"]:
        assert "uses" not in step or re.fullmatch(r"[a-z/-]+@[0-9a-f]{40}", step["uses"])


def test_every_ci_runs_the_same_and_that_alone() -> None:
    jobs = workflow()["jobs"].values()
    [of_github] = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    [of_jenkins] = re.findall(r"\bsh '''(.*?) *'''", (ROOT / "Jenkinsfile").read_text(), re.DOTALL)

    assert of_github == of_jenkins
    assert of_github.endswith("&& .ci/run'")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_services_are_the_stack() -> None:
    assert set(services()) == OURS | {"kafka", "postgres"}
    assert [name for name, service in services().items() if "profiles" in service] == ["postgres"]


def test_every_volume_is_named_declared_and_used() -> None:
    used = {mount.partition(":")[0] for service in services().values() for mount in service.get("volumes", [])}
    assert used == set(compose()["volumes"])
    assert all(re.fullmatch(r"[a-z][a-z-]*", name) for name in used)


def test_what_must_outlive_a_container_lies_in_a_volume() -> None:
    targets = {
        name: [mount.partition(":")[2] for mount in service.get("volumes", [])] for name, service in services().items()
    }
    assert services()["kafka"]["environment"]["KAFKA_LOG_DIRS"] in targets["kafka"]
    assert Dockerfile.read("gateway").environment["FORETOPIC_HOME"] in targets["gateway"]
    assert Dockerfile.read("ingestor").environment["FORETOPIC_INGESTOR_FILES_DIRECTORY"] in targets["ingestor"]
    [mlflow] = targets["mlflow"]
    stores = re.findall(r'"(?:sqlite:///)?(/var/[^"]+)"', " ".join(Dockerfile.read("mlflow").all("CMD")))
    assert len(stores) == 2
    assert all(store.startswith(f"{mlflow}/") for store in stores)


def has_health_check(name: str) -> bool:
    service = services()[name]
    check = service.get("healthcheck", {})
    image = image_of(service)
    in_image = image is not None and bool(Dockerfile.read(image).all("HEALTHCHECK", stage=-1))
    return not check.get("disable", False) and (bool(check.get("test")) or in_image)


def test_every_lasting_service_has_a_health_check() -> None:
    assert {name for name in services() if not has_health_check(name)} == ONE_SHOT


def test_dependencies_can_be_met() -> None:
    for name, service in services().items():
        for needed, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            if condition == "service_healthy":
                assert has_health_check(needed), (name, needed)
            else:
                assert condition == "service_completed_successfully"
                assert needed in ONE_SHOT, (name, needed)


def test_every_service_that_uses_topics_waits_for_them() -> None:
    for name in ("ingestor", "trainer", "predictor", "gateway"):
        assert services()[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_dependencies_have_no_circle() -> None:
    needs = {name: set(service.get("depends_on", {})) for name, service in services().items()}
    while ready := {name for name, needed in needs.items() if not needed}:
        needs = {name: needed - ready for name, needed in needs.items() if name not in ready}
    assert needs == {}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_variable_is_a_setting_of_its_service(name: str) -> None:
    settings = SETTINGS[name]
    service = services()[name]
    known = {variable_of(settings, field) for field in settings.model_fields}
    image = image_of(service)
    assert image is not None
    given = {**Dockerfile.read(image).environment, **service.get("environment", {})}
    ours = {variable for variable in given if variable.startswith("FORETOPIC_")}
    if name == "topics":  # runs in the image of the gateway, whose own variables it does not read
        ours = {variable for variable in ours if variable in service["environment"]}
    assert ours - known == set()


#: What the containers make of themselves: their addresses, and what would be wrong for several of them at once.
SETTLED = {
    "FORETOPIC_GATEWAY_ACCOUNTS",
    "FORETOPIC_GATEWAY_ALLOWED_HOSTS",
    "FORETOPIC_METRICS_HOST",
    "FORETOPIC_METRICS_PORT",
    "FORETOPIC_PREDICTOR_INSTANCE_ID",
}


@pytest.mark.parametrize("name", ["gateway", "ingestor", "predictor", "trainer"])
def test_every_setting_of_a_service_reaches_its_container(name: str) -> None:
    settings = SETTINGS[name]
    image = image_of(services()[name])
    assert image is not None
    settled = SETTLED | set(Dockerfile.read(image).environment)
    # Goes red without `*gateway-settings`: an OpenID provider in `.env` would reach nobody.
    missing = (
        {variable_of(settings, field) for field in settings.model_fields}
        - settled
        - set(services()[name]["environment"])
    )
    assert missing == set(), f"name them in x-{name}-settings of docker-compose.yml"


def test_a_service_is_not_killed_while_it_ends() -> None:
    for name in sorted(SETTINGS):
        seconds = int(services()[name]["stop_grace_period"].removesuffix("s"))
        assert seconds > GatewaySettings.model_fields["graceful_stop_seconds"].default


@pytest.mark.parametrize("name", ["gateway", "ingestor", "predictor", "topics", "trainer"])
def test_defaults_are_accepted_by_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(services()[name])
    assert image is not None
    given = {**Dockerfile.read(image).environment, **services()[name]["environment"]}
    for variable, value in given.items():
        if variable.startswith("FORETOPIC_") and value is not None:
            monkeypatch.setenv(variable, interpolated(str(value)))
    settings = SETTINGS[name]()
    assert settings.kafka_bootstrap_servers == "kafka:19092"


def interpolated(value: str) -> str:
    return re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", value)


def test_listeners_match_what_clients_are_told() -> None:
    kafka = services()["kafka"]["environment"]
    advertised = dict(part.split("://") for part in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["INSIDE"] == services()["gateway"]["environment"]["FORETOPIC_KAFKA_BOOTSTRAP_SERVERS"]
    [published] = services()["kafka"]["ports"]
    assert f"{advertised['OUTSIDE']}:9092" == published
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_first_run_asks_the_gateway() -> None:
    port = Dockerfile.read("gateway").environment["FORETOPIC_GATEWAY_PORT"]
    assert services()["first-run"]["environment"]["FORETOPIC_URL"] == f"http://gateway:{port}"


def test_trainer_is_told_where_mlflow_is_and_mlflow_answers_to_that_name() -> None:
    address = services()["trainer"]["environment"]["FORETOPIC_TRAINER_MLFLOW_TRACKING_URI"].removeprefix("http://")
    assert f'"{address},' in " ".join(Dockerfile.read("mlflow").all("CMD"))


def test_predictor_can_be_scaled() -> None:
    predictor = services()["predictor"]
    assert "container_name" not in predictor
    assert "ports" not in predictor
    assert "volumes" not in predictor
    # Two instances under one name would take the group from each other.
    assert "FORETOPIC_PREDICTOR_INSTANCE_ID" not in predictor["environment"]


def test_ports_are_open_on_this_machine_only() -> None:
    """Red when a port loses its address: the `ports` lines of docker-compose.yml."""
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_write_to_volumes_only(name: str) -> None:
    """Red when the anchor `x-service` loses a line, or a service does not take it."""
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True


def test_images_are_pinned() -> None:
    for name, service in services().items():
        if "build" not in service:
            image = interpolated(service["image"])
            assert re.search(r":\d+(\.\d+)*(-alpine)?$", image), (name, image)


def test_kafka_image_has_the_version_of_the_embedded_kafka() -> None:
    jars = (ROOT / "foretopic" / "kafka_jars.sha256").read_text()
    [version] = set(re.findall(r"org\.apache\.kafka:kafka_2\.13:(\d+\.\d+\.\d+)", jars))
    assert interpolated(services()["kafka"]["image"]) == f"apache/kafka:{version}"


def secrets(variables: dict[str, Any]) -> dict[str, str]:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|(^|_)KEY($|_)")
    # Where a secret lies is none.
    given = {name: str(value) for name, value in variables.items() if value is not None}
    return {name: value for name, value in given.items() if secret.search(name) and not name.endswith("_FILE")}


def test_no_secret_stands_in_a_file() -> None:
    """Red when a password is written down: the `environment` of docker-compose.yml, or .env.example."""
    for name, service in services().items():
        assert all(re.fullmatch(r"\$\{\w+:-\}", value) for value in secrets(service.get("environment", {})).values()), (
            name
        )
        image = image_of(service)
        assert image is None or secrets(Dockerfile.read(image).environment) == {}
    assert set(secrets(env_example()).values()) == {""}


def test_example_of_variables_has_each_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert len(re.findall(r"\$\{", TEXT)) == len(re.findall(r"\$\{\w+:-[^}]*\}", TEXT))
    assert env_example() == used


def test_file_of_variables_is_never_committed() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
