"""Every operation of the HTTP API, and what the tags say."""

from __future__ import annotations

from gateway.openapi.auth import AUTH
from gateway.openapi.batches import BATCHES
from gateway.openapi.compatible import COMPATIBLE
from gateway.openapi.contract import CONTRACT
from gateway.openapi.dead_letters import DEAD_LETTERS
from gateway.openapi.events import EVENTS
from gateway.openapi.forecasts import FORECASTS
from gateway.openapi.history import HISTORY
from gateway.openapi.ingests import INGESTS
from gateway.openapi.keys import KEYS
from gateway.openapi.models import MODELS
from gateway.openapi.observations import OBSERVATIONS
from gateway.openapi.organisations import ORGANISATIONS
from gateway.openapi.pages import PAGES, SIGN_IN_PAGES
from gateway.openapi.projects import PROJECTS
from gateway.openapi.quarantine import QUARANTINE
from gateway.openapi.quotas import QUOTAS
from gateway.openapi.series import SERIES
from gateway.openapi.sources import SOURCES
from gateway.openapi.system import SYSTEM
from gateway.openapi.trainings import TRAININGS
from gateway.openapi.uploads import UPLOADS
from gateway.openapi.users import USERS
from gateway.openapi.webhooks import WEBHOOKS

OPERATIONS = (
    *FORECASTS,
    *HISTORY,
    *BATCHES,
    *EVENTS,
    *WEBHOOKS,
    *SERIES,
    *TRAININGS,
    *MODELS,
    *INGESTS,
    *OBSERVATIONS,
    *SOURCES,
    *UPLOADS,
    *PROJECTS,
    *QUOTAS,
    *QUARANTINE,
    *DEAD_LETTERS,
    *AUTH,
    *ORGANISATIONS,
    *KEYS,
    *USERS,
    *SIGN_IN_PAGES,
    *SYSTEM,
    *COMPATIBLE,
    *CONTRACT,
    *PAGES,
)
TAGS = {
    "forecasts": "Ask for forecasts, alone or many at once; read them again with what they saw; how many there were.",
    "events": "One stream of what happens in your projects, as server-sent events.",
    "webhooks": "The same events, signed and sent to an address of yours, and repeated until it takes them.",
    "series": "What has been observed, as it is now or was known at an earlier time.",
    "trainings": "Model versions in the making: ask, follow, cancel.",
    "models": "Model versions, the skill that they showed, and which of them answers.",
    "ingests": "Data that comes in: fetched from a source once, or appended row by row.",
    "sources": "Schedules: series that are fetched, and models that are trained again, by themselves.",
    "uploads": "Files that hold one series or many: upload, see what they hold, load.",
    "projects": "Series, models, forecasts and schedules that belong together, and predictions for rows of a table.",
    "quarantine": "Rows that the quality gate holds back until somebody decides about them.",
    "dead-letters": "Messages that no service could handle; for operators.",
    "accounts": "Signing in and up, and who one is.",
    "organisations": "Who works together: members, their roles, invitations.",
    "keys": "API keys, for programs.",
    "users": "Users and the audit log, for operators and admins.",
    "system": "How the gateway and the services behind it are.",
    "compatible": "Deprecated doors for clients of other systems; each says what takes its place.",
    "contract": "This document, the topics and the records, for programs.",
    "pages": "Pages for people, in a browser.",
}
