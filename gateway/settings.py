"""What the gateway may be told."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.settings import ServiceSettings, settings_config

_MEBIBYTE = 1024 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
#: As browsers write them: lower case, without a path.
_ORIGIN = re.compile(r"\*|https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
#: What holds where callers sign in and nothing else is said.
_LIMITS = {
    "requests_a_minute": 600,
    "anonymous_requests_a_minute": 300,
    "forecasts_a_day": 100_000,
    "trainings_a_day": 1000,
    "rows_a_day": 10_000_000,
    "forecasts_a_day_an_organisation": 500_000,
    "trainings_a_day_an_organisation": 5000,
    "rows_a_day_an_organisation": 50_000_000,
    "projects_an_organisation": 200,
    "upload_bytes_an_organisation": 1024 * _MEBIBYTE,
    "api_keys_an_organisation": 200,
    "members_an_organisation": 500,
    "organisations_a_user": 20,
    "series_a_project": 100_000,
    "schedules_a_project": 1000,
}


class GatewaySettings(ServiceSettings):
    """Settings of the HTTP gateway; variables begin with ``FORETOPIC_GATEWAY_``."""

    model_config = settings_config("gateway")

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 in a container")
    port: int = Field(default=5000, ge=0, le=65535, description="Port to listen on")
    home: Path = Field(
        default=Path(".foretopic"),
        validation_alias="FORETOPIC_HOME",
        description="Where `gateway.db` lies when no database URL is given",
    )
    database_url: str = Field(
        default="",
        description="Database of the projection: `sqlite:///FILE` or `postgresql://…`, one a gateway; "
        "empty means SQLite in the home",
    )
    accounts: Literal["required", "local"] = Field(
        default="required",
        description="`required`: callers sign in; `local`: whoever reaches the loopback address may do everything",
    )
    metrics: Literal["open", "operators", ""] = Field(
        default="",
        description="Who may read `/metrics`: everybody (`open`) or `operators`; empty means operators where callers "
        "sign in",
    )
    accounts_database_url: str = Field(
        default="",
        description="Database of accounts, shared by all gateways; empty means `accounts.db` in the home, or the "
        "database of the projection where that is PostgreSQL",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/\s?#]+)?$",
        description="Address by which people and programs reach the gateway, e.g. `https://forecasts.example.org`: it "
        "issues the access tokens, and with `https` cookies are `Secure`",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description='With `local`, further names under which the gateway may be asked, e.g. `["forecasts.lan"]`: other '
        "names may be an attack by a web page (DNS rebinding)",
    )
    signup: Literal["invitation", "open"] = Field(
        default="invitation",
        description="Who may sign up: whoever was invited, or everybody, with an organisation of their own",
    )
    first_operator_email: str = Field(
        default="operator@foretopic.local",
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="Who the first operator is; the gateway shows their one-time password at its first start",
    )
    first_start_key_file: Path | None = Field(
        default=None,
        description="File that gets an API key of the first operator, good for a day, for the program that loads the "
        "first series; unset: no key is made",
    )
    oidc_issuer: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="OpenID provider at which people sign in, e.g. `https://login.example.org`; empty: none",
    )
    oidc_name: str = Field(default="single sign-on", description="What the sign-in page calls the provider")
    oidc_client_id: str = Field(default="", description="Id of this gateway at the provider")
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Its secret there; empty for a public client"
    )
    oidc_allowed_domains: tuple[str, ...] = Field(
        default=(), description='Domains of email addresses that may sign in so, e.g. `["example.org"]`; empty: any'
    )
    oidc_signup: Literal["invitation", "open"] = Field(
        default="invitation",
        description="Who comes from the provider for the first time must have been invited, or gets an organisation",
    )
    access_token_seconds: int = Field(default=900, ge=30, le=86_400, description="How long an access token is good")
    refresh_token_days: int = Field(default=30, ge=1, le=400, description="How long somebody stays signed in")
    browser_hours: int = Field(default=12, ge=1, le=720, description="How long a browser stays signed in")
    invitation_days: int = Field(default=7, ge=1, le=60, description="How long an invitation can be accepted")
    password_memory_kibibytes: int = Field(
        default=65_536, ge=8, le=1_048_576, description="Memory that hashing a password takes (argon2id)"
    )
    password_rounds: int = Field(default=3, ge=1, le=20, description="Passes over that memory")
    files_directory: Path | None = Field(
        default=None,
        description="Directory that gateway and ingestor share; uploads lie below it; unset, none are taken",
    )
    max_upload_bytes: int = Field(default=256 * _MEBIBYTE, ge=1024, description="Largest file that may be uploaded")
    max_uploads_bytes: int = Field(
        default=4096 * _MEBIBYTE, ge=1024, description="Bytes that all uploads together may take on the disk"
    )
    upload_unpacked_bytes: int = Field(
        default=512 * _MEBIBYTE, ge=1024, description="Largest text or Parquet content of an upload, unpacked"
    )
    upload_memory_bytes: int = Field(
        default=2048 * _MEBIBYTE, ge=512 * _MEBIBYTE, description="Address space of the process that reads an upload"
    )
    upload_timeout_seconds: float = Field(
        default=60.0, gt=0, le=600, description="How long reading an upload may take, of the clock and of a processor"
    )
    upload_max_rows: int = Field(default=5_000_000, ge=1, description="Most rows of an upload")
    upload_max_columns: int = Field(default=2000, ge=2, description="Most columns of an upload")
    upload_max_series: int = Field(default=10_000, ge=1, le=100_000, description="Most series of an upload")
    upload_keep_days: float = Field(
        default=30.0,
        ge=0,
        le=3650,
        description="How long what is known of an upload stays once its rows are in the log and its files gone",
    )
    last_60_days_model: str = Field(
        default="market/last-60-days",
        min_length=3,
        description="Model that answers `POST /predict`: it reads 60 rows of open, high, low, close, volume, adj_close",
    )
    default_wait_seconds: float = Field(
        default=10.0, ge=0, description="How long a forecast request waits without `Prefer: wait=SECONDS`"
    )
    max_wait_seconds: float = Field(default=60.0, gt=0, description="Longest wait that a caller can ask for")
    max_waiting_requests: int = Field(
        default=500, ge=1, description="Forecast requests that may wait at once; further ones are answered 503"
    )
    max_body_bytes: int = Field(
        default=_MEBIBYTE, ge=1024, le=64 * _MEBIBYTE, description="Largest request body that is read"
    )
    delivery_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long the log may take to acknowledge a request"
    )
    stuck_after_seconds: float = Field(
        default=3.0, gt=0, description="Without an acknowledgement for so long, further requests are answered 503"
    )
    min_write_interval_seconds: float = Field(
        default=0.1, ge=0, description="Shortest time from one database transaction to the next"
    )
    webhook_allowed_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks of one's own to which webhooks may be sent, also over http, as a JSON array such as "
        '`["10.20.0.0/16"]`; everything else must be https at a public address',
    )
    webhook_timeout_seconds: float = Field(
        default=15.0, gt=0, le=60, description="How long one attempt to deliver to a webhook may take"
    )
    webhook_disable_after_days: float = Field(
        default=5.0, gt=0, description="A webhook whose every attempt has failed for so long is disabled"
    )
    max_webhooks_a_project: int = Field(default=20, ge=1, description="Webhooks that a project may have")
    max_streams: int = Field(default=400, ge=1, description="Event streams that may be open at once")
    max_streams_per_caller: int = Field(default=20, ge=1, description="Event streams that one caller may have open")
    max_connections: int = Field(
        default=1000, ge=4, description="Connections that are served at once; further ones wait to be taken"
    )
    requests_a_minute: int | None = Field(
        default=None,
        ge=0,
        description="Requests a minute of a user, or of a key without a lower limit of its own; 0: no limit; unset: "
        "600 where callers sign in, else no limit",
    )
    anonymous_requests_a_minute: int | None = Field(
        default=None,
        ge=0,
        description="Requests a minute of an address that does not, or not rightly, sign in; 0: no limit; unset: 300 "
        "where callers sign in, else no limit",
    )
    forecasts_a_day: int | None = Field(
        default=None,
        ge=0,
        description="Forecasts a day (UTC) of a project without a quota of its own; 0: no limit; unset: 100000 where "
        "callers sign in, else no limit",
    )
    trainings_a_day: int | None = Field(
        default=None,
        ge=0,
        description="Trainings a day (UTC) of a project without a quota of its own; 0: no limit; unset: 1000 where "
        "callers sign in, else no limit",
    )
    rows_a_day: int | None = Field(
        default=None,
        ge=0,
        description="Rows of observations a day (UTC) that are brought into a project without a quota of its own, live "
        "or in files; 0: no limit; unset: 10000000 where callers sign in, else no limit",
    )
    forecasts_a_day_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Forecasts a day (UTC) of an organisation without a quota of its own, over all its projects; 0: no "
        "limit; unset: 500000 where callers sign in, else no limit",
    )
    trainings_a_day_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Trainings a day (UTC) of an organisation without a quota of its own, over all its projects; 0: no "
        "limit; unset: 5000 where callers sign in, else no limit",
    )
    rows_a_day_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Rows of observations a day (UTC) that are brought into all projects of an organisation without a "
        "quota of its own; 0: no limit; unset: 50000000 where callers sign in, else no limit",
    )
    projects_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Projects of an organisation without a quota of its own; 0: no limit; unset: 200 where callers "
        "sign in, else no limit",
    )
    upload_bytes_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Bytes on the disk that uploads of an organisation without a quota of its own may take of those of "
        "all; 0: no limit; unset: 1073741824 where callers sign in, else no limit",
    )
    api_keys_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="API keys, those of the last day and those that are good, of an organisation without a quota of "
        "its own; 0: no limit; unset: 200 where callers sign in, else no limit",
    )
    members_an_organisation: int | None = Field(
        default=None,
        ge=0,
        description="Members and open invitations of an organisation without a quota of its own; 0: no limit; unset: "
        "500 where callers sign in, else no limit",
    )
    organisations_a_user: int | None = Field(
        default=None,
        ge=0,
        description="Organisations of which a user who makes another one may be an admin; 0: no limit; unset: 20 where "
        "callers sign in, else no limit",
    )
    series_a_project: int | None = Field(
        default=None,
        ge=0,
        description="Series of a project without a quota of its own; 0: no limit; unset: 100000 where callers sign in, "
        "else no limit",
    )
    schedules_a_project: int | None = Field(
        default=None,
        ge=0,
        description="Series of a project without a quota of its own that are fetched by themselves; 0: no limit; "
        "unset: 1000 where callers sign in, else no limit",
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Proxies in front of the gateway that each add the address of their caller to `X-Forwarded-For`; "
        "0: the header is not believed",
    )
    max_requests: int = Field(
        default=800, ge=1, description="Requests that are worked on at once; further ones are answered 503"
    )
    max_requests_per_caller: int = Field(
        default=200,
        ge=1,
        description="Requests of one caller that are worked on at once; further ones are answered 429",
    )
    body_seconds: float = Field(
        default=30.0, gt=0, description="How long the body of a request, or a piece of an uploaded file, may take"
    )
    cross_origins: tuple[str, ...] = Field(
        default=(),
        description='Origins whose pages may read answers in a browser (CORS), e.g. `["https://shop.example"]`; '
        '`["*"]` is every one, where callers sign in',
    )
    graceful_stop_seconds: int = Field(default=15, ge=1, description="How long open requests may take at a stop")

    @model_validator(mode="after")
    def _local_stays_local(self) -> Self:
        """Refuse to let everybody in on an address that others reach."""
        if self.accounts == "local" and self.host not in _LOOPBACK:
            raise ValueError(
                f"accounts must be `required` where others reach the gateway, host was {self.host}, no loopback address"
            )
        return self

    @model_validator(mode="after")
    def _pages_are_named_where_nobody_signs_in(self) -> Self:
        """Refuse to let every page on the web do everything."""
        if self.accounts == "local" and "*" in self.cross_origins:
            raise ValueError("cross_origins must name origins where nobody signs in, was *")
        return self

    @field_validator("cross_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what a browser never sends as an origin, since it would never match."""
        for origin in origins:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"cross_origins must be such as https://shop.example or *, was {origin!r}")
        return origins

    @field_validator("files_directory", "first_start_key_file", *_LIMITS, mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Keep an empty variable from meaning the directory in which the service happens to run, or no number."""
        return None if value == "" else value

    def limit(self, name: str) -> int:
        """Return a limit that is in force, by the name of its setting; 0: none."""
        given: int | None = getattr(self, name)
        if given is not None:
            return given
        return _LIMITS[name] if self.accounts == "required" else 0

    @property
    def is_metrics_open(self) -> bool:
        """Return whether `/metrics` needs no sign-in."""
        return (self.metrics or ("open" if self.accounts == "local" else "operators")) == "open"

    @property
    def url(self) -> str:
        """Return the database URL that is in force."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'gateway.db'}"

    @property
    def accounts_url(self) -> str:
        """Return the URL of the accounts database that is in force."""
        if self.accounts_database_url:
            return self.accounts_database_url
        if self.database_url.startswith("postgresql"):
            return self.database_url
        # Beside the projection and never in its file, which is thrown away when it is made anew.
        return f"sqlite:///{self.home.absolute() / 'accounts.db'}"
