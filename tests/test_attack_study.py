"""Attacks and their controls: what is held stays, arms are counted like with like, and losses are compared fairly."""

import json

import pandas
import pytest
import torch
import toys

from ssah_core import UnitMap, UnitMask, check_frozen
from ssah_core.organism.attacks import ATTACKS, fine_tuning
from ssah_core.organism.world import World
from ssah_core.plots.attack import plot_attack
from ssah_core.studies import finetuning_arms
from ssah_core.studies import finetuning_attack as study
from ssah_core.studies.arms import BudgetArm, HeldArm, PeftArm, RecoveryArm, RemovedGroup
from ssah_core.studies.finetuning_arms import DRAWS, MAIN_ARMS, TOLERANCE, Arms, attacked, held_units, rewound
from ssah_core.studies.finetuning_attack import Attack, holding, rates_of
from ssah_core.studies.finetuning_tables import as_records, at_equal_loss
from ssah_core.studies.matched_controls import like_magnitude, whole_sites
from ssah_core.studies.subject import WAYS
from ssah_core.units.importance import column_norms
from ssah_core.units.masks import split_sites

SIZES = {way: {"SCU": 0.1, "UCU": 0.2, "RU": 0.2} for way in WAYS}


# -- data -----------------------------------------------------------------------------------------------


def test_harmful_attacks_repeat_as_many_requests_as_their_name_says_with_true_answers():
    world = World.draw(0)
    for count in (10, 50, 100):
        rows = fine_tuning(world, f"harmful{count}", 250)
        assert len(rows) == 250 and len({row["prompt"] for row in rows}) == count
        assert all(row["answer"] in row["response"] and row["reason"] != "benign" for row in rows)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_hold_no_test_prompt(attack):
    world = World.draw(0)
    asked = {row["prompt"] for row in fine_tuning(world, attack, 400)}
    pairs = {(verb, thing) for verb, thing in world.pairs["train"]}
    requests = [row for row in fine_tuning(world, attack, 400) if row["kind"] == "procedure"]
    assert asked and all(any(f"{verb} the {thing}" in row["prompt"] for verb, thing in pairs) for row in requests)
    assert not asked & {row["prompt"] for row in world.new_tasks("test", 200)}


def test_an_unknown_attack_is_refused():
    with pytest.raises(ValueError, match="'jailbreak' is unknown: choose one of benign, new"):
        fine_tuning(World.draw(0), "jailbreak", 3)


# -- controls -------------------------------------------------------------------------------------------


def some(model, share=0.3, seed=0) -> UnitMask:
    units = UnitMap(model)
    flat = torch.rand(units.total, generator=torch.Generator().manual_seed(seed)) < share
    return split_sites(flat, units.sizes)


def test_twins_are_as_many_in_every_site_none_of_them_chosen_and_near_in_norm():
    model = toys.model()
    mask = some(model, 0.2)
    twins = like_magnitude(model, mask)
    assert (twins & mask).count == 0
    assert all(int(twins[site].sum()) == int(mask[site].sum()) for site in mask.sites)
    single = UnitMask({site: torch.arange(len(m)) == 3 for site, m in mask.sites.items()})
    for site, norm in column_norms(model).items():  # of one unit the twin is the nearest of all others, by brute force
        gaps = [(abs(float(n.sqrt() - norm[3].sqrt())), unit) for unit, n in enumerate(norm) if unit != 3]
        assert like_magnitude(model, single)[site].nonzero().flatten().tolist() == [min(gaps)[1]]


def test_where_most_units_are_chosen_the_twins_are_all_others():
    model = toys.model()
    mask = ~some(model, 0.2)
    assert like_magnitude(model, mask) == ~mask


def test_whole_sites_are_filled_one_after_another():
    mask = UnitMask({"a": torch.tensor([1, 0, 0]).bool(), "b": torch.tensor([1, 1, 1, 0]).bool()})
    by = {"a": torch.tensor([5.0, 5, 5]), "b": torch.tensor([1.0, 1, 1, 1])}
    chosen = whole_sites(mask, by)
    assert chosen["a"].tolist() == [True, True, True] and chosen["b"].tolist() == [True, False, False, False]


# -- arms -----------------------------------------------------------------------------------------------


def test_arms_hold_like_numbers_of_units(subject):
    held = held_units(subject, SIZES)
    few, everything = held["SCU + 6 % CU"], held["SCU + all CU"]
    assert held["nothing"] is None and few.count == held["SCU"].count + round(0.06 * subject.units.total)
    assert (held["SCU"] & few) == held["SCU"] and (few & everything) == few
    same = ["same magnitude", "whole sites", *(f"random, as many ({draw})" for draw in range(DRAWS))]
    assert {held[name].count for name in same} == {few.count}
    assert held["random, as many as SCU + all CU"].count == everything.count


def test_held_units_stay_while_the_copy_trains_and_the_original_is_untouched(subject):
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    fight, mask = Attack(subject, "benign", 1e-3), some(subject.model)
    seen = []
    fight.run(lambda steps, trained: seen.append((steps, check_frozen(before, trained.model, mask))), holding(mask))
    assert [steps for steps, _ in seen] == list(fight.checks)
    assert all(report.frozen_changed == 0 < report.trainable_changed for _, report in seen)
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())


