"""The public names have types that mypy accepts, and a use of each of them checks."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_sample_uses_every_public_name():
    stub = (ROOT / "ssah_core" / "__init__.pyi").read_text(encoding="utf-8")
    sample = (ROOT / "tests" / "typed_usage.py").read_text(encoding="utf-8")
    public = re.findall(r"^from \S+ import \w+ as (\w+)$", stub, re.M)
    assert len(public) >= 40 and [name for name in public if not re.search(rf"\bssah\.{name}\b", sample)] == []


def test_mypy_finds_no_error_on_the_public_surface():
    """Which files those are says [tool.mypy] in pyproject.toml."""
    ended = subprocess.run([sys.executable, "-m", "mypy", "--no-error-summary"], cwd=ROOT, capture_output=True,
                           text=True)
    assert (ended.stdout, ended.returncode) == ("", 0), ended.stdout + ended.stderr
