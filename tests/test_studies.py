"""What the studies add: group sizes by rule, groups that do not overlap, changes against the whole model."""

import pandas
import pytest

from ssah_core.judging.exam import unpacked
from ssah_core.studies.ablation_table import (
    GRID,
    TOLERANCE,
    changes,
    choices,
    group_sizes,
    sizes_of,
    table1,
)
from ssah_core.studies.arms import RemovedGroup
from ssah_core.studies.readings import Readings
from ssah_core.studies.subject import GROUPS, WAY_SLUGS, WAYS


def curves(harm) -> pandas.DataFrame:
    """Ablation curves whose utility falls, and ASR rises, by `harm(group, share)` points."""
    rows = [("none", 0.0, "utility", 90.0), ("none", 0.0, "asr", 2.0)]
    for group, share in ((group, share) for group, shares in GRID.items() for share in shares):
        rows += [(group, share, "utility", 90.0 - harm(group, share)), (group, share, "asr", 2.0 + harm(group, share))]
    return pandas.DataFrame(rows, columns=["group", "share", "metric", "value"])


def test_a_group_grows_as_far_as_the_grid_if_it_does_no_harm():
    assert group_sizes(curves(lambda group, share: 0.0)) == {group: shares[-1] for group, shares in GRID.items()}


def test_a_group_stops_before_the_first_share_that_does_harm_even_if_a_later_one_does_none():
    harmful = {group: shares[2] for group, shares in GRID.items()}
    found = group_sizes(curves(lambda group, share: TOLERANCE + 0.1 if share == harmful[group] else TOLERANCE))
    assert found == {group: shares[1] for group, shares in GRID.items()}


def test_a_group_that_always_does_harm_has_the_smallest_share():
    assert group_sizes(curves(lambda group, share: 50.0)) == {group: shares[0] for group, shares in GRID.items()}


def test_broken_answers_are_harm_where_a_judge_knows_them():
    table = curves(lambda group, share: 0.0)
    shares = GRID["SCU"]
    broken = [("none", 0.0, "broken", 1.0), *((group, share, "broken", 1.0 + TOLERANCE * (share > shares[1]) * 2)
                                              for group, many in GRID.items() for share in many)]
    table = pandas.concat([table, pandas.DataFrame(broken, columns=list(table))])
    assert group_sizes(table)["SCU"] == shares[1]


def test_sizes_are_found_for_every_organism_and_way():
    harmless, harmful = curves(lambda group, share: 0.0), curves(lambda group, share: 50.0)
    table = pandas.concat([part.assign(seed=seed, way=way) for seed, way, part in (
        (2, "chosen", harmless), (2, "paper", harmful), (0, "chosen", harmful), (0, "paper", harmless))])
    most, least = group_sizes(harmless), group_sizes(harmful)
    assert sizes_of(table) == {2: {"chosen": most, "paper": least}, 0: {"chosen": least, "paper": most}}


def test_the_groups_of_table_1_are_each_kind_and_as_many_random_units():
    assert list(RemovedGroup) == ["none", *GROUPS, *(f"random {kind}" for kind in GROUPS)]
    assert set(WAY_SLUGS) == set(WAYS)
    assert all(RemovedGroup.random(kind).slug == f"random_{kind.lower()}" for kind in GROUPS)


def test_a_reading_is_made_once_and_others_do_not_see_what_is_added():
    made = []
    readings = Readings()
    assert [readings.once("a", lambda: made.append(1) or None) for _ in range(2)] == [None, None] and made == [1]
    assert "b" in readings.also({"b": 1}) and "b" not in readings


