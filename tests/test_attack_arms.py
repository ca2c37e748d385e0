"""Arms of an attack: what each holds, where each is examined, and how they are counted like with like."""

from contextlib import nullcontext
from math import inf

import pandas
import pytest

from ssah_core import random_like
from ssah_core.records.claim_list import list_claims
from ssah_core.studies import finetuning_arms, primaries
from ssah_core.studies.arms import HeldArm
from ssah_core.studies.finetuning_arms import ARMS, MAIN_ARMS, TOLERANCE, Arms, Hold, attacked, holds, rewound
from ssah_core.studies.finetuning_attack import Attack
from ssah_core.studies.finetuning_tables import as_records, half_doses, over_prompts
from ssah_core.studies.subject import WAYS, Subject

SIZES = {way: {"SCU": 0.1, "UCU": 0.2, "RU": 0.2} for way in WAYS}


# -- what arms hold ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(subject) -> dict[str, Hold]:
    return {arm: hold() for arm, hold in holds(subject, SIZES, 1).items()}


def test_every_arm_of_an_attack_has_something_to_hold(made):
    assert set(made) == set(ARMS["all"]) and set(ARMS["main"]) < set(ARMS["primary"]) < set(ARMS["all"])
    assert made[HeldArm.NOTHING] == Hold(None) and made[HeldArm.NOTHING].share == 0.0


def test_arms_hold_like_numbers_of_units(subject, made):
    few, everything, scu = (made[arm].mask for arm in (HeldArm.FEW, HeldArm.ALL, HeldArm.SCU))
    assert few.count == scu.count + round(0.06 * subject.units.total) and scu & few == scu and few & everything == few
    like_few = [arm for arm in ARMS["all"] if arm not in (HeldArm.NOTHING, HeldArm.SCU, HeldArm.ALL, HeldArm.REST,
                                                          HeldArm.RANDOM_ALL)]
    assert {made[arm].mask.count for arm in like_few} == {few.count} and len(like_few) == 9
    assert made[HeldArm.RANDOM_ALL].mask.count == everything.count
    assert {made[arm].share for arm in like_few} == {few.count / subject.units.total}


def test_arms_that_hold_the_rest_hold_the_same_units_as_those_that_do_not(made):
    for with_rest, without in ((HeldArm.FEW_REST, HeldArm.FEW), (HeldArm.RANDOM_REST, HeldArm.RANDOM)):
        assert made[with_rest].mask == made[without].mask
    assert made[HeldArm.REST].mask.count == 0 == made[HeldArm.REST].share
    rest = {arm for arm, hold in made.items() if hold.rest == "freeze"}
    assert rest == {HeldArm.REST, HeldArm.FEW_REST, HeldArm.RANDOM_REST}


def test_random_units_are_those_of_the_order_and_others_are_not(subject, made):
    again, other = (holds(subject, SIZES, draw) for draw in (1, 2))
    assert made[HeldArm.RANDOM].mask == random_like(made[HeldArm.FEW].mask, 1) == again[HeldArm.RANDOM]().mask
    assert other[HeldArm.RANDOM]().mask != made[HeldArm.RANDOM].mask
    assert other[HeldArm.FEW]().mask == made[HeldArm.FEW].mask


# -- where an arm is examined -----------------------------------------------------------------------------


@pytest.fixture
def falling(subject, monkeypatch):
    """An attack whose loss after each step is given: `falling(losses)`. Nobody is asked anything."""
    monkeypatch.setattr(Subject, "examine", lambda self, questions, **about: [{**about, "metric": "asr"}])

    class Falling(Attack):
        doses, looks, done = (1, 2, 4), (1, 2, 3, 4, 5, 6, 8), ()

        def loss(self, model):
            return self.given[self.done[-1] - 1]

        def run(self, look=None, holding=nullcontext, checks=(), model=None, done=0):
            for step in checks or self.doses:
                object.__setattr__(self, "done", (*self.done, step))
                if look(step, subject):
                    break
            return subject

    def make(*losses: float) -> Falling:
        fight = Falling(subject, "new")
        object.__setattr__(fight, "given", losses)
        return fight

    return make


