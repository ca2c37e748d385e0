"""What every committed notebook keeps to, so that a reader meets one form and nbval checks what it seems to check."""

import json
import re
from itertools import pairwise
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssah_core.records import paths
from ssah_core.runner import parameters

NOTEBOOKS = sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb"))
ENDING = ["What we found", "What this does not show", "Exercises"]
FORBIDDEN = {
    "a definition": r"^\s*(def|class)\s",
    "an installation": r"pip install",
    "sys.path": r"sys\.path",
    "a magic command": r"^\s*[%!]",
}
# A path that starts at the top of somebody's disk; web addresses and a/b are none.
MACHINE_PATH = r"(?<![\w.:/~-])(?:/(?:home|root|tmp|work|usr|opt|var|mnt|data|Users|private|content)/|~/|[A-Z]:\\)"
PREDICTION = re.compile(r"(guess\w*) = None  # your prediction: \S.*")
"""A cell that keeps what a reader predicts: nothing yet, and of what, in which unit."""
ANSWER = re.compile(r"\bprose\.guessed\((guess\w*),")
RAW = {"a dict": r"\{['\"]", "NaN": r"\b(?:nan|NaN)\b"}
"""What Python prints, and no reader reads."""
PICTURE, SAID = re.compile(r"<(?:img|svg)\b[^>]*>|!\[\s*\]\("), re.compile(r"\b(?:alt|aria-label)=(['\"])\s*[^'\"\s]")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
"""A link to a file, not to the web nor within the page."""
LONGEST, WIDEST, TYPICAL, HEAVIEST, TEXT_PER_CODE = 25, 100, 8, 500_000, 0.7


def problems(notebook: Path) -> list[str]:
    """What is wrong with a notebook, one line each; nothing if it keeps to the contract."""
    nb = nbformat.read(notebook, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    return [*_frame(nb, notebook.name[:2]), *_parameters(nb, notebook), *_sizes(nb, code),
            *_predictions(nb.cells), *_links(nb.cells, notebook.parent),
            *(problem for cell in code for problem in (*_source(cell), *_outputs(cell)))]


def _frame(nb, number: str):
    first = nb.cells[0]
    if first.cell_type != "markdown" or not re.match(rf"# {number} \S", first.source):
        yield f"the first cell is no heading '# {number} ...'"
    if nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not python3"
    if _headings(nb)[-3:] != ENDING:
        yield f"its last headings are not {ENDING}"


def _headings(nb) -> list[str]:
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return re.findall(r"^## (?:[\d.]+ )?(.*?)\s*$", text, re.MULTILINE)


def _parameters(nb, notebook: Path):
    if len(parameters.tagged(nb, "parameters")) != 1:
        yield "it has not exactly one cell tagged parameters"
    try:
        parameters.read_parameters(notebook)
    except ValueError as error:
        yield str(error)


def _sizes(nb, code):
    if median(map(_code_lines, code)) > TYPICAL:
        yield f"half of its code cells have more than {TYPICAL} lines"
    if sum(cell.cell_type == "markdown" for cell in nb.cells) < TEXT_PER_CODE * len(code):
        yield f"it has fewer than {TEXT_PER_CODE} text cells a code cell"
    if sum(len(json.dumps(cell.outputs)) for cell in code) > HEAVIEST:
        yield f"its outputs are larger than {HEAVIEST} bytes"
    if re.search(MACHINE_PATH, "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")):
        yield "a text cell has a path of one machine"


def _predictions(cells):
    asked, answered = [], set()
    for before, cell in pairwise(cells):
        if cell.cell_type != "code":
            continue
        if found := PREDICTION.fullmatch(cell.source):
            asked.append(found[1])
            if "**Predict**" not in before.source:
                yield f"no question with **Predict** stands before the cell of {found[1]}"
        used = set(ANSWER.findall(cell.source))
        answered |= used
        yield from (f"{name} is answered before a cell asks for it" for name in sorted(used.difference(asked)))
    if not asked:
        yield "no cell keeps a prediction"
    yield from (f"no cell answers {name}" for name in asked if name not in answered)


def _links(cells, folder: Path):
    for target in LINK.findall("\n".join(cell.source for cell in cells if cell.cell_type == "markdown")):
        if not (folder / target).exists():
            yield f"a link leads to no file: {target}"


def _code_lines(cell) -> int:
    lines = (line.strip() for line in cell.source.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _source(cell):
    where = f"cell [{cell.execution_count}] ({cell.source.splitlines()[0]})"
    if len(cell.source.splitlines()) > LONGEST:
        yield f"{where} has more than {LONGEST} lines"
    if any(len(line) > WIDEST for line in cell.source.splitlines()):
        yield f"{where} has a line of more than {WIDEST} characters"
    for what, pattern in {**FORBIDDEN, "a path of one machine": MACHINE_PATH}.items():
        if re.search(pattern, cell.source, re.MULTILINE):
            yield f"{where} has {what}"


def _outputs(cell):
    where = f"cell [{cell.execution_count}] ({cell.source.splitlines()[0]})"
    if cell.execution_count is None:
        yield f"{where} was not run, so nbval would not compare it"
    if parameters.is_tagged(cell, "nbval-check-output") and not cell.outputs:
        yield f"{where} is tagged nbval-check-output, but has no output"
    if any(output.output_type == "error" for output in cell.outputs):
        yield f"{where} shows an error"
    if any(output.get("name") == "stderr" for output in cell.outputs):
        yield f"{where} shows a warning or a progress bar (stderr)"
    if re.search(MACHINE_PATH, "\n".join(map(_text, cell.outputs))):
        yield f"{where} shows a path of one machine"
    yield from (f"{where} shows {what}" for what, pattern in RAW.items()
                if any(re.search(pattern, _plain(output)) for output in cell.outputs))
    if any(map(_is_unsaid, cell.outputs)):
        yield f"{where} shows a picture without words"


def _plain(output) -> str:
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")])


def _is_unsaid(output) -> bool:
    """Whether somebody who hears an output instead of seeing it misses a picture."""
    data, about = output.get("data", {}), output.get("metadata", {})
    pictures = PICTURE.findall("\n".join(str(data.get(kind, "")) for kind in ("text/html", "text/markdown")))
    return (any(not SAID.search(picture) for picture in pictures)
            or any(not about.get(kind, {}).get("alt", "").strip() for kind in data if kind.startswith("image/")))


def _text(output) -> str:
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), *(str(data[kind]) for kind in data if not kind.startswith("image/"))])