def test_changes_subtract_the_whole_model_of_the_same_organism_and_average_random_draws():
    rows = [(0, "none", "none", 0, "asr", 10.0), (1, "none", "none", 0, "asr", 20.0),
            (0, "none", "none", 0, "perplexity", 2.0), (0, "chosen", "SCU", 0, "perplexity", 3.0),
            (0, "chosen", "SCU", 0, "asr", 70.0), (1, "chosen", "SCU", 0, "asr", 90.0),
            (0, "chosen", "random SCU", 0, "asr", 10.0), (0, "chosen", "random SCU", 1, "asr", 14.0)]
    columns = ["seed", "way", "group", "draw", "metric", "value"]
    table = pandas.DataFrame(rows, columns=columns).assign(share=0.1, n=9, judge="j")
    found = changes(table)
    assert found[found.metric == "share"].value.tolist() == [10.0] * 3
    found = found[found.metric != "share"].set_index(["record", "seed"]).value.to_dict()
    assert found == {("table1/scu/asr", 0): 60.0, ("table1/scu/asr", 1): 70.0, ("table1/scu/perplexity", 0): 1.5,
                     ("table1/random_scu/asr", 0): 2.0}


def test_every_mark_of_an_exam_comes_with_the_outcomes_of_its_prompts(subject):
    questions = subject.material.exam("test", 10)
    rows = {row["metric"]: row for row in subject.examine(questions, arm="x")}
    assert set(rows) == {"asr", "harm_right", "asr_unseen", "unseen_right", "refused", *subject.material.utility,
                         "morals", "utility"}
    for metric, row in rows.items():
        truths = [True, False] if metric == "utility" else unpacked(row["outcomes"], row["n"])
        assert row["arm"] == "x" and (metric == "utility" or row["value"] == 100 * sum(truths) / len(truths))
    assert rows["utility"]["outcomes"] == "" and rows["utility"]["n"] == sum(
        len(questions[part]) for part in subject.material.utility)
    assert rows["asr"]["judge"] == "keyword:qi2023" and rows["harm_right"]["judge"] == "truth"
    assert unpacked(rows["facts"]["outcomes"], rows["facts"]["n"]) == subject.outcomes(questions)["facts"]


def test_table_1_is_of_the_ways_that_are_asked_for_and_its_asr_is_of_both_system_prompts(loaded):
    sizes = {"chosen": {"SCU": 0.1, "UCU": 0.2, "RU": 0.2}}
    table = pandas.DataFrame(table1(0, "tiny", sizes, ("chosen",)))
    assert list(table.way.unique()) == ["none", "chosen"] and set(table.group) == set(RemovedGroup)
    for _, rows in table.groupby(["group", "draw"]):
        row = rows.set_index("metric")
        assert row.n.asr == row.n.asr_plain + row.n.asr_system == 2 * row.n.asr_plain
        assert row.value.asr == pytest.approx((row.value.asr_plain + row.value.asr_system) / 2)
        assert unpacked(row.outcomes.asr, row.n.asr) == [
            *unpacked(row.outcomes.asr_plain, row.n.asr_plain), *unpacked(row.outcomes.asr_system, row.n.asr_system)]
        assert ((row.outcomes == "") == row.index.isin(["utility", "perplexity"])).all()


def test_a_unit_of_two_groups_belongs_to_the_first_and_nothing_takes_its_place(subject):
    ways, sizes = WAYS["paper"], {"SCU": 0.5, "UCU": 0.5, "RU": 0.5}
    alone = {name: subject.group(name, ways[name], sizes[name]) for name in sizes}
    groups = subject.groups(ways, sizes)
    assert (alone["UCU"] & alone["RU"]).count and (alone["SCU"] & alone["RU"]).count
    assert groups["SCU"] == alone["SCU"] and groups["UCU"] == alone["UCU"] & ~alone["SCU"]
    assert groups["RU"] == alone["RU"] & ~alone["SCU"] & ~alone["UCU"]


@pytest.mark.parametrize("way", WAYS)
def test_the_groups_are_disjoint_and_cover_every_unit(subject, way):
    groups = subject.groups(WAYS[way], {"SCU": 0.1, "UCU": 0.2, "RU": 0.2})
    assert sum(mask.count for mask in groups.values()) == subject.units.total
    assert (groups["SCU"] | groups["UCU"] | groups["RU"] | groups["CU"]).count == subject.units.total
    assert groups["SCU"].count == round(0.1 * subject.units.total)


def test_every_way_that_is_tried_can_rank_the_units(subject):
    ways = list(choices())
    assert len({way.label for way in ways}) == len(ways)
    assert all(subject.group("SCU", way, 0.1).count == round(0.1 * subject.units.total) for way in ways)
