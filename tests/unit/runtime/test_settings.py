"""Settings are read once; every fault is told, in plain words, with the variable's name."""

from __future__ import annotations

import pytest
from pydantic import Field, SecretStr, ValidationError

from runtime.errors import SettingsError
from runtime.settings import ServiceSettings, load_settings, settings_config, variable_of


class ShopSettings(ServiceSettings):
    model_config = settings_config("shop")

    shelves: int = Field(default=3, ge=1, le=9, description="How many shelves stand there")
    names: tuple[str, ...] = Field(default=("a",), description="What they are called")
    password: SecretStr = Field(default=SecretStr("x"), min_length=1)


class LockedShopSettings(ShopSettings):
    key: SecretStr = Field(description="Opens the door")


def test_defaults_stand_where_nothing_is_set() -> None:
    settings = load_settings(ShopSettings)

    assert (settings.shelves, settings.kafka_bootstrap_servers, settings.metrics_port) == (3, "127.0.0.1:9092", 0)
    assert (settings.topic_prefix, settings.log_level) == ("", "info")


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "5")
    monkeypatch.setenv("FORETOPIC_SHOP_NAMES", '["x", "y"]')
    monkeypatch.setenv("FORETOPIC_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("FORETOPIC_TOPIC_PREFIX", "acme-")
    monkeypatch.setenv("FORETOPIC_LOG_LEVEL", "debug")
    monkeypatch.setenv("FORETOPIC_METRICS_PORT", "9100")

    settings = load_settings(ShopSettings)

    assert (settings.shelves, settings.names) == (5, ("x", "y"))
    assert settings.kafka_bootstrap_servers == "kafka:9092"
    assert (settings.topic_prefix, settings.log_level, settings.metrics_port) == ("acme-", "debug", 9100)


def test_all_faults_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "ten")
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVS", "3")
    monkeypatch.setenv("FORETOPIC_LOG_LEVEL", "loud")
    monkeypatch.setenv("FORETOPIC_TOPIC_PREFIX", "Not Good")

    with pytest.raises(SettingsError) as caught:
        load_settings(ShopSettings)

    text = str(caught.value)
    assert "FORETOPIC_SHOP_SHELVES was 'ten': input should be a valid integer" in text
    assert "(How many shelves stand there)" in text
    assert "FORETOPIC_SHOP_SHELVS is not known; known are FORETOPIC_SHOP_" in text
    assert "FORETOPIC_LOG_LEVEL was 'loud': input should be 'debug', 'info', 'warning' or 'error'" in text
    assert "FORETOPIC_TOPIC_PREFIX was 'Not Good': string should match pattern" in text


def test_the_accepted_range_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "12")

    with pytest.raises(SettingsError, match="FORETOPIC_SHOP_SHELVES was '12': input should be less than or equal to 9"):
        load_settings(ShopSettings)


def test_a_variable_that_is_missing_is_told() -> None:
    with pytest.raises(SettingsError, match=r"FORETOPIC_SHOP_KEY is not set \(Opens the door\)"):
        load_settings(LockedShopSettings)


def test_a_list_that_is_no_json_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_NAMES", "x,y")

    with pytest.raises(SettingsError, match=r"names.*JSON was expected"):
        load_settings(ShopSettings)


def test_an_empty_variable_is_not_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "")

    with pytest.raises(SettingsError, match="FORETOPIC_SHOP_SHELVES was ''"):
        load_settings(ShopSettings)


def test_a_secret_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_PASSWORD", "")
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "0")

    with pytest.raises(SettingsError) as caught:
        load_settings(ShopSettings)

    assert "FORETOPIC_SHOP_PASSWORD was (secret)" in str(caught.value)


def test_settings_do_not_change() -> None:
    settings = load_settings(ShopSettings)

    with pytest.raises(ValidationError):
        settings.shelves = 4  # type: ignore[misc]  # that is the point


def test_settings_may_be_made_by_name() -> None:
    settings = ShopSettings(shelves=2, kafka_bootstrap_servers="here:1", metrics_port=5)

    assert (settings.shelves, settings.kafka_bootstrap_servers, settings.metrics_port) == (2, "here:1", 5)


def test_each_field_knows_its_variable() -> None:
    assert variable_of(ShopSettings, "shelves") == "FORETOPIC_SHOP_SHELVES"
    assert variable_of(ShopSettings, "log_level") == "FORETOPIC_LOG_LEVEL"
