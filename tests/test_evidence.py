"""Evidence says by which code a number was measured; the code that is meant is that which ran."""

import json
import os
import subprocess
import sys

import pytest

from ssah_core import sources
from ssah_core.records import evidence
from ssah_core.records.evidence import EARLIER, EDITED, code_digest, count, is_by, verified

CODE = """
class A:
    size: int = 1
    \"\"\"How large.\"\"\"

    def f(self, x: int) -> int:
        \"\"\"Twice x.\"\"\"
        total = 2 * x  # why
        if total < 0:
            raise ValueError(f"x is {x}: give a positive number")
        return total
"""
SAME = {
    "an attribute's docstring": ('"""How large."""', '"""How large it is, and in which unit."""'),
    "a function's docstring": ('"""Twice x."""', ""),
    "a message": ("give a positive number", "pass a number above 0"),
    "an annotation": ("x: int) -> int", "x: float)"),
    "a comment and layout": ("2 * x  # why", "(2\n            * x)"),
}
OTHER = {
    "a local variable's name": ("total", "double"),
    "a number": ("2 * x", "3 * x"),
    "a comparison": ("total < 0", "total <= 0"),
    "another error": ("ValueError", "TypeError"),
    "a default": ("size: int = 1", "size: int = 2"),
}


@pytest.mark.parametrize("what", SAME)
def test_words_do_not_count(what):
    changed = CODE.replace(*SAME[what])
    assert changed != CODE and code_digest({"a.py": changed.encode()}) == code_digest({"a.py": CODE.encode()})


@pytest.mark.parametrize("what", OTHER)
def test_code_counts(what):
    changed = CODE.replace(*OTHER[what])
    assert changed != CODE and code_digest({"a.py": changed.encode()}) != code_digest({"a.py": CODE.encode()})


def test_every_difference_in_a_value_counts():
    texts = ["x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'", "x = None", "x = ''", "x = ...", "x = -1", "x += 1",
             "y = 1", "x = [1]", "x = []", "x = {}", "x = (1,)", "x = f'{1}'", "x = f'{1!r}'", "x = f'{1:2}'"]
    assert len({code_digest({"a.py": text.encode()}) for text in texts}) == len(texts)


def test_a_moved_file_is_other_code():
    assert code_digest({"a.py": b"x = 1"}) != code_digest({"b/a.py": b"x = 1"})


def test_code_that_was_edited_after_its_import_has_no_digest(monkeypatch):
    edited = {**sources.IMPORTED, "arithmetic.py": b"x = 1"}
    assert len(code_digest()) == 12
    monkeypatch.setattr(sources, "read", lambda: edited)
    assert code_digest() == EDITED and evidence.now()["code"] == EDITED
    with pytest.raises(ValueError, match="edited while it ran"):
        verified({"code": EARLIER}, [])


SCRIPT = """
import pathlib, sys
import ssah_core
from ssah_core.records import evidence
before = evidence.code_digest()
file = pathlib.Path(ssah_core.__file__).parent / "units" / "labels.py"
file.write_text(file.read_text() + "\\nNEW = 1\\n")
print(before, evidence.now()["code"])
"""


def test_rows_of_old_code_never_carry_the_stamp_of_new_code(tmp_path):
    """In a copy of the package, a module is edited after it was imported."""
    for name, text in sources.IMPORTED.items():
        (tmp_path / "ssah_core" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ssah_core" / name).write_bytes(text)
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    before, now = done.stdout.split(" ", 1)
    assert before == code_digest() and now.strip() == EDITED, done.stderr


def test_now_says_all_that_a_reader_may_ask():
    assert set(evidence.now()) == {"code", "arithmetic", "python", "torch", "transformers", "processor", "date"}
    assert evidence.now()["arithmetic"] == "portable"  # that of the tests
    json.dumps(evidence.now(), allow_nan=False)


def test_rows_are_by_the_code_that_measured_or_verified_them():
    rows = {"code": EARLIER, "arithmetic": "none", "date": "2026-01-01"}
    assert not is_by(rows, code_digest()) and is_by(verified(rows, []), code_digest())
    assert is_by({**rows, "code": code_digest()}, code_digest())


@pytest.mark.parametrize("stamp", [None, 3, "", "mine", "x" * 12 + "!"])
def test_a_stamp_that_no_code_gives_is_refused(stamp):
    with pytest.raises(ValueError, match="which no code gives: verify the rows, or measure anew"):
        is_by({"code": stamp}, code_digest())


def test_the_files_that_the_present_code_answers_for_are_counted():
    old = {"code": EARLIER, "arithmetic": "none", "date": "2026-01-01"}
    new = {**old, "code": code_digest(), "arithmetic": "portable"}
    assert count([old, {**old, "arithmetic": "strict"}, new, verified(old, [])]) == (4, 2, 1, "2026-01-01")


def test_code_without_its_source_is_not_known(monkeypatch):
    monkeypatch.setattr(sources, "IMPORTED", {})
    monkeypatch.setattr(sources, "read", dict)
    assert code_digest() == EDITED


def test_linked_folders_and_the_stub_are_code_and_an_editors_lock_is_none(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.py").write_text("x = 1")
    package = tmp_path / "package"
    package.mkdir()
    (package / "room").symlink_to(tmp_path / "real", target_is_directory=True)
    (package / "__init__.pyi").write_text("from .room.a import x")
    (package / ".#a.py").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(sources, "PACKAGE", package)
    assert sources.read() == {"__init__.pyi": b"from .room.a import x", "room/a.py": b"x = 1"}
