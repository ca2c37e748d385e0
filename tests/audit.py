"""What is known against the pinned versions, and under which licences they are: `make audit`. It needs the network, and
is no test.

Exit code 0: nothing is known against a pin, and every licence is accepted; 1: something is, or one is not; 2: it could
not be found out.
"""

import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping, Sequence
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
CLEAN, FOUND, UNKNOWN = 0, 1, 2
SERVICES = ("pypi", "osv")
KNOWN = "jinja2==2.10"
"""A version with vulnerabilities that have been known since 2019: a service that tells none of it does not answer."""

ACCEPTED = {"0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
            "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0",
            "Unlicense", "Zlib"}
"""Licences, as SPDX names them, under which a package may be used here."""
NAMES = {"apache": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0", "psfl": "PSF-2.0",
         "apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "bsd": "BSD-3-Clause",
         "bsd license": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
         "bsd 2-clause license": "BSD-2-Clause", "isc license": "ISC", "isc license (iscl)": "ISC",
         "mit license": "MIT", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
         "python software foundation license": "PSF-2.0"}
"""What packages without an SPDX expression call them."""


# -- licences ----------------------------------------------------------------------------------------------


def licence_of(metadata: Message) -> str:
    """A package's licence as an SPDX expression; "" where its metadata do not tell."""
    if metadata.get("License-Expression"):
        return metadata["License-Expression"].strip()
    classed = [name.split(" :: ")[-1] for name in metadata.get_all("Classifier", []) if name.startswith("License ::")]
    named = [name for name in classed if name != "OSI Approved"] or [(metadata.get("License") or "").strip()]
    return " AND ".join(NAMES.get(name.lower(), name) for name in named) if all(len(n) < 60 for n in named) else ""


def is_accepted(expression: str) -> bool:
    """Whether a licence is accepted: one of those that can be chosen, all of those that hold together."""
    if "(" in expression:  # which binds is not looked at: all must be accepted
        expression = re.sub(r"[()]", "", expression).replace(" OR ", " AND ")
    return any(all(part.strip() in ACCEPTED for part in choice.split(" AND ")) for choice in expression.split(" OR "))


def check_licences(pins: Mapping[str, str], installed: Iterable[Message]) -> list[str]:
    """A sentence for each pin whose licence is not accepted, or unknown; and for each that is not installed."""
    found = {(canonical(about["Name"]), about["Version"].partition("+")[0]): licence_of(about) for about in installed}
    told = []
    for name, version in sorted(pins.items()):
        licence = found.get((name, version))
        if licence is None:
            told.append(f"{name} {version} is not installed here, so that its licence is not known: run make env")
        elif not licence:
            told.append(f"{name} {version} does not tell its licence in its metadata: look at its source")
        elif not is_accepted(licence):
            told.append(f"{name} {version} is under {licence!r}, which is not among the accepted licences")
    return told


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(lock: Path) -> dict[str, str]:
    lines = [line.strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    return {canonical(name): version for name, version in (line.split("==") for line in lines
                                                           if line and not line.startswith("#"))}


# -- vulnerabilities ---------------------------------------------------------------------------------------


def read_answer(answer: str) -> tuple[list[str], list[str]]:
    """What pip-audit says as JSON: a sentence for each vulnerability, and the packages that it could not ask for."""
    told, unasked = [], []
    for package in json.loads(answer)["dependencies"]:
        if "skip_reason" in package:
            unasked.append(package["name"])
        for flaw in package.get("vulns", ()):
            names = ", ".join([flaw["id"], *flaw.get("aliases", ())])
            fixed = ", ".join(flaw.get("fix_versions", ())) or "no version yet"
            told.append(f"{package['name']} {package['version']} has {names}: mended in {fixed}")
    return told, unasked


def ask(program: Path, lock: Path, service: str) -> tuple[list[str], list[str]]:
    """The same of a file of pins. Raises ValueError, with the last line that it says, if there is no answer."""
    done = subprocess.run([program, "--requirement", lock, "--no-deps", "--disable-pip", "--format", "json",
                           "--progress-spinner", "off", "--vulnerability-service", service, "--timeout", "15"],
                          capture_output=True, text=True)
    try:
        return read_answer(done.stdout)
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ValueError(f"{service}: {last.partition('(')[0]:.160}") from None


def vulnerabilities(program: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Of the first service that answers. Raises ValueError if none does."""
    known, why = folder / "known.txt", []
    known.write_text(f"{KNOWN}\n", encoding="utf-8")
    for service in SERVICES:
        try:
            if ask(program, known, service)[0]:
                return ask(program, LOCK, service)
            why.append(f"{service} knows nothing of {KNOWN}")
        except ValueError as error:
            why.append(str(error))
    raise ValueError("; ".join(why))


def installed_program(folder: Path) -> Path:
    """pip-audit, in an environment of its own. Raises ValueError if the package registry does not give it."""
    venv.create(folder / "environment", with_pip=True)
    programs = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    done = subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", "pip-audit"], capture_output=True,
                          text=True)
    if done.returncode:
        raise ValueError(f"pip-audit cannot be installed: {(done.stderr.strip().splitlines() or ['no word'])[-1]:.160}")
    return programs / "pip-audit"


def main() -> int:
    pins = pins_of(LOCK)
    told, unasked = check_licences(pins, (found.metadata for found in distributions())), list[str]()
    with TemporaryDirectory() as folder:
        try:
            flaws, unasked = vulnerabilities(installed_program(Path(folder)), Path(folder))
            told += flaws
            missing = f"{len(unasked)} of {len(pins)} pins, the first {unasked[0]}" if unasked else ""
        except ValueError as error:
            missing = f"any of {len(pins)} pins ({error})"
    return say(told, missing, len(pins))


def say(told: Sequence[str], missing: str, count: int) -> int:
    """Print what was found out, and give the exit code."""
    for sentence in told:
        print(sentence)
    if missing:
        print(f"it could not be asked what is known against {missing}")
    if not told and not missing:
        print(f"{count} pins: nothing is known against them, and all licences are accepted")
    elif not told:
        print(f"{count} pins: all licences are accepted")
    return FOUND if told else UNKNOWN if missing else CLEAN


if __name__ == "__main__":
    raise SystemExit(main())
