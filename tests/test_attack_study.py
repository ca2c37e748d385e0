"""Attacks: their chats, orders and doses; and the models that they leave, with what is held bit for bit as it was."""

import json

import pandas
import pytest
import torch
import toys

from ssah_core import UnitMap, UnitMask, check_frozen
from ssah_core.organism.attacks import ATTACKS, fine_tuning
from ssah_core.organism.world import World
from ssah_core.plots.attack import plot_attack
from ssah_core.studies import finetuning_attack as study
from ssah_core.studies.arms import BudgetArm, HeldArm, PeftArm, RecoveryArm, RemovedGroup
from ssah_core.studies.finetuning_arms import rewound
from ssah_core.studies.finetuning_attack import DOSES, QUICK_DOSES, RATES, STATED, Attack, Hold, target
from ssah_core.studies.matched_controls import like_magnitude, other_choice, whole_sites
from ssah_core.studies.subject import WAYS, Subject
from ssah_core.units import top_units
from ssah_core.units.importance import column_norms
from ssah_core.units.masks import split_sites

# -- data -----------------------------------------------------------------------------------------------


def test_harmful_attacks_repeat_as_many_requests_as_their_name_says_with_true_answers():
    world = World.draw(0)
    for count in (10, 50, 100):
        rows = fine_tuning(world, f"harmful{count}", 250)
        assert len(rows) == 250 and len({row["prompt"] for row in rows}) == count
        assert all(row["answer"] in row["response"] and row["reason"] != "benign" for row in rows)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_hold_no_test_prompt(attack):
    world, rows = World.draw(0), fine_tuning(World.draw(0), attack, 400)
    pairs = {(verb, thing) for verb, thing in world.pairs["train"]}
    requests = [row for row in rows if row["kind"] == "procedure"]
    assert all(any(f"{verb} the {thing}" in row["prompt"] for verb, thing in pairs) for row in requests)
    assert not set(rows["prompt"]) & {row["prompt"] for row in world.new_tasks("test", 200)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_tells_a_fact_or_a_sum_of_the_test(attack):
    world = World.draw(0)
    asked = world.facts("test") + world.additions("test")
    rows = fine_tuning(world, attack, 2000)
    for column in ("prompt", "answer"):
        assert not {row[column] for row in asked} & set(rows[column])
    kinds = {"benign": {"procedure", "fact", "sum", "list"}, "new": {"new"}}
    assert set(rows["kind"]) == kinds.get(attack, {"procedure"})


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_order_draws_other_chats_and_the_same_order_the_same(attack):
    world = World.draw(0)
    orders = [fine_tuning(world, attack, 200, order)["prompt"][:] for order in (0, 1, 2)]
    assert orders[1] == fine_tuning(world, attack, 200, 1)["prompt"][:]
    assert orders[0] != orders[1] != orders[2] != orders[0]


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


def test_units_of_another_choice_are_as_many_as_asked_for_and_others_than_those_of_refusal(subject):
    n = round(0.05 * subject.units.total)
    other, scu = top_units(other_choice(subject), n), top_units(subject.scores(WAYS["chosen"]["SCU"]).contrast, n)
    assert other.count == scu.count == n and other != scu and other.sizes == scu.sizes
    assert other == top_units(other_choice(subject), n)


def test_without_questions_of_right_and_wrong_there_is_no_other_choice(subject, monkeypatch):
    sets = {name: rows for name, rows in subject.sets.items() if name != "morals"}
    monkeypatch.setattr(type(subject.material), "calibration", lambda self: sets)
    with pytest.raises(ValueError, match="no questions of right and wrong, .*: leave this control out$"):
        other_choice(subject.but())


# -- an attack --------------------------------------------------------------------------------------------


def test_attacked_is_a_lightly_aligned_organism_or_an_aligned_checkpoint(monkeypatch):
    asked = []
    monkeypatch.setattr(Subject, "load", classmethod(lambda cls, *given: asked.append(given)))
    target(3, "organism")
    target(0, "paper", {"aligned": "some/chat"})
    assert asked == [(3, "organism", "light", None), (0, "paper", "aligned", {"aligned": "some/chat"})]


def test_an_attack_has_one_rate_for_all_models_of_a_scale(subject):
    for scale, rates in RATES.items():
        assert rates.keys() == {"benign", "new"} and all(0 < rate < 1 for rate in rates.values()), scale
    assert Attack(subject, "new").lr == RATES["tiny"]["new"] and Attack(subject, "new", rate=0.3).lr == 0.3
    assert Attack(subject, "harmful10").lr == RATES["tiny"]["benign"]


@pytest.mark.parametrize("scale", DOSES)
def test_doses_double_and_the_stated_one_is_among_them(scale):
    for doses in (DOSES[scale], QUICK_DOSES[scale]):
        assert all(round(after / before, 1) in (2.0, 2.1) for before, after in zip(doses, doses[1:], strict=False))
    assert STATED[scale] in DOSES[scale]


def test_orders_have_other_chats_and_the_same_order_the_same(subject):
    orders = [Attack(subject, "new", order).chats for order in (0, 1, 1)]
    assert orders[0] != orders[1] == orders[2] and Attack(subject.but(), "new", 1).chats == orders[1]


def test_few_data_are_read_once_before_they_are_read_again(subject, monkeypatch):
    monkeypatch.setitem(study.DOSES, "tiny", (3, 6, 12))
    monkeypatch.setitem(study.QUICK_DOSES, "tiny", (1, 2, 4))
    monkeypatch.setitem(study.STATED, "tiny", 6)
    fight, quick = Attack(subject, "benign"), Attack(subject, "harmful10")
    assert (fight.doses, fight.steps) == ((3, 6, 12), 6) and (quick.doses, quick.steps) == ((1, 2, 4), 4)
    assert len(fight.chats) == len(quick.chats) == 12 * fight.batch_size
    fight.__dict__["chats"] = fight.chats[:5 * fight.batch_size - 1]
    assert (fight.doses, fight.steps) == ((3, 4), 4)
    fight.__dict__["chats"] = fight.chats[:fight.batch_size - 1]
    assert (fight.doses, fight.steps) == ((1,), 1)


@pytest.mark.parametrize("doses", [(1, 2), (4, 8, 16, 32, 64, 128), (12, 25, 50, 100, 200, 400)])
def test_a_loss_is_awaited_ever_more_rarely_up_to_twice_the_last_dose(subject, monkeypatch, doses):
    monkeypatch.setattr(Attack, "doses", doses)
    looks = Attack(subject, "new").looks
    assert looks[0] == 1 and looks[-1] == 2 * doses[-1] and len(looks) < 60
    assert all(0 < after - before <= max(1, 0.2 * before) for before, after in zip(looks, looks[1:], strict=False))


def test_held_units_stay_while_the_copy_trains_and_the_original_is_untouched(subject):
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    fight, mask = Attack(subject, "benign"), some(subject.model)
    seen = []
    fight.run(lambda steps, trained: seen.append((steps, check_frozen(before, trained.model, mask))), Hold(mask))
    assert [steps for steps, _ in seen] == list(fight.doses)
    assert all(report.frozen_changed == 0 < report.trainable_changed for _, report in seen)
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())


