"""The first page: history and forecast fan, training progress, service state; all of it through the public HTTP API."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from gateway.assets import PackageFile, send_package_file
from gateway.content_security import add_headers, policy
from gateway.guard import open_to_all, principal
from gateway.same_site import csrf_token_of_page
from runtime.version import CODE_VERSION

#: The series that the page shows until the user chooses another one.
DEFAULT_SERIES_ID = "market/AAPL@1d"
_PLOTLY = PackageFile("plotly", "package_data/plotly.min.js", "text/javascript")

blueprint = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
blueprint.after_request(add_headers(policy()))


@blueprint.get("/")
@open_to_all
def dashboard() -> str:
    """Return the page; its scripts fill it from the API."""
    return render_template(
        "dashboard.html",
        default_series_id=DEFAULT_SERIES_ID,
        code_version=CODE_VERSION,
        csrf_token=csrf_token_of_page(),
        is_operator=principal().is_operator,
    )


@blueprint.get("/assets/plotly.min.js")
@open_to_all
def plotly() -> Response:
    """Return the chart library as the installed `plotly` package ships it."""
    return send_package_file(_PLOTLY)
