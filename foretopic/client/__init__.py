"""A client of the gateway: `Client`, and `AsyncClient` for asyncio."""

from foretopic.client.asynchronous import AsyncJob
from foretopic.client.blocking import Job
from foretopic.client.clients import AsyncClient, Client
from foretopic.client.errors import ClientError, Problem, UnexpectedAnswer, Unreachable, Unsuccessful, WaitedTooLong
from foretopic.client.event_text import Event

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Client",
    "ClientError",
    "Event",
    "Job",
    "Problem",
    "UnexpectedAnswer",
    "Unreachable",
    "Unsuccessful",
    "WaitedTooLong",
]
