"""Every public parameter refuses what it cannot take, in one sentence, and nothing is changed by a wrong call."""

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from right_calls import RIGHT, Table, call, parameters, public
from wrong_calls import EXEMPT, WRONG, Odd

import ssah_core as ssah

WAY = re.compile(r"\b(pass|give|choose|use|set|take|make|add|collect|check|shorten|lower|ask for|name|repeat|see|say|"
                 r"delete|get it|save|write|rename|put|leave|fill|remove|copy|measure|unset|cut|raise|convert|return|"
                 r"run|did you mean)\b")
"""What a way out begins with."""
LONGEST = 1200
"""Characters of a sentence: that of an unknown data set lists them all."""


def check_sentence(said: str, value: Any) -> None:
    """One line that tells the value, or what it is, and a way out."""
    assert "\n" not in said and 10 < len(said) < LONGEST and "Traceback" not in said, said
    assert WAY.search(said), f"no way out: {said}"
    if isinstance(value, Odd):
        assert re.search(value.says, said), said
        return
    tells = [repr(value)[:40], str(value)[:40], type(value).__name__, *_inside(value)]
    assert any(tell and tell in said for tell in tells) or (_is_empty(value) and "empty" in said), (value, said)


def _inside(value: Any) -> list[str]:
    inner = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return [text for part in inner for text in (repr(part)[:40], type(part).__name__)]


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | dict | str) and not value


def seal(model: torch.nn.Module, *folders: Path) -> tuple:
    """What a wrong call must leave: weights, hooks, modes, and every file."""
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        weights.update(name.encode() + value.numpy().tobytes())
    kept = [(str(file), file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest())
            for folder in folders for file in sorted(folder.rglob("*")) if not file.name.endswith(".lock")]
    return (weights.hexdigest(), toys.hooks(model), [module.training for module in model.modules()],
            [(weight.requires_grad, weight.grad is None) for weight in model.parameters()], kept)


@pytest.fixture(scope="module")
def table(module_cache) -> Table:
    (module_cache / "table").mkdir()
    return Table(module_cache / "table")


@pytest.fixture(autouse=True)
def nobody_is_asked(no_hub):
    """No hub, and no warning of what a right part of a wrong call does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -- the library -------------------------------------------------------------------------------------------


def test_every_public_parameter_is_in_the_table():
    named = {f"{name}({parameter})" for name, thing in public().items() for parameter in parameters(thing)
             if parameter != "self"}
    tried = {f"{name}({parameter})" for name, wrong in WRONG.items() for parameter in wrong}
    assert named - tried == set(EXEMPT) and tried <= named and len(named) >= 170


def test_there_are_enough_wrong_calls():
    assert len(CALLS) >= 750 and min(len(values) for wrong in WRONG.values() for values in wrong.values()) >= 1


UNTRIED = ("load_organism", "load_smollm", "measure_each", "evaluate")
"""Right calls that raise or fetch a model or need an extra: tests of their own make them."""


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in UNTRIED])
def test_the_right_calls_are_right(name, table):  # or a wrong call might be refused for something else
    call(public()[name], RIGHT[name](table), table)


CALLS = [pytest.param(name, parameter, value, id=f"{name}-{parameter}-{n}") for name, wrong in WRONG.items()
         for parameter, values in wrong.items() for n, value in enumerate(values)]


@pytest.mark.parametrize("name, parameter, value", CALLS)
def test_a_wrong_argument_is_refused(name, parameter, value, table, module_cache):
    given = RIGHT[name](table) | {parameter: value.make(table) if isinstance(value, Odd) else value}
    before = seal(table.model, module_cache)
    with pytest.raises(ValueError) as refused:
        call(public()[name], given, table)
    check_sentence(str(refused.value), value)
    assert seal(table.model, module_cache) == before


def test_an_unknown_or_missing_argument_is_pythons_own_error(table):
    with pytest.raises(TypeError, match="unexpected keyword argument 'tokenz'"):
        ssah.batches(toys.CHATS, table.tokenizer, tokenz="prompt")