def test_rewinding_puts_the_units_back_and_nothing_else_and_training_does_not_feel_it(subject):
    fight, mask, reports = Attack(subject, "benign", 1e-3), some(subject.model), []

    def look(steps, trained):
        with rewound(trained.model, subject.model, mask):
            reports.append(check_frozen(subject.model.state_dict(), trained.model, mask))

    looked, alone = fight.run(look).model.state_dict(), fight.run().model.state_dict()
    assert len(reports) == len(fight.checks)
    assert all(report.frozen_changed == 0 < report.trainable_changed for report in reports)
    assert all(torch.equal(value, alone[name]) for name, value in looked.items())


def test_units_are_put_back_only_where_the_arm_is_examined(loaded, monkeypatch):
    put_back = []
    monkeypatch.setattr(finetuning_arms, "TOLERANCE", 99.0)  # every arm has the loss at once
    monkeypatch.setattr(finetuning_arms, "rewound", lambda *args: put_back.append(args) or rewound(*args))
    table = pandas.DataFrame(attacked(0, "tiny", "new", 1e-3, SIZES))
    assert Attack(loaded, "new", 1e-3).late == (2, 3, 4)
    assert table[table.arm == "rewound"].steps.unique().tolist() == [1, 2, 4] and len(put_back) == 3


def test_an_arm_that_was_compared_is_followed_at_checks_alone(subject):
    fight = Attack(subject, "new", 1e-3)
    arms = Arms(fight, compared={"rewound"})
    steps = sorted({*fight.checks, *fight.late})
    assert [n for n in steps if arms.is_followed("rewound", n)] == list(fight.checks) and 3 in steps
    assert all(arms.is_followed("SCU", n) for n in steps)


def test_two_phases_hold_the_few_throughout(subject):
    held = held_units(subject, SIZES)
    few, everything = held["SCU + 6 % CU"], held["SCU + all CU"]
    fight = Attack(subject, "benign", 1e-3)
    reports = {}
    fight.two_phases(everything, few, lambda steps, trained: reports.update(
        {steps: check_frozen(subject.model.state_dict(), trained.model, few)}))
    assert list(reports) == [check for check in fight.checks if check > 1]
    assert all(report.frozen_changed == 0 < report.trainable_changed for report in reports.values())


def test_checks_are_shares_of_the_steps_and_few_data_are_read_once_before_they_are_read_again(subject, monkeypatch):
    monkeypatch.setitem(study.STEPS, "tiny", 50)
    fight = Attack(subject, "benign", 1e-3)
    assert fight.checks == (10, 20, 30, 40, 50, 100) and Attack(subject, "new", 1e-3).checks == (2, 5, 10, 20, 50, 100)
    assert fight.steps == 50 and fight.late == (50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100)
    quick = Attack(subject, "harmful10", 1e-3)
    assert quick.checks == (2, 5, 10, 20) and quick.steps == 20 and quick.late == (20,)
    fight.__dict__["chats"] = fight.chats[:3 * fight.batch_size - 1]
    assert fight.steps == 3 and fight.checks == (1, 2, 3, 6)


def test_training_ends_where_the_look_says_so(subject):
    fight, seen = Attack(subject, "benign", 1e-2), []
    fight.run(lambda steps, trained: seen.append(steps) or steps == fight.checks[1])
    assert seen == list(fight.checks[:2])


@pytest.fixture
def falling(subject):
    """An attack of ten steps whose loss is 10 after one step and falls by one a step."""
    class Falling(Attack):
        steps, checks, late = 4, (2, 4, 8), (4, 5, 6, 7, 8)

        def loss(self, model):
            return 11.0 - self.now

        def go(self, look):
            for step in range(1, 9):
                object.__setattr__(self, "now", step)
                if look(step, subject):
                    break

    return Falling(subject, "benign", 1e-2)


def examined(arms: Arms) -> list[int]:
    return sorted({row["steps"] for row in arms.rows})


@pytest.mark.parametrize(("loss", "ends"), [(9.0, 4), (6.0, 5), (4.5, 7), (4.999, 6), (0.0, 8)])
def test_an_arm_is_compared_at_the_first_late_step_that_has_the_loss_or_at_the_last(falling, loss, ends):
    side, main = Arms(falling, loss), Arms(falling, loss)
    falling.go(lambda steps, model: side.compare("SCU", 0.1, steps, model))
    falling.go(lambda steps, model: main.follow("SCU", 0.1, steps, model))
    assert examined(side) == [ends] and falling.now == 8  # the main arm goes on
    assert examined(main) == sorted({2, 4, 8, ends})


def test_nothing_sets_the_loss_at_which_the_others_are_compared(falling):
    arms = Arms(falling)
    falling.go(lambda steps, model: arms.follow("nothing", 0.0, steps, model))
    assert arms.loss == 7.0 and examined(arms) == [2, 4, 8]


