"""Gather what the site is made of, before Sphinx reads it: pages and notebooks, where their links expect them.

Nothing is written twice: the front page is the head of README.md, the report, the notebooks and their outputs are those
that are committed, and the API pages name what the code says is public. So no list here can go stale.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
from api import write_api

SITE = Path(__file__).resolve().parent
ROOT = SITE.parent
SOURCE, FILES = SITE / "_build" / "source", SITE / "_build" / "files"
PAGES = ("glossary.md", "teachers.md")
COMMITTED = ("paper_repro.md", "tests/README.md")
NUMBERED = "[0-9][0-9]*.ipynb"
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
RUN = "\n## Run it\n"
"""What parts README.md: before it the front page, from it on the page of how to run and use."""


def notebooks() -> list[Path]:
    """The numbered notebooks, in their order."""
    return sorted((ROOT / "notebooks").glob(NUMBERED))


def exercises() -> list[Path]:
    """The notebooks of exercises, of which there may be none."""
    return sorted((ROOT / "notebooks" / "exercises").glob(NUMBERED))


def title(notebook: Path) -> str:
    """A notebook's title up to its colon, for the navigation.

    >>> title(ROOT / "notebooks" / "00_start_here.ipynb")
    '00 Start here'
    """
    first = nbformat.read(notebook, as_version=4).cells[0].source.splitlines()[0]
    return first.lstrip("# ").split(":")[0].strip()


def entries(notebooks: list[Path]) -> list[str]:
    """Notebooks as a table of contents has them."""
    return [f"{title(file)} <{file.relative_to(ROOT).with_suffix('').as_posix()}>" for file in notebooks]


def tree(entries: list[str], *options: str) -> str:
    """A table of contents in MyST."""
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def navigation() -> str:
    """The site's table of contents: every notebook, and the pages about them."""
    more = ["Exercises <exercises>"] if exercises() else []
    about = ["Run and use <README>", "Claims and verdicts <paper_repro>", "Glossary <glossary>",
             "For teachers <teachers>", "API <api/index>", "What the tests prove <tests/README>"]
    return (tree(entries(notebooks()) + more, ":hidden:", ":caption: Notebooks")
            + tree(about, ":hidden:", ":caption: About"))


def moved(text: str, page: str = "") -> str:
    """The text with its links as they are where all pages of `site/` lie at the top.

    >>> moved("[SCU](../site/glossary.md#scu)"), moved("[00](../notebooks/00.ipynb)", "site/teachers.md")
    ('[SCU](../glossary.md#scu)', '[00](notebooks/00.ipynb)')
    """
    text = text.replace("](../", "](") if page.startswith("site/") else text
    return re.sub(r"(\]\((?:\.\./)*)site/", r"\1", text)


def write_page(name: str, text: str) -> None:
    """Write a page, and beside it whatever it links to that is no page: figures, the registration, the licence."""
    file = SOURCE / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    for target in LINK.findall(text):
        linked = (ROOT / name).parent.joinpath(target).resolve()
        if linked.is_file() and linked.suffix not in (".md", ".ipynb") and linked.is_relative_to(ROOT):
            copy = SOURCE / linked.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(linked, copy)


def folded(cell: nbformat.NotebookNode) -> str:
    """The text of a cell; that of a solution behind a line to click on, unless it folds itself."""
    text = moved(cell.source)
    if "solution" not in cell.metadata.get("tags", ()) or "<details" in text:
        return text
    return f"<details>\n<summary>Solution</summary>\n\n{text}\n\n</details>"


def write_notebook(file: Path) -> None:
    """Write a notebook to be shown, with its outputs, and one to be downloaded: of exercises without the solutions."""
    from ssah_core.checks.exercises import without_solutions

    nb, name = nbformat.read(file, as_version=4), file.relative_to(ROOT)
    given = without_solutions(nb) if file.parent.name == "exercises" else nb
    download = FILES / name
    download.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(given, download)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = folded(cell)
    write_page(name.as_posix(), nbformat.writes(nb))


def main() -> None:
    """Make `_build` anew, so that no page is left of what is no longer there."""
    shutil.rmtree(SITE / "_build", ignore_errors=True)
    head, run, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(RUN)
    if not run:
        raise SystemExit(f"README.md has no line {RUN.strip()!r}: the front page ends before it, so name it in RUN")
    for name in COMMITTED:
        write_page(name, moved((ROOT / name).read_text(encoding="utf-8")))
    for name in PAGES:
        write_page(name, moved((SITE / name).read_text(encoding="utf-8"), f"site/{name}"))
    if exercises():
        told = (SITE / "exercises.md").read_text(encoding="utf-8")
        write_page("exercises.md", moved(told, "site/exercises.md") + tree(entries(exercises())))
    for file in (*notebooks(), *exercises()):
        write_notebook(file)
    write_api(SOURCE / "api", [*notebooks(), *exercises()])
    begin = moved((SITE / "index.md").read_text(encoding="utf-8"), "site/index.md")
    write_page("index.md", f"{moved(head)}\n{begin}\n{navigation()}")
    write_page("README.md", f"# Run and use\n{run}{moved(rest)}")


if __name__ == "__main__":
    main()
