"""Rows of certain projects: the first part of a series id or of the name of a model, in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

#: Ids of projects; ``None``: all there are.
Projects = frozenset[str] | None


class ProjectOf(GenericFunction[str]):
    """The part of a name before its first slash."""

    type = String()
    inherit_cache = True
    name = "project_of"


@compiles(ProjectOf, "sqlite")
def _sqlite(element: ProjectOf, compiler: SQLCompiler, **options: Any) -> str:
    name = compiler.process(element.clauses, **options)
    return f"substr({name}, 1, instr({name}, '/') - 1)"


@compiles(ProjectOf, "postgresql")
def _postgresql(element: ProjectOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"split_part({compiler.process(element.clauses, **options)}, '/', 1)"


def of_projects(query: Select[Any], name: ColumnElement[str], projects: Projects) -> Select[Any]:
    """Return ``query`` without the rows of other projects.

    Args:
        query: Any.
        name: The column with the series id or the name of the model.
        projects: The ones that stay.
    """
    return query if projects is None else query.where(ProjectOf(name).in_(sorted(projects)))
