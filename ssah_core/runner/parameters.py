"""The parameters of a notebook: read from its tagged cell, checked by name and type before anything runs."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

PLAIN_TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell, `name: annotation = default`."""

    annotation: ast.expr
    default: Any

    @property
    def type(self) -> str:
        return ast.unparse(self.annotation)


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, in order; none if it has no cell tagged `parameters`.

    papermill.inspect_notebook does the like, but does not see a parameter whose type is written `int | None`.
    Raises ValueError for a line that is not `name: type = literal`.
    """
    cells = tagged(nbformat.read(notebook, as_version=4), "parameters")
    return {name: parameter for cell in cells for name, parameter in _declared(cell.source, notebook.name)}


def check_parameters(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """`parameters`, if the notebook has them all and their types fit. Raises ValueError for one that does not."""
    known = read_parameters(notebook)
    for name, value in parameters.items():
        wanted = _find(notebook, known, name)
        if not _fits(value, wanted.annotation):
            raise ValueError(f"{notebook.name}: parameter {name} is {value!r}, but it must be {wanted.type}: "
                             f"give one, such as its default {wanted.default!r}")
    return dict(parameters)


def parse_parameters(notebook: Path, texts: dict[str, str]) -> dict[str, Any]:
    """Values given as text, read as JSON unless the parameter is a str. Raises ValueError as `check_parameters`."""
    known = read_parameters(notebook)
    values = {name: _parse(text, _find(notebook, known, name).annotation) for name, text in texts.items()}
    return check_parameters(notebook, values)


def _declared(source: str, notebook: str) -> Iterator[tuple[str, Parameter]]:
    for line in ast.parse(source).body:
        try:
            yield line.target.id, Parameter(line.annotation, ast.literal_eval(line.value))
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{notebook}: parameters cell has {ast.unparse(line)!r}, but only lines such as "
                             "'n: int = 5' with a plain value are allowed") from None


def _find(notebook: Path, known: dict[str, Parameter], name: str) -> Parameter:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "check the spelling"
    raise ValueError(f"{notebook.name} has no parameter {name!r}; it has {', '.join(known) or 'none'}; {hint}")


def _parse(text: str, annotation: ast.expr) -> Any:
    if _fits(text, annotation) and not _fits(None, annotation):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _fits(value: Any, annotation: ast.expr) -> bool:
    """Whether `value` is of a type such as int, list[int] or int | None; True and False are no numbers."""
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id=name) if name in PLAIN_TYPES:
            return isinstance(value, PLAIN_TYPES[name]) and isinstance(value, bool) == (name == "bool")
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_fits(each, item) for each in value)
    raise ValueError(f"a parameter has the type {ast.unparse(annotation)!r}, but only int, float, str, bool, "
                     "list[...] and '... | None' are allowed; use one of these")


def is_tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    """Whether a cell carries a tag."""
    return tag in cell.metadata.get("tags", ())


def tagged(nb: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    """The cells of a notebook that carry a tag."""
    return [cell for cell in nb.cells if is_tagged(cell, tag)]


def assigned_values(cells: list[nbformat.NotebookNode]) -> dict[str, Any]:
    """Values by name in cells of `name = literal` or `name: type = literal` lines. ValueError for a value that is
    no literal."""
    lines = [line for cell in cells for line in ast.parse(cell.source).body]
    return {(line.target if isinstance(line, ast.AnnAssign) else line.targets[0]).id: ast.literal_eval(line.value)
            for line in lines}