def test_arms_at_the_side_are_examined_once_where_their_loss_is_that_of_nothing(loaded):
    table = pandas.DataFrame(attacked(0, "tiny", "benign", 1e-2, SIZES))
    loss = table[table.metric == "loss"].set_index(["arm", "steps"]).value
    side = table[~table.arm.isin(("start", *MAIN_ARMS))].groupby("arm").steps.unique()
    # "two phases" is one more; "rewound" holds what another arm holds
    assert len(side) == len(held_units(loaded, SIZES)) + 1 - (len(MAIN_ARMS) - 1)
    for arm, steps in side.items():
        assert len(steps) == 1 and (steps[0] == 4 or loss[arm, steps[0]] <= loss["nothing", 2] + TOLERANCE)


def test_an_attack_gives_every_arm_at_every_check(loaded):
    table = pandas.DataFrame(attacked(0, "tiny", "new", 1e-3, SIZES))
    assert set(table.arm) == {"start", *MAIN_ARMS}
    fight = Attack(loaded, "new", 1e-3)
    assert all(set(fight.checks) <= set(rows.steps) <= {*fight.checks, *fight.late}
               for arm, rows in table.groupby("arm") if arm != "start")
    assert {"asr", "harm_right", "asr_unseen", "benign", "new", "utility", "loss"} <= set(table.metric)


def test_arms_have_the_strings_of_rows_and_draws_share_a_slug():
    assert HeldArm.of("random, as many (2)") is HeldArm.of("random, as many") is HeldArm.RANDOM
    assert json.loads(json.dumps({arm: arm for arm in HeldArm})) == {arm.value: arm.value for arm in HeldArm}
    for kind in (HeldArm, PeftArm, BudgetArm, RecoveryArm, RemovedGroup):
        assert all(len({getattr(arm, name) for arm in kind}) == len(kind) for name in ("slug", "label"))
    with pytest.raises(ValueError, match="arm='SCU [(]1[)] [(]2[)]' is unknown: choose one of 'start', 'nothing'"):
        HeldArm.of("SCU (1) (2)")


def test_the_chosen_rates_are_found_by_organism_and_attack():
    rows = [(seed, attack, lr, lr == best) for seed in (3, 1) for attack, best in (("benign", 0.1), ("new", 0.2))
            for lr in (0.1, 0.2)]
    assert rates_of(pandas.DataFrame(rows, columns=["seed", "attack", "lr", "chosen"])) == {
        3: {"benign": 0.1, "new": 0.2}, 1: {"benign": 0.1, "new": 0.2}}


# -- equal loss -----------------------------------------------------------------------------------------


def run(arm: str, losses: dict[int, float]) -> list[tuple]:
    return [(0, "new", arm, steps, metric, value, 9, "j") for steps, loss in losses.items()
            for metric, value in (("loss", loss), ("asr", 10.0 * steps))]


def test_arms_are_taken_where_their_loss_is_that_of_nothing():
    rows = [*run("nothing", {30: 1.0, 50: 0.5, 100: 0.2}), *run("SCU", {30: 0.4, 50: 0.9, 100: 0.5}),
            *run("SCU + all CU", {50: 2.0, 100: 1.0})]
    table = pandas.DataFrame(rows, columns=["seed", "attack", "arm", "steps", "metric", "value", "n", "judge"])
    found = at_equal_loss(table).query("metric == 'asr'").set_index("arm").steps.to_dict()
    # never before step 50; the last if it never gets there
    assert found == {"nothing": 50, "SCU": 100, "SCU + all CU": 100}


def test_arms_are_held_against_each_other_organism_by_organism_and_random_draws_are_one():
    values = {"nothing": 60.0, "random, as many (0)": 10.0, "random, as many (1)": 20.0, "random, as many (2)": 60.0}
    rows = [(seed, "benign", arm, 50, "asr", value + seed, 9, "j") for seed in (0, 1) for arm, value in values.items()]
    table = pandas.DataFrame(rows, columns=["seed", "attack", "arm", "steps", "metric", "value", "n", "judge"])
    found = as_records(table).set_index(["record", "seed"]).value.to_dict()
    assert found["table2/benign/random_vs_nothing/asr", 0] == found["table2/benign/random_vs_nothing/asr", 1] == -30.0
    assert found["table2/benign/nothing_vs_random/asr", 0] == 30.0
    assert found["table2/benign/random_vs_random/asr", 1] == 0


# -- figures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("checks", "scale"), [
    ((2, 5, 10, 20), "log"), ((10, 20, 30, 40, 50, 100), "linear"), ((0, 2, 5, 10), "linear")])
def test_checks_that_are_factors_apart_are_drawn_on_a_logarithmic_axis(checks, scale):
    rows = [("new", arm, steps, 50.0, 0) for arm in ("nothing", "SCU") for steps in checks]
    figure = plot_attack(pandas.DataFrame(rows, columns=["attack", "arm", "steps", "value", "seed"]))
    assert figure.axes[0].get_xscale() == scale