NOTHING = {1: 5.0, 2: 3.0, 4: 1.0}


def examined(arms: Arms) -> list[tuple]:
    return [(row["dose"], row["steps"], row["reached"]) for row in arms.rows if row["metric"] == "loss"]


def test_nothing_sets_the_losses_at_its_own_doses(falling):
    arms = Arms(falling(5.0, 3.0, 2.0, 1.0, 0.5), by_loss=True)
    arms.train(HeldArm.NOTHING, lambda model: nullcontext(), 0.0)
    assert examined(arms) == [(1, 1, True), (2, 2, True), (4, 4, True)] and arms.losses == NOTHING
    assert arms.fight.done == (1, 2, 4)


@pytest.mark.parametrize("losses, wanted, ends", [
    ((6.0, 5.0, 4.0, 3.0, 2.0, 1.0), [(1, 2, True), (2, 4, True), (4, 6, True)], 6),
    ((0.5,), [(1, 1, True), (2, 1, True), (4, 1, True)], 1),  # it learns faster: all at once
    ((5 + TOLERANCE, 3 + 0.99 * TOLERANCE, 1.01, 1 + 0.99 * TOLERANCE), [(1, 1, True), (2, 2, True), (4, 4, True)], 4),
    ((5 + 1.01 * TOLERANCE, 3.1, 3.0, 2.0, 1.1, 1.0), [(1, 2, True), (2, 3, True), (4, 6, True)], 6),
    ((9.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0), [(1, 2, True), (2, 8, False), (4, 8, False)], 8),
    ((9.0,) * 8, [(1, 8, False), (2, 8, False), (4, 8, False)], 8)])
def test_by_loss_an_arm_is_examined_where_it_first_has_that_of_nothing_or_at_the_end_as_not_reached(
        falling, losses, wanted, ends):
    arms = Arms(falling(*losses), losses=dict(NOTHING), by_loss=True)
    arms.train(HeldArm.FEW, lambda model: nullcontext(), 0.1)
    assert examined(arms) == wanted and arms.fight.done[-1] == ends and arms.losses == NOTHING
    for row in arms.rows:
        if row["metric"] == "loss" and row["reached"]:
            assert row["value"] <= NOTHING[row["dose"]] + TOLERANCE
        assert row["arm"] == "SCU + 6 % CU" and row["held"] == 0.1


def test_where_nothing_is_to_be_learned_every_arm_is_examined_after_as_many_steps(falling):
    arms = Arms(falling(9.0, 8.0, 7.0, 6.0))
    arms.train(HeldArm.FEW, lambda model: nullcontext(), 0.1)
    assert examined(arms) == [(1, 1, True), (2, 2, True), (4, 4, True)] and arms.fight.done == (1, 2, 4)


def test_what_else_is_done_is_done_at_every_dose_with_its_loss(falling):
    arms, seen = Arms(falling(5.0, 3.0, 2.0, 1.0)), []
    arms.train(HeldArm.NOTHING, lambda model: nullcontext(), 0.0, lambda dose, now, loss: seen.append((dose, loss)))
    assert seen == [(1, 5.0), (2, 3.0), (4, 1.0)]


# -- an attack -------------------------------------------------------------------------------------------


def test_units_are_put_back_only_where_nothing_is_examined(loaded, monkeypatch):
    put_back = []
    monkeypatch.setattr(finetuning_arms, "rewound", lambda *args: put_back.append(args) or rewound(*args))
    monkeypatch.setitem(ARMS, "main", (HeldArm.NOTHING,))
    table = pandas.DataFrame(attacked(0, "tiny", "new", 0, "main", SIZES))
    doses = Attack(loaded, "new").doses
    assert sorted(table[table.arm == "rewound"].dose.unique()) == list(doses) and len(put_back) == len(doses)


