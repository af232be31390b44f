"""The HTTP API as an OpenAPI 3.1 document.

A module a thing: the types of its answers, its examples and its operations. `operation` says how one is written
down, `operations` lists all of them, `rendering` makes the document. What a route returns stands with the route.
"""

from gateway.openapi.rendering import document

__all__ = ["document"]
