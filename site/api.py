"""The pages of the API: one a room of `ssah_core`, with its public names and those that notebooks take from it.

Both are read off the code, the former from `ssah_core/__init__.pyi`, the latter from the notebooks' cells.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ssah_core"
PUBLIC = re.compile(r"^from \.(\w+)\S* import \w+ as (\w+)$", re.MULTILINE)


def public() -> dict[str, list[str]]:
    """Room -> its names at the door, as `ssah_core/__init__.pyi` lists them."""
    found = defaultdict(list)
    for room, name in PUBLIC.findall((ROOT / PACKAGE / "__init__.pyi").read_text(encoding="utf-8")):
        found[room].append(name)
    return dict(found)


def used(code: str) -> Iterator[str]:
    """Dotted names that a cell takes from the package, as far as they are written out.

    >>> sorted(used("from ssah_core.records import prose as p\\nimport ssah_core as s\\np.rate(1, 2)\\ns.load('x')"))
    ['ssah_core.load', 'ssah_core.records.prose', 'ssah_core.records.prose.rate']
    """
    tree, ours = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            ours |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            ours |= {name.asname: name.name for name in node.names if name.name == PACKAGE and name.asname}
    yield from (name for name in ours.values() if name != PACKAGE)
    for node in ast.walk(tree):
        dotted = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        root, _, rest = dotted.partition(".")
        if root in ours and re.fullmatch(r"[\w.]+", rest) and not rest.endswith("__"):
            yield f"{ours[root]}.{rest}"


def found(dotted: str) -> tuple[str, Any]:
    """The first thing on a dotted path that is no module, and its full name; where all are modules, the last."""
    parts = dotted.split(".")
    thing, name = importlib.import_module(parts[0]), parts[0]
    for part in parts[1:]:
        if not isinstance(thing, ModuleType):
            break
        if not hasattr(thing, part):
            importlib.import_module(f"{name}.{part}")
        thing, name = getattr(thing, part), f"{name}.{part}"
    if callable(thing) and getattr(thing, "__module__", "").startswith(PACKAGE):
        name = f"{thing.__module__}.{thing.__qualname__}"
    return name, thing


def by_room(notebooks: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Room -> full name -> what notebooks use beside the public names."""
    door = [getattr(importlib.import_module(PACKAGE), name) for names in public().values() for name in names]
    rooms: dict[str, dict[str, Any]] = defaultdict(dict)
    for notebook in notebooks:
        cells = nbformat.read(notebook, as_version=4).cells
        for dotted in used("\n".join(cell.source for cell in cells if cell.cell_type == "code")):
            name, thing = found(dotted)
            if not isinstance(thing, ModuleType) and not any(thing is known for known in door) and name.count(".") > 1:
                rooms[name.split(".")[1]][name] = thing
    return rooms


def directive(name: str, thing: Any) -> str:
    """The autodoc directive of a name."""
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :members:\n"
    return f".. autofunction:: {name}\n" if callable(thing) else f".. autodata:: {name}\n   :no-value:\n"


def section(heading: str, things: dict[str, Any], depth: int = 2) -> list[str]:
    """A heading and its directives, by name; nothing where there are none."""
    told = [directive(name, things[name]) for name in sorted(things, key=str.lower)]
    return ["", f"{'#' * depth} {heading}", "", "```{eval-rst}", *told, "```"] if told else []


def by_module(things: dict[str, Any]) -> list[str]:
    """What notebooks use besides, a heading a module: a name may be found in several."""
    modules: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, thing in things.items():
        modules[name.rpartition(".")[0].removeprefix(f"{PACKAGE}.")][name] = thing
    lines = [line for module in sorted(modules) for line in section(module, modules[module], 3)]
    return ["", "## Also used in notebooks", *lines] if lines else []


def write_api(folder: Path, notebooks: Iterable[Path]) -> None:
    """Write a page for each room that has something to show, and one that leads to them."""
    folder.mkdir(parents=True, exist_ok=True)
    door, rooms = public(), by_room(notebooks)
    package = importlib.import_module(PACKAGE)
    names = sorted({*door, *rooms})
    for room in names:
        about = inspect.getdoc(importlib.import_module(f"{PACKAGE}.{room}")) or ""
        mine = {f"{PACKAGE}.{name}": getattr(package, name) for name in door.get(room, ())}
        lines = [f"# ssah_core.{room}", "", about, *section("Public names", mine),
                 *by_module(rooms.get(room, {}))]
        (folder / f"{room}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "index.md").write_text(overview(names, door), encoding="utf-8")


def overview(rooms: list[str], door: dict[str, list[str]]) -> str:
    """The page that leads to the others: the rooms, and the public names of each."""
    lines = ["# API", "", f"The public names are those of `import {PACKAGE} as ssah`. Each room has a page, with what "
             "the notebooks take from it besides.", ""]
    for room in rooms:
        about = (inspect.getdoc(importlib.import_module(f"{PACKAGE}.{room}")) or "").splitlines()[0]
        names = ", ".join(f"{{py:obj}}`~{PACKAGE}.{name}`" for name in door.get(room, ()))
        lines.append(f"- **[{room}]({room}.md)**: {about} {names}")
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *rooms, "```"]) + "\n"
