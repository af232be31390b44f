"""The pages: for people, in a browser."""

from __future__ import annotations

from gateway.openapi.examples import HTML
from gateway.openapi.operation import Operation, Sent

_PAGE = Sent(description="The page.", media_type="text/html", example=HTML)
_ON = Sent(description="Signed in, or done: on to the next page.", media_type="", headers=("Location",))
_AGAIN = Sent(description="The page again, with what is wrong.", media_type="text/html", example=HTML)


def _page(path: str, id_: str, summary: str, description: str, *parameters: str, is_open: bool = True) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=id_,
        tag="pages",
        summary=summary,
        description=description,
        parameters=parameters,
        answers={200: _PAGE},
        is_open=is_open,
    )


def _form(path: str, id_: str, summary: str, description: str, *, is_open: bool) -> Operation:
    return Operation(
        method="post",
        path=path,
        id=id_,
        tag="pages",
        summary=summary,
        description=description,
        answers={303: _ON, **dict.fromkeys((400, 401, 404, 409, 422, 429, 503), _AGAIN)},
        is_open=is_open,
    )


SIGN_IN_PAGES = (
    _page("/login", "getLoginPage", "The page to sign in", "The form asks for email and password.", "next_page"),
    _form(
        "/login",
        "submitLogin",
        "Sign in, in a browser",
        "Sets the cookie. Programs use `POST /api/v1/auth/login`.",
        is_open=True,
    ),
    Operation(
        method="post",
        path="/logout",
        id="logOutBrowser",
        tag="pages",
        summary="Sign a browser out",
        description="The login and its cookie end.",
        answers={303: _ON},
    ),
    _page("/join", "getJoinPage", "The page to take an invitation", "The link of an invitation leads here."),
    _form(
        "/join",
        "submitJoin",
        "Take an invitation, in a browser",
        "Makes the account, and signs in. Programs use `POST /api/v1/auth/signup`.",
        is_open=True,
    ),
    _page(
        "/login/password",
        "getPasswordPage",
        "The page to choose another password",
        "Whoever has a password for one sign-in is led here.",
        is_open=False,
    ),
    _form(
        "/login/password",
        "submitPassword",
        "Choose another password, in a browser",
        "Every other login of the user ends. Programs use `POST /api/v1/auth/password`.",
        is_open=False,
    ),
)

PAGES = (
    _page("/", "getPage", "The first page", "Series, models, forecasts and how the services are, as they happen."),
    _page(
        "/docs",
        "getSwaggerUi",
        "Try the API",
        "Swagger UI, made from `/openapi.json`; it loads nothing from elsewhere.",
    ),
    _page("/redoc", "getReDoc", "Read the API", "ReDoc, made from `/openapi.json`; it loads nothing from elsewhere."),
)
