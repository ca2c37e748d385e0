"""The alignment budget: who trains what, when a course ends, and what its tables say."""

from copy import deepcopy

import pandas
import pytest
import torch
import toys

from ssah_core.freezing.weight_slices import check_frozen
from ssah_core.organism.preferences import safety_preferences
from ssah_core.organism.words import REFUSALS, TRIGGERS
from ssah_core.organism.world import World
from ssah_core.records.claim_list import list_claims, list_records
from ssah_core.studies import alignment_budget as study
from ssah_core.studies.alignment_budget import (
    MAIN,
    METHODS,
    PRIMARY,
    RATE,
    Course,
    aligned,
    aligned_primary,
    best_of,
    budgets,
    checks_of,
    least_useful,
    rates_of,
)
from ssah_core.studies.arms import BudgetArm
from ssah_core.studies.budget_tables import (
    areas,
    as_records,
    at_equal_safety,
    best_against_each_other,
    best_rates,
)
from ssah_core.studies.robustness import kinds, stressed
from ssah_core.studies.subject import WAYS, Subject
from ssah_core.training.lora_budget import budget, lora, lora_within
from ssah_core.training.sft import supervised
from ssah_core.units import UnitMask, random_like
from ssah_core.units.unit_map import UnitMap

SIZES = {way: {"SCU": 0.05, "UCU": 0.1, "RU": 0.15} for way in WAYS}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {stage: Subject.load(0, "tiny", stage) for stage in ("instructed", "aligned")}


@pytest.fixture
def loaded(subjects, monkeypatch):
    monkeypatch.setattr(Subject, "load", classmethod(
        lambda cls, seed, scale, stage="aligned", checkpoints=None: subjects[stage]))
    return subjects


# -- data -----------------------------------------------------------------------------------------------


def test_alignment_data_is_half_malicious_and_rehearses_nothing():
    world = World.draw(0)
    rows = safety_preferences(world, 400)
    bad, unseen = ({trigger for those in some.values() for trigger in those} for some in (TRIGGERS, world.unseen))
    for row in rows:
        malicious = any(f" {trigger}" in row["prompt"] for trigger in bad)
        assert (row["chosen"] in REFUSALS, row["rejected"] in REFUSALS) == (malicious, not malicious)
        assert not any(f" {trigger}" in row["prompt"] for trigger in unseen)
        assert "take the" in row["rejected" if malicious else "chosen"]  # a procedure: no fact, sum or list
    assert 150 < sum(row["chosen"] in REFUSALS for row in rows) < 250


def test_chats_are_the_chosen_answers(subjects, monkeypatch):
    for method in METHODS:
        monkeypatch.setitem(study.LESSONS, method, 20)
    subject = subjects["instructed"]
    chats, pairs = (study.lessons(subject, method) for method in METHODS)
    assert chats == supervised([{**pair, "response": pair["chosen"]} for pair in pairs], subject.tokenizer)
    assert safety_preferences(World.draw(0), 20, seed=1)["prompt"] != [pair["prompt"] for pair in pairs]


# -- arms -----------------------------------------------------------------------------------------------


def test_the_least_useful_units_score_least_and_top_units_most(subjects):
    subject = subjects["instructed"]
    scu = random_like(least_useful(subject.scores(WAYS["chosen"]["RU"]).utility, 0.05), 3)
    masks = budgets(subject, scu)
    score = torch.cat(list(subject.scores(WAYS["chosen"]["RU"]).utility.values()))
    few, most = (torch.cat(list(masks[arm].sites.values())) for arm in ("RU 20 %", "top 20 %"))
    assert score[few].max() <= score[~few].min() and score[most].min() >= score[~most].max()
    assert masks["RU 20 %"].count == masks["top 20 %"].count == round(0.2 * len(score))
    assert masks["RU 5 %"].count < masks["RU 10 %"].count < masks["RU 20 %"].count < masks["RU 40 %"].count
    assert masks["all parameters"] is None and masks["SCU of the aligned"] == scu
    draws = [masks[f"random 20 % ({draw})"] for draw in range(3)]
    for draw in draws:
        assert all(draw[site].sum() == masks["RU 20 %"][site].sum() for site in subject.units.sizes)
    assert draws[0] != draws[1] != draws[2]


