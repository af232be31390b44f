"""The contract for programs and people: OpenAPI, AsyncAPI, Swagger UI and ReDoc, without internet."""

from __future__ import annotations

from functools import cache

import msgspec
from flask import Blueprint, Response, abort, current_app, render_template

from gateway import caching, openapi
from gateway.access import Permission
from gateway.answers import json_bytes
from gateway.assets import PackageFile, send_package_file
from gateway.content_security import add_headers, policy
from gateway.guard import open_to_all, permissions
from gateway.problems import not_found
from gateway.same_site import csrf_token_of_page
from schemas import asyncapi, jsonschema

#: ReDoc's footer loads its logo from a host of its maker; an empty picture stands in for it.
_NO_LOGO = (
    b"https://cdn.redoc.ly/redoc/logo-mini.svg",
    b"data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==",
)
_FILES = {
    "swagger-ui-bundle.js": PackageFile("flask_swagger_ui", "dist/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": PackageFile("flask_swagger_ui", "dist/swagger-ui.css", "text/css"),
    "redoc.standalone.js": PackageFile(
        "flask_openapi3_redoc", "templates/redoc/js/redoc.standalone.js", "text/javascript", (_NO_LOGO,)
    ),
}

blueprint = Blueprint(
    "docs", __name__, template_folder="templates", static_folder="static/docs", static_url_path="/docs/assets"
)
# ReDoc indexes the document for its search box in a worker that it makes itself.
blueprint.after_request(add_headers(policy(worker_src="blob:", script_src="'self' blob:")))


@blueprint.get("/docs")
@open_to_all
def swagger_ui() -> str:
    """Return the page on which the API can be tried."""
    return render_template("swagger.html", csrf_token=csrf_token_of_page())


@blueprint.get("/redoc")
@open_to_all
def redoc() -> str:
    """Return the page on which the API can be read."""
    return render_template("redoc.html")


@blueprint.get("/openapi.json")
@open_to_all
def openapi_document() -> Response:
    """Return the HTTP API as OpenAPI 3.1."""
    return caching.public(json_bytes(_openapi(tuple(permissions(current_app).items()))))


@blueprint.get("/asyncapi.json")
@open_to_all
def asyncapi_document() -> Response:
    """Return the topics as AsyncAPI 3."""
    return caching.public(json_bytes(_asyncapi()))


@blueprint.get("/schemas.json")
@open_to_all
def all_schemas() -> Response:
    """Return every record as one JSON Schema."""
    return caching.public(json_bytes(_schemas()))


@blueprint.get("/schemas/<name>")
@open_to_all
def one_schema(name: str) -> Response:
    """Return one record as JSON Schema; what it holds stands below ``$defs``."""
    known = {record.__name__: record for record in jsonschema.record_types().values()}
    if name not in known:
        raise not_found("schema", name, f"known are {', '.join(sorted(known))}")
    definitions = jsonschema.components([known[name]], "#/$defs/{name}")
    schema = {"$schema": jsonschema.DIALECT, "title": name, "$ref": f"#/$defs/{name}", "$defs": definitions}
    response = json_bytes(msgspec.json.encode(schema))
    response.content_type = "application/schema+json"
    return caching.public(response)


@cache
def _openapi(needed: tuple[tuple[tuple[str, str], Permission | None], ...]) -> bytes:
    return msgspec.json.encode(openapi.document(dict(needed)))


@cache
def _asyncapi() -> bytes:
    return msgspec.json.encode(asyncapi.document())


@cache
def _schemas() -> bytes:
    return msgspec.json.encode(jsonschema.document())


@blueprint.get("/docs/files/<name>")
@open_to_all
def packaged_file(name: str) -> Response:
    """Return a script or style sheet of the two pages as its package ships it."""
    if name not in _FILES:
        abort(404, f"one of {', '.join(sorted(_FILES))} was expected, found {name!r}")
    return send_package_file(_FILES[name])
