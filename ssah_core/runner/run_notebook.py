"""Run one notebook: the result is whole or not there, and holds nothing that differs from run to run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ..records import paths
from .kernel import environment, kernel_environment, kernelspec, manager
from .parameters import Parameter, assigned_values, check_parameters, is_tagged, read_parameters, tagged

WIDGET = "application/vnd.jupyter.widget-view+json"
"""How an output names a widget of the kernel that ran: another id every time, and nothing without that kernel."""
START = 300
"""Seconds that a kernel may take to start: on a busy machine more than papermill's one minute."""
REBUILT = re.compile(r"^.*Warning: (.* is damaged: .*)\n(?:  .*\n)?", re.MULTILINE)
"""What a kernel warns of when it makes a file of the cache again, with the line of code that Python shows below it."""


class NotebookFailed(RuntimeError):
    """A notebook stopped at an error; the message names the notebook, the cell and the error."""


def run_notebook(notebook: Path, parameters: dict[str, Any], output: Path) -> None:
    """Run a notebook from top to bottom in its own folder, and put the result at `output` (may be `notebook`).

    parameters  Overrides of the notebook's defaults; one that equals its default is not injected.

    Committed records are not read. `output` is replaced only by a complete run. Which damaged files of the cache were
    made again is printed, and stands in no output.
    Raises ValueError for a wrong parameter, NotebookFailed for a cell that fails or a kernel that dies.
    """
    known = read_parameters(notebook)
    given = check_parameters(notebook, parameters)
    changed = {name: value for name, value in given.items() if value != known[name].default}
    partial = output.with_name(f".{output.stem}.partial.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        # papermill leaves an injected cell of an earlier run in place, and would run it, when nothing is injected now.
        nbformat.write(without_injected(nbformat.read(notebook, as_version=4)), partial)
        _execute(notebook, changed, _scale(given, known), partial)
        ran = nbformat.read(partial, as_version=4)
        for told in _rebuilt(ran):
            print(f"{notebook.stem}: {told}", flush=True)
        nbformat.write(strip_noise(ran), partial)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _scale(given: dict[str, Any], known: dict[str, Parameter]) -> str:
    return given.get("scale", known["scale"].default if "scale" in known else "organism")


def _execute(notebook: Path, parameters: dict[str, Any], scale: str, partial: Path) -> None:
    log = paths.cache() / "executed" / f"{notebook.stem}.log"
    try:
        with environment(**kernel_environment(scale)):
            os.environ.pop("MPLBACKEND", None)  # would keep figures from showing inline
            papermill.execute_notebook(partial, partial, parameters, kernel_name="python3", language="python",
                                       cwd=notebook.resolve().parent, kernel_manager_class=manager(log),
                                       start_timeout=START)
    except PapermillExecutionError as error:
        code, reason = (text.strip().splitlines()[0] for text in (error.source, f"{error.ename}: {error.evalue}"))
        raise NotebookFailed(f"{notebook.name}, cell [{error.exec_count}] ({code}): {reason}") from None
    except DeadKernelError:
        raise NotebookFailed(f"{notebook.name}: its kernel died, most often for want of memory; see {log}") from None
    except RuntimeError as error:  # of jupyter_client, which has no class for it
        reason = _last_line(log) or error
        raise NotebookFailed(f"{notebook.name}: its kernel did not start ({reason}); see {log}") from None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def strip_noise(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run: papermill's and the widgets' metadata, widgets that have
    something else beside them to be shown, timings, the Python version, what the cache had to make again, where a slow
    print was cut in two, and an injected cell that only repeats the defaults. All other outputs and counts stay. Its
    kernel is the one that ran it, however another Jupyter named that."""
    for name in ("papermill", "widgets"):
        nb.metadata.pop(name, None)
    nb.metadata.get("language_info", {}).pop("version", None)
    nb.metadata.kernelspec = kernelspec()
    defaults = assigned_values(tagged(nb, "parameters"))
    nb.cells = [cell for cell in nb.cells if not _repeats(cell, defaults)]
    for cell in nb.cells:
        _strip_cell(cell)
    return nb


def _strip_cell(cell: nbformat.NotebookNode) -> None:
    for output in cell.get("outputs", ()):
        if len(output.get("data", ())) > 1:  # of a widget alone, something is to say that it was there
            output.data.pop(WIDGET, None)
    for name in ("papermill", "execution"):
        cell.metadata.pop(name, None)
    if not cell.metadata.get("tags", True):
        del cell.metadata["tags"]
    if "outputs" in cell:
        cell.outputs = _joined(cell.outputs)
    if is_tagged(cell, "injected-parameters") and "id" in cell:  # papermill's own is a new one every time
        cell.id = "injected-parameters"


def _rebuilt(nb: nbformat.NotebookNode) -> list[str]:
    """Which damaged files of the cache a notebook's run made again: a sentence each."""
    texts = [output.text for cell in nb.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    return [told for text in texts for told in REBUILT.findall(text)]


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs without what the cache had to make again; what was printed in a row is one, however slowly it came."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        is_stream = output.output_type == "stream"
        if is_stream and output.name == "stderr":
            output.text = REBUILT.sub("", output.text)
        if is_stream and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        elif not is_stream or output.text:
            joined.append(output)
    return joined


def _repeats(cell: nbformat.NotebookNode, defaults: dict[str, Any]) -> bool:
    if not is_tagged(cell, "injected-parameters"):
        return False
    try:
        return {**defaults, **assigned_values([cell])} == defaults
    except ValueError:  # a value such as float('nan') is no literal, and no default either
        return False


def without_injected(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the cell of parameters that an earlier run injected."""
    nb.cells = [cell for cell in nb.cells if not is_tagged(cell, "injected-parameters")]
    return nb