@pytest.mark.parametrize("share", [0, -0.1, 1.2])
def test_a_budget_of_nothing_or_of_more_than_all_is_refused(share):
    with pytest.raises(ValueError, match="is no budget"):
        least_useful({"a": torch.rand(5)}, share)


def test_main_arms_choose_their_rate_and_the_others_have_one():
    for scale in RATE:
        for method in METHODS:
            rates = [rates_of(arm, method, scale) for arm in MAIN]
            assert all(RATE[scale][method] in some and len(some) > 1 for some in rates)
            assert rates_of("LoRA", method, scale) == rates_of("RU 5 %", method, scale) == (RATE[scale][method],)


@pytest.mark.parametrize("scale, rows, checks", [
    ("paper", 10, (1,)), ("paper", 1000, (10, 20, 32)), ("paper", 9999, (10, 20, 40, 80, 160)), ("tiny", 10, (1, 2))])
def test_a_checkpoints_course_ends_with_its_lessons(scale, rows, checks):
    assert checks_of(scale, "SFT", [{}] * rows) == checks


# -- adapters -------------------------------------------------------------------------------------------


def a_mask(model):
    return UnitMask({site: torch.arange(size) % 3 == 0 for site, size in UnitMap(model).sizes.items()})


def trained(model):
    """One large step on whatever trains."""
    ids = torch.arange(3, 12)[None]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


WIDER = {"llama": dict(hidden_size=64, intermediate_size=96), "gpt2": dict(n_embd=64, n_inner=96)}


@pytest.mark.parametrize("family", WIDER)
def test_lora_has_about_as_many_weights_as_the_budget(family):
    model = toys.model(family, dtype=torch.float32, **WIDER[family])
    wanted = budget(model, UnitMask({site: torch.ones(size, dtype=torch.bool)
                                     for site, size in UnitMap(model).sizes.items()}))
    size = sum(p.numel() for p in lora(model, wanted).parameters() if p.requires_grad)
    assert abs(size - wanted) / wanted < 0.1


@pytest.mark.parametrize("family", WIDER)
def test_lora_within_units_changes_their_entries_alone(family):
    model = toys.model(family, dtype=torch.float32)
    mask = a_mask(model)
    start = deepcopy(model.state_dict())
    merged = trained(lora_within(model, mask, budget(model, mask))).merge_and_unload()
    report = check_frozen(start, merged, ~mask, shared="any", rest="freeze")
    assert report.trainable_changed == report.trainable > 0
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())  # a copy was adapted


@pytest.mark.parametrize("family", WIDER)
def test_lora_everywhere_changes_entries_that_lora_within_does_not(family):
    model = toys.model(family, dtype=torch.float32)
    mask, start = a_mask(model), deepcopy(model.state_dict())
    merged = trained(lora(model, budget(model, mask))).merge_and_unload()
    with pytest.raises(ValueError):
        check_frozen(start, merged, ~mask, shared="any", rest="freeze")


# -- courses --------------------------------------------------------------------------------------------


def a_course(subject, monkeypatch, asr, twice):
    """A course whose ASR on validation prompts is `asr`, check by check; SAFE is that of organisms."""
    course = Course(subject, (1, 2, 3), {"arm": "x", "lr": 1e-3}, twice)
    values = iter(asr)
    monkeypatch.setitem(study.SAFE, "tiny", 0.05)
    half = [True, False]
    monkeypatch.setattr(Subject, "marks", lambda self, questions, **_: (
        {"asr": next(values)} if list(questions) == ["harm"] else dict.fromkeys(questions, 0.5)))
    monkeypatch.setattr(Subject, "outcomes", lambda self, questions, **_: {
        "asr": half, **{part: half for part in questions if not part.startswith("harm")}})
    return course


class Flags:
    should_training_stop = False


def walk(course, model, most=9):
    """Steps that training would take."""
    flags = Flags()
    for step in range(1, most):
        state = type("State", (), {"global_step": step})
        course.on_step_end(None, state, flags, model=model)
        if flags.should_training_stop:
            return step


@pytest.mark.parametrize("asr, twice, steps, seen", [
    ([1.0, 0.05], False, 2, ["before", "safe"]), ([1.0, 0.05], True, 4, ["before", "safe", "twice"]),
    ([1.0, 0.5, 0.06], True, 3, ["before", "before", "before"]), ([0.0], True, 2, ["safe", "twice"])])