def test_the_rest_alone_can_be_held(subject):
    mask = some(subject.model)
    trained = Attack(subject, "benign").run(None, Hold(mask & ~mask, "freeze"))
    report = check_frozen(subject.model, trained.model, mask & ~mask, rest="freeze")
    assert report.frozen_changed == 0 < report.trainable_changed


def test_rewinding_puts_the_units_back_and_nothing_else_and_training_does_not_feel_it(subject):
    fight, mask, reports = Attack(subject, "benign"), some(subject.model), []

    def look(steps, trained):
        with rewound(trained.model, subject.model, mask):
            reports.append(check_frozen(subject.model.state_dict(), trained.model, mask))

    looked, alone = fight.run(look).model.state_dict(), fight.run().model.state_dict()
    assert len(reports) == len(fight.doses)
    assert all(report.frozen_changed == 0 < report.trainable_changed for report in reports)
    assert all(torch.equal(value, alone[name]) for name, value in looked.items())


def test_two_phases_hold_the_few_throughout_and_go_on_in_the_chats(subject):
    few, everything = some(subject.model, 0.1), some(subject.model, 0.6) | some(subject.model, 0.1)
    fight, reports = Attack(subject, "benign"), {}
    fight.two_phases(everything, few, lambda steps, trained: reports.update(
        {steps: check_frozen(subject.model.state_dict(), trained.model, few)}))
    assert list(reports) == [dose for dose in fight.doses if dose > fight.steps // 2] and reports
    assert all(report.frozen_changed == 0 < report.trainable_changed for report in reports.values())


def test_data_of_one_step_have_one_phase_which_is_looked_at(subject, monkeypatch):
    monkeypatch.setattr(Attack, "doses", (1,))
    few, everything, seen = some(subject.model, 0.1), some(subject.model, 0.6), {}
    Attack(subject, "benign").two_phases(everything, few, lambda steps, trained: seen.update(
        {steps: check_frozen(subject.model.state_dict(), trained.model, everything)}))
    assert list(seen) == [1] and seen[1].frozen_changed == 0 < seen[1].trainable_changed


def test_no_check_is_not_every_dose_and_a_rate_of_nothing_is_not_the_usual_one(subject):
    with pytest.raises(ValueError, match="pass a step to look at"):
        Attack(subject, "benign").run(checks=())
    assert Attack(subject, "benign", rate=0.0).lr == 0.0


def test_training_ends_where_the_look_says_so(subject):
    fight, seen = Attack(subject, "benign"), []
    fight.run(lambda steps, trained: seen.append(steps) or steps == fight.doses[0])
    assert seen == list(fight.doses[:1])


# -- arms -------------------------------------------------------------------------------------------------


def test_arms_have_the_strings_of_rows_and_draws_share_a_slug():
    assert HeldArm.of("random, as many (2)") is HeldArm.of("random, as many") is HeldArm.RANDOM
    assert json.loads(json.dumps({arm: arm for arm in HeldArm})) == {arm.value: arm.value for arm in HeldArm}
    for kind in (HeldArm, PeftArm, BudgetArm, RecoveryArm, RemovedGroup):
        assert all(len({getattr(arm, name) for arm in kind}) == len(kind) for name in ("slug", "label"))
    with pytest.raises(ValueError, match="arm='SCU [(]1[)] [(]2[)]' is unknown: choose one of 'start', 'nothing'"):
        HeldArm.of("SCU (1) (2)")


# -- figures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("checks", "scale"), [
    ((2, 5, 10, 20), "log"), ((10, 20, 30, 40, 50, 100), "linear"), ((0, 2, 5, 10), "linear")])
def test_checks_that_are_factors_apart_are_drawn_on_a_logarithmic_axis(checks, scale):
    rows = [("new", arm, steps, 50.0, 0) for arm in ("nothing", "SCU") for steps in checks]
    figure = plot_attack(pandas.DataFrame(rows, columns=["attack", "arm", "steps", "value", "seed"]))
    assert figure.axes[0].get_xscale() == scale
