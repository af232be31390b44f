"""The operations on the contract: the document itself, the topics, the records."""

from __future__ import annotations

from gateway.openapi.answers import AnyObject
from gateway.openapi.operation import JsonObject, Operation, Sent

OPENAPI: JsonObject = {"openapi": "3.1.0", "info": {"title": "Foretopic", "version": "1.0.0"}}
ASYNCAPI: JsonObject = {"asyncapi": "3.0.0", "info": {"title": "Foretopic", "version": "1.0.0"}}
SCHEMAS: JsonObject = {"ForecastStep": {"type": "object", "required": ["median"]}}

CONTRACT = (
    Operation(
        method="get",
        path="/openapi.json",
        id="getOpenApi",
        is_open=True,
        is_cached=True,
        tag="contract",
        summary="This document (OpenAPI 3.1)",
        description="Of this gateway: with the permission that each operation needs as `x-permission`.",
        answers={200: Sent(description="The document.", type=AnyObject, example=OPENAPI)},
    ),
    Operation(
        method="get",
        path="/asyncapi.json",
        id="getAsyncApi",
        is_open=True,
        is_cached=True,
        tag="contract",
        summary="The topics and their records (AsyncAPI 3)",
        description="For services that read or write the topics themselves.",
        answers={200: Sent(description="The document.", type=AnyObject, example=ASYNCAPI)},
    ),
    Operation(
        method="get",
        path="/schemas.json",
        id="getSchemas",
        is_open=True,
        is_cached=True,
        tag="contract",
        summary="Every record as one JSON Schema (2020-12)",
        description="All records below `$defs`, each under its name.",
        answers={200: Sent(description="The schema.", type=AnyObject, example=SCHEMAS)},
    ),
    Operation(
        method="get",
        path="/schemas/{name}",
        id="getSchema",
        is_open=True,
        is_cached=True,
        tag="contract",
        summary="One record as JSON Schema (2020-12)",
        description="It stands alone: what it holds is below its `$defs`.",
        parameters=("schema_name",),
        answers={
            200: Sent(
                description="The schema.",
                type=AnyObject,
                media_type="application/schema+json",
                example=SCHEMAS["ForecastStep"],
            )
        },
        problems={404: ("unknown-schema",)},
    ),
)
