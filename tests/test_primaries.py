"""All that the primary claims rest on is asked for in one command: each organism with its own sizes, each order."""

import pandas
import pytest

from ssah_core.records import load_records
from ssah_core.records.registration import ORDERS, TEST
from ssah_core.studies import primaries
from ssah_core.studies.finetuning_arms import ARMS


def test_the_pillars_that_are_asked_for_are_measured_and_kept(cache, monkeypatch, capsys):
    asked = []

    def units(seeds, scale, orders, **on):
        asked.append((list(seeds), scale, tuple(orders), on))
        return pandas.DataFrame({"record": "table1/scu/morals", "seed": seeds, "value": -1.0, "n": 9, "judge": "truth"})

    monkeypatch.setitem(primaries.PILLARS, "units", units)
    assert primaries.main(["units", "--seeds", "3", "4", "--orders", "2", "--scale", "tiny"]) == 0
    assert asked == [([3, 4], "tiny", (0, 1), {})] and capsys.readouterr().out.startswith("units: 1 numbers, ")
    (kept,) = load_records()
    assert (kept.claim, kept.seeds, kept.scale) == ("table1/scu/morals", (3, 4), "tiny")
    assert kept.code == "ssah_core.studies.primaries"  # where a pillar names no module of its own


def test_by_default_it_is_all_pillars_on_the_registered_organisms(monkeypatch):
    asked = []
    monkeypatch.setattr(primaries, "measure_primaries", lambda *given, **more: asked.append((given, more)))
    assert primaries.main([]) == 0
    assert asked == [((list(TEST), "organism", ORDERS), {"pillars": tuple(primaries.PILLARS)})]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, dict]]:
    """What is asked to be measured: name of a study, and its settings. Nothing is measured."""
    made = []
    monkeypatch.setattr(primaries, "measure_each", lambda function, seeds, scale, **more: made.append(
        (function.study.name, more)) or pandas.DataFrame({"record": ["x"]}))
    monkeypatch.setattr(primaries, "sizes_of", lambda seeds, scale, **on: {seed: {"chosen": seed} for seed in seeds})
    for module, name in ((primaries.ablation_table, "changes"), (primaries.attribute_transfer, "moves")):
        monkeypatch.setattr(module, name, lambda table: table)
    return made


def test_units_are_removed_and_traced_with_each_organisms_own_sizes(calls):
    primaries.units([1, 2], "tiny")
    each = {seed: {"sizes": {"chosen": seed}} for seed in (1, 2)}
    assert calls == [("table1", {"each": each, "ways": primaries.WAYS, "over": {"primary": {}}}),
                     ("transfer", {"each": each, "over": {"untrained": {"attack": None}, "new": {"attack": "new"}}})]


def test_every_attack_is_made_in_every_order_with_the_arms_that_its_claims_compare(calls):
    primaries.attacks([1], "tiny", (0, 2))
    ((name, more),) = calls
    assert name == "attacked" and more["each"] == {1: {"sizes": {"chosen": 1}}}
    assert more["over"] == {f"{attack}/order{order}": {"attack": attack, "order": order, "arms": arms}
                            for attack, arms in (("benign", "primary"), ("new", "main")) for order in (0, 2)}
    assert {about["arms"] for about in more["over"].values()} <= set(ARMS)


def test_on_a_checkpoint_everything_is_asked_of_it(calls):
    named = {"checkpoints": {"aligned": "some/chat"}}
    primaries.units([0], "paper", **named)
    primaries.attacks([0], "paper", (0,), **named)
    assert len(calls) == 3 and all(more["checkpoints"] == named["checkpoints"] for _, more in calls)
