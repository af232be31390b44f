"""Where the limits stand on the way of a request: what is too much is turned away before any work."""

from __future__ import annotations

from flask import Flask, Response, g, request

from gateway.guard import principal
from gateway.limits.bodies import limit_time, require_small
from gateway.limits.in_flight import InFlight
from gateway.limits.rates import FREE
from gateway.limits.told import tell
from gateway.settings import GatewaySettings


def install_before_guard(app: Flask, settings: GatewaySettings, in_flight: InFlight) -> None:
    """Judge what can be judged without knowing the caller; call it before `gateway.guard.install`."""

    @app.before_request
    def before() -> None:
        limit_time(request, settings.body_seconds)
        # How the gateway is must be known above all when it is busy.
        if request.endpoint not in FREE:
            in_flight.enter()
            g.is_inside = True
        require_small(request)

    @app.teardown_request
    def teardown(_error: BaseException | None) -> None:
        if g.pop("is_inside", False):
            in_flight.leave(g.pop("inside_as", ()))

    @app.after_request
    def after(response: Response) -> Response:
        tell(response)
        return response


def install_after_guard(app: Flask, in_flight: InFlight) -> None:
    """Judge what the caller has going on; call it after `gateway.guard.install`."""

    @app.before_request
    def before() -> None:
        if g.get("is_inside", False):
            g.inside_as = in_flight.enter_as(principal(), request.remote_addr or "")