def test_notebooks_are_numbered_from_00_and_no_number_is_used_twice():
    numbers = [notebook.name[:2] for notebook in NOTEBOOKS]
    assert numbers and numbers[0] == "00" and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_committed_notebook_keeps_to_the_contract(notebook):
    assert problems(notebook) == []


# --- the guard itself can fail ---


def _picture(alt: str, html: str = "") -> nbformat.NotebookNode:
    data = {"image/png": "AA==", "text/html": html or f'<img alt="{alt}" src="data:">'}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def good() -> nbformat.NotebookNode:
    shown = new_output("stream", name="stdout", text="see https://example.org/home/page, figures/a.png and 1/2\n")
    cells = [new_markdown_cell("# 00 Try it"),
             new_code_cell("seeds: list[int] = [0]  # which", execution_count=1, metadata={"tags": ["parameters"]}),
             new_markdown_cell("## 1 A question"),
             new_code_cell("print(1)", execution_count=2, metadata={"tags": ["nbval-check-output"]}, outputs=[shown]),
             new_code_cell(""),
             new_markdown_cell("## 2 What we found\n\n## 3 What this does not show\n\n## 4 Exercises\n\n### 1"),
             new_markdown_cell("**Predict**: how many, in [per cent](../site/glossary.md#utility)? See [x](https://x.org/y)."),
             new_code_cell("guess = None  # your prediction: %", execution_count=3),
             new_code_cell('f"All.{prose.guessed(guess, 100, "%")}"', execution_count=4, outputs=[_picture("one dot")]),
             ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def problems_of(nb: nbformat.NotebookNode, folder: Path) -> list[str]:
    for name in ("notebooks/00_try.ipynb", "site/glossary.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    nbformat.write(nb, folder / "notebooks" / "00_try.ipynb")
    return problems(folder / "notebooks" / "00_try.ipynb")


def test_a_good_notebook_has_no_problems(tmp_path):
    assert problems_of(good(), tmp_path) == []


def _output(**fields):
    return lambda nb: nb.cells[3].outputs.append(new_output(**fields))


def _in(index: int, **fields):
    return lambda nb: nb.cells[index].update(fields)


BREAKS = {
    "first cell": _in(0, source="# Try it"),
    "kernel": lambda nb: nb.metadata.kernelspec.update(name="mine"),
    "last headings": _in(5, source="## What we found\n\n## Exercises\n\n## What this does not show"),
    "exactly one": lambda nb: nb.cells[3].metadata.tags.append("parameters"),
    "only lines such as": _in(1, source="seeds = [0]"),
    "more than 8 lines": lambda nb: [cell.update(source="x = 1\n" * 9) for cell in nb.cells[1:8:2]],
    "more than 25 lines": _in(3, source="#\n" * 26),
    "more than 100 characters": _in(3, source="#" * 101),
    "fewer than 0.7": lambda nb: nb.cells.extend(new_code_cell("1", execution_count=3) for _ in range(3)),
    "larger than": _output(output_type="display_data", data={"image/png": "A" * 500_001}),
    "a definition": _in(3, source="x = 1\ndef f(): pass"),
    "an installation": _in(3, source="# pip install ssah"),
    "sys.path": _in(3, source="sys.path.append('..')"),
    "a magic command": _in(3, source="%matplotlib inline"),
    "has a path": _in(3, source="open('/home/me/x')"),
    "text cell has a path": _in(2, source="See `/tmp/x`."),
    "was not run": _in(3, execution_count=None),
    "no output": _in(3, outputs=[]),
    "an error": _output(output_type="error", ename="KeyError", evalue="", traceback=[]),
    "stderr": _output(output_type="stream", name="stderr", text="100%"),
    "shows a path": _output(output_type="stream", name="stdout", text="saved to /root/.cache/x"),
    "shows a dict": _output(output_type="stream", name="stdout", text="2,048 units: {'attn.0': 128}"),
    "shows NaN": _output(output_type="display_data", data={"text/plain": "   share\n0    NaN"}),
    "a picture without words": _output(output_type="display_data", data={"image/png": "AA=="}),
    "shows a picture without": lambda nb: nb.cells[3].outputs.append(_picture("one dot", '<img alt=" " src="data:">')),
    "picture without words": _output(output_type="display_data", data={"text/markdown": "![](a.png)"}),
    "keeps a prediction": lambda nb: nb.cells.pop(7),
    "answered before a cell asks": lambda nb: nb.cells.insert(6, nb.cells.pop()),
    "no question with": _in(6, source="How many?"),
    "no cell answers guess": _in(8, source="1"),
    "leads to no file": _in(2, source="See [it](../site/glossary.html)."),
}


@pytest.mark.parametrize("message", BREAKS)
def test_each_rule_is_enforced(message, tmp_path):
    nb = good()
    BREAKS[message](nb)
    assert any(message in problem for problem in problems_of(nb, tmp_path)), problems_of(nb, tmp_path)