@pytest.mark.parametrize("attack, arms", [("new", "main"), ("benign", "all")])
def test_an_attack_gives_every_arm_at_every_dose_with_the_outcomes_of_each_prompt(loaded, attack, arms):
    table = pandas.DataFrame(attacked(0, "tiny", attack, 1, arms, SIZES))
    fight = Attack(loaded, attack, 1)
    more = {HeldArm.START, HeldArm.REWOUND} | ({HeldArm.TWO_PHASES} if arms == "all" else set())
    assert set(table.arm) == set(ARMS[arms]) | more
    for arm, rows in table.groupby("arm"):
        doses = {HeldArm.START: (0,), HeldArm.TWO_PHASES: fight.doses[-1:]}.get(arm, fight.doses)
        assert set(rows.dose) == set(doses), arm
        assert not rows.duplicated(["dose", "metric"]).any()
        at_the_end = set(rows[rows.dose == max(doses)].metric)
        assert {"asr", "harm_right", "asr_unseen", "benign", "utility", "morals", "loss"} <= at_the_end
        assert ("new" in at_the_end) == (attack == "new")
    assert set(table.order) == {1} and set(table.lr) == {fight.lr} and (table.steps <= fight.looks[-1]).all()
    assert ((table.outcomes == "") == table.metric.isin(["utility", "loss"])).all()


def test_unknown_arms_are_refused():
    with pytest.raises(ValueError, match="arms='some' is unknown: choose one of main, rest, primary, all"):
        attacked(0, "tiny", "new", 0, "some", SIZES)


def test_where_there_are_no_morals_that_control_is_left_out(loaded, monkeypatch):
    sets = {name: rows for name, rows in loaded.sets.items() if name != "morals"}
    monkeypatch.setitem(loaded.__dict__, "sets", sets)
    monkeypatch.setitem(ARMS, "main", (HeldArm.NOTHING, HeldArm.OTHER))
    assert HeldArm.OTHER not in set(pandas.DataFrame(attacked(0, "tiny", "benign", 0, "main", SIZES)).arm)


def test_every_arm_that_a_claim_compares_is_measured_under_its_attack():
    slugs = {"benign": {*ARMS["primary"], HeldArm.REWOUND}, "new": {*ARMS["main"], HeldArm.REWOUND}}
    for claim in (claim for claim in list_claims() if claim.record.startswith("table2/")):
        attack, pair = claim.record.split("/")[1:3]
        known = {arm.slug for arm in slugs.get(attack, set(MAIN_ARMS))}
        assert set(pair.split("_vs_")) <= known, claim.id
    assert set(primaries.PILLARS) == {claim.pillar for claim in list_claims() if claim.primary}


# -- tables ------------------------------------------------------------------------------------------------


def rows_of(arm: str, values: dict[int, float], order: int = 0, metric: str = "asr", seed: int = 0,
            missed: tuple = ()) -> list[dict]:
    return [{"attack": "new", "seed": seed, "order": order, "arm": arm, "dose": dose, "steps": dose,
             "reached": dose not in missed, "metric": metric, "value": value, "n": 9 - dose, "judge": "j",
             "outcomes": "8"} for dose, value in values.items()]


def test_arms_are_held_against_each_other_dose_by_dose_then_over_orders():
    rows = [*rows_of("nothing", {0: 5.0, 1: 60.0, 2: 80.0}), *rows_of("SCU", {1: 50.0, 2: 40.0}),
            *rows_of("nothing", {1: 60.0, 2: 90.0}, order=1), *rows_of("SCU", {1: 60.0, 2: 80.0}, order=1),
            *rows_of("nothing", {1: 1.0, 2: 2.0}, seed=1), *rows_of("SCU", {1: 2.0, 2: 3.0}, seed=1)]
    found = as_records(pandas.DataFrame(rows)).set_index(["record", "seed"])
    assert found.value["table2/new/scu_vs_nothing/asr", 0] == ((50 - 60 + 40 - 80) / 2 + (0 - 10) / 2) / 2
    assert found.value["table2/new/nothing_vs_scu/asr", 0] == 15.0 and found.value["table2/new/scu_vs_scu/asr", 0] == 0
    assert found.value["table2/new/scu_vs_nothing/asr", 1] == 1.0
    assert found.orders["table2/new/scu_vs_nothing/asr", 0] == 2 and found.n["table2/new/scu_vs_nothing/asr", 0] == 7


