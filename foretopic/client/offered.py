"""Operations as methods of both clients: described once, carried out as the client does."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from foretopic.client.asynchronous import AsyncDriver, AsyncJob
from foretopic.client.blocking import BlockingDriver, Job
from foretopic.client.event_text import Event
from foretopic.client.steps import Call, Events, Pages, Started

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class _Described(Generic[P, T]):
    """A method whose function returns the description of what is to be done."""

    def __init__(self, describe: Callable[Concatenate[Any, P], T]) -> None:
        self.describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]  # for its help

    def _bound(self, client: Any, carry_out: Callable[[T], Any]) -> Callable[P, Any]:
        @functools.wraps(self.describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return carry_out(self.describe(client, *args, **kwargs))

        return method


class operation(_Described[P, Call[T]]):  # noqa: N801  # a decorator
    """A call that is answered."""

    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: object = None) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self if client is None else self._bound(client, lambda call: client.run(client.session.flow(call)))


class listing(_Described[P, Pages[T]]):  # noqa: N801
    """A list that is read page by page as it is used."""

    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: object = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: object = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self if client is None else self._bound(client, client.pages)


class work(_Described[P, Started[S, T]], Generic[P, S, T]):  # noqa: N801
    """Something that goes on after the answer, and can be waited for."""

    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: object = None) -> Callable[P, Job[S, T]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: object = None) -> Callable[P, Awaitable[AsyncJob[S, T]]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self if client is None else self._bound(client, client.begin)


class following(_Described[P, Events]):  # noqa: N801
    """Events as they happen."""

    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: object = None) -> Callable[P, Iterator[Event]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: object = None) -> Callable[P, AsyncIterator[Event]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self if client is None else self._bound(client, client.follow)