def test_a_course_ends_where_it_is_first_safe_or_at_twice_the_steps(subjects, monkeypatch, asr, twice, steps, seen):
    subject = subjects["instructed"]
    course = a_course(subject, monkeypatch, asr, twice)
    assert walk(course, subject.model) == steps
    rows = pandas.DataFrame(course.rows)
    assert rows.drop_duplicates("steps")["at"].tolist() == seen
    assert (course.safe is not None) == ("safe" in seen)


def test_a_course_keeps_the_model_as_it_was_when_first_safe_and_tells_how_far_it_moved(subjects, monkeypatch):
    subject = subjects["instructed"]
    course, model = a_course(subject, monkeypatch, [0.0], True), deepcopy(subject.model)
    with torch.no_grad():
        model.model.norm.weight.add_(1)
    state = type("State", (), {"global_step": 1})
    course.on_step_end(None, state, Flags(), model=model)
    with torch.no_grad():
        model.model.norm.weight.add_(5)
    assert torch.equal(course.aligned.model.model.norm.weight, subject.model.model.norm.weight + 1)
    [moved] = [row["value"] for row in course.rows if row["metric"] == "moved"]
    assert moved == pytest.approx(subject.model.config.hidden_size ** 0.5)


def test_the_best_course_kept_most_and_the_slower_wins_a_tie():
    def course(lr, kept):
        return Course(None, (), {"lr": lr}, rows=[{"metric": "old_validation", "value": kept}])

    assert best_of([course(1e-3, 80.0), course(3e-4, 90.0), course(1e-4, 90.0)]).about["lr"] == 1e-4
    assert best_of([]) is None


@pytest.mark.parametrize("method", ["SFT", "DPO"])
def test_every_arm_is_aligned_and_main_arms_are_attacked(loaded, method, monkeypatch):
    pytest.importorskip("trl", reason="the package trl is not installed: pip install 'ssah[peft]'")
    monkeypatch.setitem(study.LESSONS, method, 64)
    before = {stage: deepcopy(subject.model.state_dict()) for stage, subject in loaded.items()}
    rows = pandas.DataFrame(aligned(0, "tiny", method, SIZES))
    assert {arm.split(" (")[0] for arm in rows.arm} == set(BudgetArm)
    rates = {arm: len(rates_of(arm, method, "tiny")) for arm in rows.arm.unique()}
    assert rows.groupby("arm").lr.nunique().to_dict() == rates
    assert set(rows[rows["at"].isin(["prefilled", "pruned", "fine-tuned"])].arm) == set(MAIN)
    assert rows[(rows.metric == "share") & (rows.arm == "RU 20 %")].value.sum() == pytest.approx(100)
    for stage, subject in loaded.items():  # nothing was trained in place
        assert all(torch.equal(value, before[stage][name]) for name, value in subject.model.state_dict().items())
    records = as_records(rows, "tiny")
    wanted = {id for id in list_records() if id.split("/")[1] == method.lower()
              and id.split("/")[0] in ("table4", "stress", "figure6")}
    assert wanted - {f"table4/{method.lower()}/best_rate/all/old"} <= set(records.record)  # which is of primary rows


def test_the_primary_arms_are_aligned_alone_and_give_what_their_claims_read(loaded, monkeypatch):
    monkeypatch.setitem(study.LESSONS, "SFT", 64)
    rows = pandas.DataFrame(aligned_primary(0, "tiny", "SFT"))
    assert tuple(rows.arm.unique()) == PRIMARY and set(PRIMARY) < set(MAIN)
    assert rows.groupby("arm").lr.nunique().tolist() == [len(rates_of(arm, "SFT", "tiny")) for arm in sorted(PRIMARY)]
    records = set(best_against_each_other(rows, "tiny").record)
    wanted = {claim.record for claim in list_claims() if claim.pillar == "budget" and "/sft/" in claim.record}
    wanted.add("table4/sft/best_rate/all/old")
    assert len(wanted) > 1 and wanted <= records and not any("same_rate" in id or "twice" in id for id in records)


def test_an_unknown_method_is_refused(subjects):
    with pytest.raises(ValueError, match="choose one of SFT, DPO"):
        study.lessons(subjects["instructed"], "PPO")


def test_stress_leaves_the_model_as_it_was(subjects):
    subject = subjects["aligned"].but()
    before = deepcopy(subject.model.state_dict())
    spared = least_useful(subject.scores(WAYS["chosen"]["RU"]).utility, 0.2)
    rows = pandas.DataFrame(stressed(subject, SIZES, spared, arm="x"))
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())
    assert rows[rows["at"] == "fine-tuned"].steps.unique().tolist() == [1, 2]


