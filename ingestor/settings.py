"""What the ingestor may be told by its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from runtime.settings import ServiceSettings, settings_config

SERVICE = "ingestor"


class IngestorSettings(ServiceSettings):
    """Settings of the ingestor; variables begin with ``FORETOPIC_INGESTOR_``."""

    model_config = settings_config(SERVICE)

    parallel_fetches: int = Field(
        default=2, ge=1, le=64, description="Fetches of one provider (a source, or a host of `url`) at once"
    )
    retry_seconds: float = Field(
        default=30.0, ge=0, description="How long a request is tried again while none of its sources answers"
    )
    scheduled_retry_seconds: float = Field(
        default=900.0, ge=0, description="How long a scheduled run is tried again while none of its sources answers"
    )
    fetch_memory_bytes: int = Field(
        default=4 * 1024**3,
        ge=512 * 1024**2,
        description="Address space of the child process of one fetch, libraries included",
    )

    yahoo_requests_per_minute: float = Field(
        default=60.0, gt=0, description="Fetches from Yahoo a minute, of each instance of the service"
    )
    yahoo_timeout_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How long Yahoo may take to answer before the next source is asked"
    )
    files_directory: Path | None = Field(
        default=None, description="Directory below which the source `file` may read; unset, it reads nothing"
    )
    max_file_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1, description="Largest file, and largest text in a gzipped one, in bytes"
    )

    cryptocompare_api: Literal["min-api", "data-api"] = Field(
        default="min-api", description="Which of CryptoCompare's APIs the source `cryptocompare` asks"
    )
    cryptocompare_api_key: SecretStr = Field(
        default=SecretStr(""), description="Key of CryptoCompare; unset, it is asked without one and allows less"
    )
    cryptocompare_market: str = Field(
        default="cadli", pattern=r"^[A-Za-z0-9_]+$", description="Market or index whose prices `data-api` gives"
    )
    cryptocompare_requests_per_minute: float = Field(
        default=120.0, gt=0, description="Pages of bars from CryptoCompare a minute, of each instance of the service"
    )
    cryptocompare_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        le=120,
        description="How long CryptoCompare may take for one page of bars, all tries included",
    )
    raw_directory: Path | None = Field(
        default=None, description="Directory for what providers answered, as it came; unset, nothing is kept"
    )
    raw_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        description="Most bytes of kept answers a source, packed; the oldest go first, 0 keeps none",
    )

    url_requests_per_minute: float = Field(
        default=60.0, gt=0, description="Files by URL a minute from one host, of each instance of the service"
    )
    url_timeout_seconds: float = Field(
        default=30.0, gt=0, le=300, description="How long a file by URL may take, redirects and all tries included"
    )
    url_allowed_hosts: str = Field(
        default="",
        description="Hosts, separated by commas, that the source `url` may ask although their addresses are private",
    )
    s3_buckets: str = Field(
        default="", description="Buckets, separated by commas, that `s3://` addresses may name; unset, none is read"
    )
    s3_endpoint: str = Field(default="", description="Address of an S3-compatible service; unset, AWS is asked")
    s3_region: str = Field(default="us-east-1", min_length=1, description="Region of the buckets")
    s3_access_key: SecretStr = Field(
        default=SecretStr(""), description="Access key for the buckets; unset, they must be public"
    )
    s3_secret_key: SecretStr = Field(default=SecretStr(""), description="Secret of the access key")

    sql_url: SecretStr = Field(
        default=SecretStr(""), description="SQLAlchemy address of the PostgreSQL or SQLite database of the source `sql`"
    )
    sql_queries_file: Path | None = Field(
        default=None, description="TOML file with the queries that the source `sql` may run"
    )
    sql_timeout_seconds: float = Field(default=30.0, gt=0, le=300, description="How long a query may take")
    sql_max_rows: int = Field(default=1_000_000, ge=1, description="Most rows that a query may give")

    @field_validator("files_directory", "raw_directory", "sql_queries_file", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Keep an empty variable from meaning the directory in which the service happens to run."""
        return None if value == "" else value
