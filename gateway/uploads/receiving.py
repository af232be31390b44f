"""A file that comes with a request: the body itself, or the one file of a form, written as it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request
from werkzeug.formparser import FormDataParser

from gateway import parameters
from gateway.problems import FieldFault, Problem
from gateway.uploads.shelf import Limited

FORM = "multipart/form-data"
_CHUNK_BYTES = 256 * 1024
#: Beside the file a form has its boundaries, headers and other fields.
_FORM_BYTES = 512 * 1024
_FORM_PARTS = 100


class Receiver:
    """Takes one file in.

    Attributes:
        fields: The other fields of the form, each with the values that it came with.
    """

    def __init__(self) -> None:
        self.fields: Mapping[str, list[str]] = {}

    def __call__(self, target: Limited) -> str:
        """Write the file to ``target`` and return the client's name of it.

        Raises:
            Problem: 413; 422 no name, no file, or more than one.
        """
        # A body that says that it has more is refused where its stream is asked for.
        request.max_content_length = target.max_bytes + _FORM_BYTES
        if request.mimetype == FORM:
            return self._form(target)
        name = request.args.get("filename", "")
        if not name:
            expected = "the name of the file, or the body a multipart/form-data form"
            raise parameters.invalid("filename", expected, "nothing")
        while chunk := request.stream.read(_CHUNK_BYTES):
            target.write(chunk)
        return name

    def _form(self, target: Limited) -> str:
        names: list[str] = []

        def opened(
            total_content_length: int | None,  # noqa: ARG001  # as werkzeug calls it
            content_type: str | None,  # noqa: ARG001
            filename: str | None,
            content_length: int | None = None,  # noqa: ARG001
        ) -> Any:
            names.append(filename or "")
            if len(names) > 1:
                raise _no_file("more than one")
            return target

        parser = FormDataParser(
            stream_factory=opened, max_form_memory_size=_FORM_BYTES, max_form_parts=_FORM_PARTS, silent=False
        )
        try:
            parsed = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
        except ValueError as error:
            raise _no_file(str(error)[:100] or "no form") from error
        if not names:
            raise _no_file("none")
        self.fields = dict(parsed[1].lists())
        return names[0]


def _no_file(found: str) -> Problem:
    expected = "one file in a multipart/form-data form, such as `curl -F file=@sales.csv` sends"
    fault = FieldFault(field="file", expected=expected, found=found)
    return Problem(422, "invalid-upload", f"{expected} was expected, found {found}", errors=[fault])