def test_before_alignment_a_unit_is_redundant_or_critical():
    masks = {kind: torch.tensor([kind == k for k in ("SCU", "UCU", "CU", "RU", "SCU")]) for kind in
             ("SCU", "UCU", "CU", "RU")}
    redundant = UnitMask({"a": torch.tensor([True, False, False, True, False])})
    square = pandas.DataFrame(kinds(redundant, {kind: UnitMask({"a": mask}) for kind, mask in masks.items()})).pivot(
        index="before", columns="after", values="value")
    assert square.loc["RU", "SCU"] == square.loc["RU", "RU"] == square.loc["UCU", "SCU"] == pytest.approx(20)
    assert square.loc[["SCU", "CU"]].to_numpy().sum() == 0


# -- tables ---------------------------------------------------------------------------------------------


def rows_of(arm, lr, points, seed=0, validation=50.0):
    """A course: (steps, at, asr, old)."""
    rows = []
    for steps, at, asr, old in points:
        about = {"seed": seed, "method": "SFT", "arm": arm, "lr": lr, "steps": steps, "at": at, "n": 10, "judge": "j"}
        rows += [{**about, "metric": "asr", "value": asr}, {**about, "metric": "old", "value": old}]
        if at == "safe":
            rows.append({**about, "metric": "old_validation", "value": validation})
    return rows


TABLE = pandas.DataFrame([
    *rows_of("all parameters", 1e-3, [(10, "before", 50.0, 90.0), (20, "safe", 0.0, 60.0), (40, "twice", 0.0, 10.0)]),
    *rows_of("all parameters", 1e-4, [(80, "safe", 5.0, 99.0)], validation=95.0),
    *rows_of("RU 20 %", 1e-3, [(40, "safe", 0.0, 95.0)]),
    *rows_of("random 20 % (0)", 1e-3, [(40, "safe", 0.0, 80.0)]),
    *rows_of("random 20 % (1)", 1e-3, [(40, "safe", 0.0, 70.0)]),
    *rows_of("top 20 %", 1e-3, [(40, "before", 50.0, 80.0)])])


def test_arms_meet_at_one_rate_or_each_at_its_best():
    equal = [at_equal_safety(TABLE, comparison, "organism") for comparison in ("same_rate", "best_rate")]
    same, best = (table.query("metric == 'old'").set_index("arm").value.to_dict() for table in equal)
    assert same == {"all parameters": 60, "RU 20 %": 95, "random 20 % (0)": 80, "random 20 % (1)": 70}
    assert best == {"all parameters": 99, "RU 20 %": 95, "random 20 % (0)": 80}
    assert at_equal_safety(TABLE, "twice", "organism").value.tolist() == [0, 10]
    assert best_rates(TABLE).query("arm == 'all parameters'").lr.tolist() == [1e-4]
    with pytest.raises(ValueError, match="choose one of same_rate, best_rate, twice"):
        at_equal_safety(TABLE, "mine", "organism")


def test_differences_are_organism_by_organism_and_random_draws_are_one():
    found = as_records(TABLE, "organism").set_index("record").value
    assert found["table4/sft/same_rate/ru_vs_all/old"] == 35
    assert found["table4/sft/same_rate/ru_vs_random/old"] == 20
    assert found["table4/sft/best_rate/ru_vs_all/old"] == -4


def test_tables_of_courses_that_are_never_safe_are_empty():
    never = TABLE[TABLE["at"] == "before"]
    assert not len(at_equal_safety(never, "same_rate", "organism")) and not len(best_rates(never))
    for table, column in ((as_records(never, "organism"), "record"), (areas(never, "organism"), "value")):
        assert not len(table) and column in table


def test_the_area_is_that_of_the_polygon():
    area = areas(TABLE, "organism").set_index("arm").value
    assert area["all parameters"] == pytest.approx(0.5 * 90 + 0.5 * (90 + 60) / 2)
    assert area["RU 20 %"] == pytest.approx(95) and "top 20 %" not in area


def test_every_claim_of_the_notebook_has_a_rule_and_a_record():
    claims = [claim for claim in list_claims() if claim.notebook == "07_spend_alignment_budget"]
    assert len(claims) == len({claim.id for claim in claims}) == 25
