"""The pages: for people, in a browser."""

from __future__ import annotations

from gateway.openapi.examples import HTML
from gateway.openapi.operation import Operation, Sent

_PAGE = Sent(description="The page.", media_type="text/html", example=HTML)
_ON = Sent(description="Signed in, or done: on to the next page.", media_type="", headers=("Location",))
_AGAIN = Sent(description="The page again, with what is wrong.", media_type="text/html", example=HTML)


def _page(path: str, id_: str, summary: str, *parameters: str, is_open: bool = True) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=id_,
        tag="pages",
        summary=summary,
        parameters=parameters,
        answers={200: _PAGE},
        is_open=is_open,
    )


def _form(path: str, id_: str, *, is_open: bool) -> Operation:
    answers = {303: _ON, **dict.fromkeys((400, 401, 404, 409, 422, 429, 503), _AGAIN)}
    return Operation(
        method="post", path=path, id=id_, tag="pages", summary="The form of the page", answers=answers, is_open=is_open
    )


SIGN_IN_PAGES = (
    _page("/login", "getLoginPage", "Sign in, in a browser", "next_page"),
    _form("/login", "submitLogin", is_open=True),
    Operation(
        method="post",
        path="/logout",
        id="logOutBrowser",
        tag="pages",
        summary="Sign a browser out",
        answers={303: _ON},
    ),
    _page("/join", "getJoinPage", "Take an invitation, in a browser"),
    _form("/join", "submitJoin", is_open=True),
    _page("/login/password", "getPasswordPage", "Choose another password", is_open=False),
    _form("/login/password", "submitPassword", is_open=False),
)
PAGES = (
    _page("/", "getPage", "The first page"),
    _page("/docs", "getSwaggerUi", "Try the API"),
    _page("/redoc", "getReDoc", "Read the API"),
)