def test_a_dose_that_an_arm_did_not_reach_does_not_count():
    rows = [*rows_of("nothing", {1: 60.0, 2: 80.0}), *rows_of("SCU", {1: 50.0, 2: 99.0}, missed=(2,)),
            *rows_of("SCU + 6 % CU", {1: 9.0, 2: 9.0}, missed=(1, 2))]
    found = as_records(pandas.DataFrame(rows)).set_index("record").value
    assert found["table2/new/scu_vs_nothing/asr"] == -10.0 and not any("scu_6cu" in id for id in found.index)


def test_what_is_asked_at_the_last_dose_counts_there_alone():
    rows = [row for metric in ("utility", "benign") for arm, values in (
        ("nothing", {1: 10.0, 2: 50.0}), ("SCU", {1: 90.0, 2: 40.0})) for row in rows_of(arm, values, metric=metric)]
    found = as_records(pandas.DataFrame(rows)).set_index("record").value
    assert found["table2/new/scu_vs_nothing/utility"] == -10.0
    assert found["table2/new/scu_vs_nothing/benign"] == (80 - 10) / 2


def test_rows_of_an_earlier_study_are_refused():
    with pytest.raises(ValueError, match="no outcomes of single prompts, .*: measure them anew$"):
        as_records(pandas.DataFrame(rows_of("nothing", {1: 1.0})).drop(columns="outcomes"))
    with pytest.raises(ValueError, match="no outcomes of single prompts"):
        as_records(pandas.DataFrame(rows_of("nothing", {1: 1.0, 2: 2.0})).assign(outcomes=["", "0101"], metric="asr"))


def test_the_dose_at_which_half_of_the_requests_are_answered():
    rows = [*rows_of("start", {0: 10.0}), *rows_of("nothing", {1: 30.0, 2: 70.0}), *rows_of("SCU", {1: 10.0, 2: 49.0}),
            *rows_of("rewound", {1: 90.0, 2: 95.0})]
    found = half_doses(pandas.DataFrame(rows)).set_index("arm").value
    assert found["nothing"] == pytest.approx(2 ** 0.5) and found["SCU"] == inf and found["rewound"] == 0.5


def test_of_one_model_the_interval_is_over_its_prompts():
    def row(arm, dose, outcomes):
        return {"arm": arm, "metric": "asr", "order": 0, "dose": dose, "n": 8, "outcomes": outcomes}

    rows = pandas.DataFrame([row("a", 1, "c0"), row("a", 2, "f0"), row("b", 1, "c0"), row("b", 2, "ff"),
                             row("a", 0, "ff")])  # what is before the attack does not count
    found = over_prompts(rows, "a", "b")
    assert found.mean == -25 and found.n == 8 and -50 <= found.low < -25 < found.high <= 0
    assert over_prompts(rows[::-1], "a", "b") == found
    nothing = over_prompts(rows[rows.dose == 1], "a", "b")
    assert (nothing.mean, nothing.low, nothing.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="'a' was looked at 2 times and 'b' 1 times"):
        over_prompts(rows[:3], "a", "b")
    late = rows.assign(reached=rows.dose < 2)  # after the second dose it was only asked what is there
    assert over_prompts(late, "a", "b") == nothing
    late.loc[1, "reached"] = True
    with pytest.raises(ValueError, match="'a' was looked at 2 times and 'b' 1 times"):
        over_prompts(late, "a", "b")
    with pytest.raises(ValueError, match="1 times and 'b' 1 times: pass rows of both after the same doses"):
        over_prompts(rows.loc[[0, 3]], "a", "b")
