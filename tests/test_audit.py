"""What `make audit` makes of licences and of answers, on made-up metadata; and the licences of what is here."""

import json
from email.message import Message
from importlib.metadata import distributions

import audit
import pytest


def metadata(name: str = "toy", version: str = "1.0", **fields: str | list[str]) -> Message:
    made = Message()
    made["Name"], made["Version"] = name, version
    for field, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            made[field.replace("_", "-")] = value
    return made


def classified(*names: str) -> Message:
    return metadata(Classifier=["Programming Language :: Python", *(f"License :: OSI Approved :: {n}" for n in names)])


@pytest.mark.parametrize("about", [
    metadata(License_Expression="MIT"), metadata(License_Expression="Apache-2.0 OR BSD-2-Clause"),
    metadata(License_Expression="MIT OR GPL-3.0-only"), metadata(License_Expression="BSD-3-Clause AND 0BSD AND Zlib"),
    metadata(License_Expression="Apache-2.0 AND Apache-2.0 WITH LLVM-exception"), metadata(License="MIT"),
    metadata(License="Apache 2.0"), classified("MIT License"), classified("BSD License", "Apache Software License"),
    metadata(License="UNKNOWN", Classifier="License :: OSI Approved :: ISC License (ISCL)"),
    metadata(License="Copyright (c) 2020 " + "x" * 900, Classifier="License :: OSI Approved :: BSD License"),
    metadata(License_Expression="(MIT OR Apache-2.0) AND Zlib")])
def test_a_licence_that_is_accepted_is_nothing_to_tell(about):
    assert audit.check_licences({"toy": "1.0"}, [about]) == []


@pytest.mark.parametrize("about, word", [
    (metadata(License_Expression="GPL-3.0-only"), "GPL-3.0-only"),
    (metadata(License_Expression="MIT AND AGPL-3.0-only"), "AGPL"),
    (metadata(License_Expression="(MIT OR GPL-2.0-only) AND Zlib"), "GPL-2.0-only"),
    (metadata(License_Expression="Apache-2.0 WITH Strange-exception"), "Strange"),
    (classified("GNU General Public License v3 (GPLv3)"), "GPLv3"),
    (classified("MIT License", "Other/Proprietary License"), "Proprietary"),
    (metadata(License="Free for non-commercial use"), "non-commercial"), (metadata(), "does not tell"),
    (metadata(License="x" * 900), "does not tell"), (metadata(License="MIT-like"), "MIT-like"),
    (metadata(version="2.0", License="MIT"), "not installed"), (metadata("other", License="MIT"), "not installed")])
def test_any_other_licence_is_named(about, word):
    (sentence,) = audit.check_licences({"toy": "1.0"}, [about])
    assert sentence.startswith("toy 1.0 ") and word in sentence


def test_names_and_builds_do_not_hide_a_package():
    assert audit.check_licences({"jupyter-core": "1.0"}, [metadata("Jupyter_Core", "1.0+cpu", License="MIT")]) == []


def test_the_licences_of_what_is_installed_here_are_accepted():
    pins = audit.pins_of(audit.LOCK)
    told = audit.check_licences(pins, [found.metadata for found in distributions()])
    assert len(pins) > 100 and [sentence for sentence in told if "not installed" not in sentence] == []


ANSWER = {"dependencies": [
    {"name": "toy", "version": "1.0", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}]},
    {"name": "sound", "version": "2.0", "vulns": []}, {"name": "hidden", "skip_reason": "not found on PyPI"}]}


def test_vulnerabilities_are_told_and_what_was_not_asked_is_not_sound():
    told, unasked = audit.read_answer(json.dumps(ANSWER))
    assert told == ["toy 1.0 has PYSEC-1, CVE-1: mended in 1.1"] and unasked == ["hidden"]


@pytest.mark.parametrize("told, missing, code, words", [
    ([], "", audit.CLEAN, "3 pins: nothing is known against them"),
    (["toy has a flaw"], "", audit.FOUND, "toy has a flaw"),
    ([], "any of 3 pins (no answer)", audit.UNKNOWN, "could not be asked"),
    (["a"], "any", audit.FOUND, "could not be")])
def test_it_is_clean_only_if_all_was_asked(capsys, told, missing, code, words):
    assert audit.say(told, missing, 3) == code
    said = capsys.readouterr().out
    assert words in said and ("nothing is known" in said) == (code == audit.CLEAN)


def test_a_service_that_knows_nothing_of_what_is_known_does_not_answer(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(audit, "ask", lambda program, lock, service: asked.append((lock.name, service)) or ([], ["x"]))
    with pytest.raises(ValueError, match="pypi knows nothing of jinja2==2.10; osv knows nothing"):
        audit.vulnerabilities(tmp_path / "pip-audit", tmp_path)
    assert asked == [("known.txt", "pypi"), ("known.txt", "osv")]  # and not one pin is asked for
    monkeypatch.setattr(audit, "ask", lambda program, lock, service: (["a flaw"], []) if lock.name == "known.txt"
                        and service == "osv" else ([], []) if service == "osv" else no_route())
    assert audit.vulnerabilities(tmp_path / "pip-audit", tmp_path) == ([], [])


def no_route():
    raise ValueError("pypi: no route")
