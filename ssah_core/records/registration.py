"""The registration: which claims are primary, by which rules and on which organisms, written down before these exist.

    python -m ssah_core.records.registration           write figures/registration.json
    python -m ssah_core.records.registration --check   write nothing; exit with 1 if it is not as the code has it

Organisms 0 to 4 are the *development* set: every choice was made on them. The *test* set was raised by frozen code
after the registration, none left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..arguments import Parser
from . import cache, evidence, paths
from .claim_list import CLAIMS
from .measurements import files_of
from .row_files import DAMAGE

DEVELOPMENT = (0, 1, 2, 3, 4)
TEST = tuple(range(10, 30))
ORDERS = (0, 1, 2)
"""Orders of an attack's chats that every test organism is attacked in."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m ssah_core.records.registration", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is not as the code has it")
    if parser.parse_args(argv).check:
        registered()
        return 0
    print(f"registered: {len(register()['claims'])} claims in {paths.registration()}", flush=True)
    return 0


def register() -> dict[str, Any]:
    """Write the registration of today's claims. Raises ValueError if a test organism has rows already."""
    there = files_of(TEST)
    if there:
        raise ValueError(f"{there[0].name} and {len(there) - 1} more files hold rows of test organisms: a registration "
                         "after the rows is none, so raise new organisms, of other seeds")
    made = {"date": evidence.now()["date"], "code": evidence.known_code(), "development": list(DEVELOPMENT),
            "test": list(TEST), "orders": list(ORDERS), "claims": _claims()}
    cache.write_json(paths.registration(), made)
    return made


def registered() -> dict[str, Any]:
    """The registration. Raises ValueError if there is none, it is damaged, or the primary claims are not those that it
    has: none may be edited, added or dropped."""
    file = paths.registration()
    try:
        kept = cache.read_json(file)
        known = {claim["id"]: claim for claim in kept["claims"]}
        kept["date"], kept["code"], kept["test"], kept["orders"]
    except DAMAGE as error:
        raise ValueError(f"{file} is no registration ({error}): take the committed one") from error
    ours = {claim["id"]: claim for claim in _claims()}
    other = [id for id in {**ours, **known} if ours.get(id) != known.get(id)]
    if other:
        raise ValueError(f"primary claim {other[0]!r} is not registered as it stands: put it back as {file.name} has "
                         "it, or make it secondary if it is not there")
    return kept


def _claims() -> list[dict[str, Any]]:
    return [cache.plain(claim.described()) for claim in CLAIMS if claim.primary]


if __name__ == "__main__":
    sys.exit(main())
