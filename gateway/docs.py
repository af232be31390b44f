"""The contract for programs and people: OpenAPI, AsyncAPI, Swagger UI and ReDoc, without internet."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template

from gateway.assets import PackageFile, send_package_file
from gateway.content_security import add_headers, policy

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
def swagger_ui() -> str:
    """Return the page on which the API can be tried."""
    return render_template("swagger.html")


@blueprint.get("/redoc")
def redoc() -> str:
    """Return the page on which the API can be read."""
    return render_template("redoc.html")


@blueprint.get("/docs/files/<name>")
def packaged_file(name: str) -> Response:
    """Return a script or style sheet of the two pages as its package ships it."""
    if name not in _FILES:
        abort(404, f"one of {', '.join(sorted(_FILES))} was expected, found {name!r}")
    return send_package_file(_FILES[name])
