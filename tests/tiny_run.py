"""Every notebook at tiny scale, run once for all tests of a session that look at what it wrote."""

from dataclasses import dataclass, field
from pathlib import Path

from ssah_core.records import paths
from ssah_core.runner import execute
from ssah_core.runner.kernel import environment
from ssah_core.runner.run_notebook import NotebookFailed, run_notebook

NOTEBOOKS = {notebook.stem: notebook for notebook in sorted(paths.notebooks().rglob("[0-9][0-9]_*.ipynb"))
             if ".ipynb_checkpoints" not in notebook.parts}


@dataclass
class TinyRun:
    """Notebooks that run when they are first asked for, in one folder: each builds on what others have built."""

    folder: Path
    ended: dict[str, Path | NotebookFailed] = field(default_factory=dict)

    @property
    def figures(self) -> Path:
        """Where figures, records and measurements lie."""
        return self.folder / "figures"

    def __call__(self, stem: str) -> Path:
        """The executed notebook of that name. Raises NotebookFailed, also when asked again."""
        ended = self.ended[stem] = self.ended.get(stem) or self._run(NOTEBOOKS[stem])
        if isinstance(ended, NotebookFailed):
            raise ended
        return ended

    def _run(self, notebook: Path) -> Path | NotebookFailed:
        output = self.folder / notebook.relative_to(paths.notebooks())
        with environment(SSAH_CACHE=str(self.folder / "cache"), SSAH_FIGURES=str(self.figures)):
            try:
                run_notebook(notebook, execute.common_parameters(notebook, seeds=[0], scale="tiny"), output)
            except NotebookFailed as error:
                return error
        return output
