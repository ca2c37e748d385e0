"""Notebooks of exercises: stubs to fill in, checks, folded solutions; and what is made of them.

A notebook in `notebooks/exercises` is the one source. Its cells have tags: a `stub` is where a reader writes, the
`check` after it says whether it is right, and a `solution`, folded, stands below: a text cell whose first block of
Python replaces the stub. The metadata of a stub may hold `near_misses`, wrong answers with a part of the hint that each
is to get, for the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

TAGS = ("stub", "check", "solution")
_BLOCK = re.compile(r"```python\n(.*?)\n```", re.DOTALL)


def tagged(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell has one of `TAGS`."""
    return tag in cell.metadata.get("tags", ())


def solved(notebook: NotebookNode) -> NotebookNode:
    """The same notebook with every stub replaced by its solution. Raises ValueError where a stub has none.

    >>> import nbformat
    >>> from ssah_core.checks.exercises import solved
    >>> new = nbformat.v4
    >>> cells = [new.new_code_cell("x = ...", metadata={"tags": ["stub"]}),
    ...          new.new_markdown_cell("```python\\nx = 1\\n```", metadata={"tags": ["solution"]})]
    >>> solved(new.new_notebook(cells=cells)).cells[0].source
    'x = 1'
    """
    made = deepcopy(notebook)
    stubs = [cell for cell in made.cells if tagged(cell, "stub")]
    answers = [_BLOCK.search(cell.source) for cell in made.cells if tagged(cell, "solution")]
    told = [answer.group(1) for answer in answers if answer]
    if not len(stubs) == len(answers) == len(told):
        raise ValueError(f"the notebook has {len(stubs)} stubs and {len(told)} solutions with Python in them: give "
                         "each stub one, in order")
    for stub, code in zip(stubs, told, strict=True):
        stub.source = code
        stub.metadata.pop("near_misses", None)
    return made


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """The same notebook for students: no solutions, no wrong answers, no outputs."""
    made = deepcopy(notebook)
    made.cells = [cell for cell in made.cells if not tagged(cell, "solution")]
    for cell in made.cells:
        cell.metadata.pop("near_misses", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def write_student(exercises: Path, folder: Path, make: Callable[[NotebookNode], NotebookNode] = without_solutions
                  ) -> list[Path]:
    """Write every notebook of a folder for students into another, its links led there; returns the files.

    make   what becomes of a notebook: `without_solutions`, or, for a teacher, `solved`

    Raises ValueError if there are no exercises, one has no solution, or the folder has anything in it, which may be
    somebody's work: nothing is written then.
    """
    sources = sorted(exercises.glob("[0-9][0-9]*.ipynb"))
    if not sources:
        raise ValueError(f"{exercises} has no exercises: name the folder of the numbered ones")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is there already, and may be somebody's work: name another folder, or move it away")
    written = [make(nbformat.read(source, as_version=4)) for source in sources]
    folder.mkdir(parents=True, exist_ok=True)
    above = Path(os.path.relpath(exercises.parent, folder)).as_posix()
    for source, made in zip(sources, written, strict=True):
        for cell in made.cells:
            if cell.cell_type == "markdown":
                cell.source = cell.source.replace("](../", f"]({above}/")
        nbformat.write(made, folder / source.name)
    return [folder / source.name for source in sources]
