"""A JupyterLab of its own: settings, kernels, cache and figures lie in one folder, and it listens here with a token."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from ssah_core.records import paths
from ssah_core.runner.execute import common_parameters
from ssah_core.runner.kernel import kernel_environment

NOTEBOOKS = sorted(path.relative_to(paths.notebooks()) for path in paths.notebooks().rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in path.parts)
SETTINGS = {
    # No news and no question about updates cover the page, and what has scrolled away stays in it.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"}}
START = 60
"""Seconds that the server may take to start."""
RAN = 600_000
"""Milliseconds that a notebook may take."""
READY = """async () => { const app = window.jupyterapp; await app.restored; const shown = app.shell.currentWidget;
    await shown.context.ready; await shown.sessionContext.ready; await shown.sessionContext.session.kernel.info; }"""
"""Before this the page calls a kernel idle that does not exist yet."""
COMMAND = "async (name) => { await window.jupyterapp.commands.execute(name); }"


def put_notebooks(folder: Path) -> None:
    """Copy notebooks and exercises, set to tiny scale and one seed, without outputs: old ones would pass for new."""
    for name in NOTEBOOKS:
        source = paths.notebooks() / name
        notebook = parameterize_notebook(load_notebook_node(str(source)), common_parameters(source, [0], "tiny"))
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / name)


@dataclass
class Lab:
    """JupyterLab over the folder `notebooks` below this one, from its start to its end."""

    folder: Path

    def __enter__(self) -> "Lab":
        for name, setting in SETTINGS.items():
            file = self.folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(setting))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.token = secrets.token_hex(16)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(self._command(), env=self._environment(), stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(self, *error) -> None:
        self.process.terminate()
        self.process.wait(START)

    def url(self, path: str) -> str:
        """A page of this server, with its token."""
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def open(self, page, name: Path) -> None:
        """Open a notebook in a page, and wait until its kernel is there."""
        page.goto(f"{self.url(f'lab/tree/{name.as_posix()}')}&reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=RAN)
        page.evaluate(READY)

    def run(self, page, name: Path) -> nbformat.NotebookNode:
        """Open a notebook, run all of its cells and save it; returns what was saved."""
        self.open(page, name)
        page.set_default_timeout(RAN)
        page.evaluate(COMMAND, "notebook:run-all-cells")
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=RAN)
        page.evaluate(COMMAND, "docmanager:save")
        return nbformat.read(self.folder / "notebooks" / name, as_version=4)

    def _command(self) -> list[str]:
        flags = {"ip": "127.0.0.1", "ServerApp.port": self.port, "ServerApp.port_retries": 0,
                 "IdentityProvider.token": self.token, "ServerApp.root_dir": self.folder / "notebooks",
                 "LabApp.expose_app_in_browser": True}
        as_root = ["--allow-root"] * (hasattr(os, "geteuid") and os.geteuid() == 0)
        return [sys.executable, "-m", "jupyterlab", "--no-browser", *as_root,
                *(f"--{name}={value}" for name, value in flags.items())]

    def _environment(self) -> dict[str, str]:
        own = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
               "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython",
               "SSAH_CACHE": "cache", "SSAH_FIGURES": "figures"}
        here = {name: str(self.folder / place) for name, place in own.items()}
        return {**os.environ, **kernel_environment("tiny"), **here, "JUPYTER_PREFER_ENV_PATH": "1"}

    def _wait(self) -> None:
        begun = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(self.url("api/status"), timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() - begun > START:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.3)


def shut(lab: Lab) -> None:
    """End all kernels: each holds a model."""
    with urllib.request.urlopen(lab.url("api/sessions")) as answer:
        for session in json.load(answer):
            call = urllib.request.Request(lab.url(f"api/sessions/{session['id']}"), method="DELETE")
            urllib.request.urlopen(call).close()

