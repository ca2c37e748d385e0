"""Studies of notebook 09: criteria, stability, specificity, units built twice and put back."""

import copy

import pandas
import pytest
import torch

import ssah_core as ssah
from ssah_core.studies import Subject, criteria, rebuilding, specificity, stability
from ssah_core.studies.granularity import snip
from ssah_core.units import UnitMask, overlap


@pytest.fixture(scope="module")
def subject():
    return Subject.load(0, "tiny")


def rows_of(model, site, unit):
    """The entries of one unit, weight by weight, by hand: its column of B, and its rows of A."""
    alone = UnitMask({name: torch.arange(n) == (unit if name == site else -1)
                      for name, n in ssah.UnitMap(model).sizes.items()})
    return [(part.weight, part.axis, part.index) for part in ssah.UnitMap(model).slices(alone)]


# -- criteria ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site, unit", [("mlp.0", 3), ("attn.1", 0)])
def test_snip_of_a_unit_is_the_sum_over_its_weights(subject, site, unit):
    safety, utility = (snip(subject, name) for name in ("safety", "utility"))
    by_hand = sum((safety[w] - utility[w]).double().index_select(axis, index).sum()
                  for w, axis, index in rows_of(subject.model, site, unit))
    assert criteria.RANKINGS["SNIP"](subject)[site][unit] == pytest.approx(float(by_hand), rel=1e-9)


def test_wanda_is_the_mean_square_times_the_norm(subject):
    site, found = "mlp.1", criteria.RANKINGS["Wanda"](subject)
    norm = subject.model.model.layers[1].mlp.down_proj.weight.detach().double().square().sum(0)
    square = {name: subject.moments(name, "response") for name in ("safety", "utility")}
    mean = {name: m.squares[site] / m.count + m.mean[site] ** 2 for name, m in square.items()}
    torch.testing.assert_close(found[site], norm * (mean["safety"] - mean["utility"]))


def test_every_criterion_ranks_every_unit_by_a_finite_number(subject):
    for name, ranking in criteria.RANKINGS.items():
        found = ranking(subject)
        assert {site: len(score) for site, score in found.items()} == subject.units.sizes, name
        assert all(bool(torch.isfinite(score).all()) for score in found.values()), name


def test_an_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="criterion='magnitude' is unknown: choose one of"):
        criteria.compared(0, "tiny", "magnitude")


# -- stability ---------------------------------------------------------------------------------------------


def test_overlap_by_chance_is_that_of_random_units_of_the_same_sites():
    a = UnitMask({"x": torch.arange(40) < 10, "y": torch.arange(60) < 6})
    drawn = [overlap(a, ssah.random_like(a, seed))[0] for seed in range(400)]
    assert sum(drawn) / len(drawn) == pytest.approx(stability.chance(a, a), abs=0.01)


def test_halves_share_no_row_and_a_quarter_has_every_fourth(subject):
    prompts = lambda name: stability.calibrated(subject, name).sets["safety"]["prompt"][:]  # noqa: E731
    assert sorted(prompts("half 0") + prompts("half 1")) == sorted(prompts("all"))
    assert prompts("quarter") == prompts("all")[::4]
    with_system = stability.calibrated(subject, "system prompt").sets["utility"]
    assert set(with_system["system"]) == {subject.material.system_prompt}


# -- specificity -------------------------------------------------------------------------------------------


def test_all_abilities_are_asked_after_removing_units_of_each_choice():
    rows = specificity.broken(0, "tiny")
    assert {row["units"] for row in rows} == {"none", *specificity.UNITS_OF}
    assert {"morals", "utility", "harm_right"} <= {row["metric"] for row in rows if row["units"] == "right or wicked"}


def test_so_many_units_are_removed_and_as_many_random_ones(subject):
    for n in specificity.COUNTS:
        assert {specificity.units_of(subject, name, n, 0).count for name in ("refusal", "random")} == {n}


# -- built twice, put back -----------------------------------------------------------------------------------


def test_similarity_is_the_cosine_of_all_entries_of_a_unit(subject):
    after = copy.deepcopy(subject.model)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    found = rebuilding.similarity(subject.model, after)
    for site, unit in (("mlp.0", 5), ("attn.1", 2)):
        a, b = (torch.cat([model.get_parameter(w).detach().double().index_select(axis, index).flatten()
                           for w, axis, index in rows_of(model, site, unit)]) for model in (subject.model, after))
        assert float(found[site][unit]) == pytest.approx(float(torch.cosine_similarity(a, b, dim=0)), rel=1e-9)


def test_as_many_units_are_put_back_in_every_way():
    sizes = {way: {"SCU": 0.04, "UCU": 0.05, "RU": 0.1} for way in ("chosen", "paper", "variance, best")}
    rows = rebuilding.restored(0, "tiny", sizes)
    counts = {row["back"]: row["units"] for row in rows}
    assert counts["none"] == 0 and len({counts[back] for back in counts if back != "none"}) == 1


def test_an_alignment_that_is_not_safe_in_time_says_so_and_no_more(monkeypatch):
    monkeypatch.setitem(rebuilding.RATES, "tiny", (0.0, 0.0))
    rows = rebuilding.rebuilt(0, "tiny")
    assert {row["metric"] for row in rows if row["removed"] == "none"} >= {"safe"}
    for held in ("nothing", "SCU", "random"):
        safe = next(row["value"] for row in rows if row["held"] == held and row["metric"] == "safe")
        assert bool(safe) == any(row["metric"] == "asr" for row in rows if row["held"] == held)


# -- read from rows ----------------------------------------------------------------------------------------


def marks(columns: list[str], *rows: tuple) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=columns)


def test_what_is_lost_is_held_against_the_same_organism_whole():
    table = marks(["seed", "units", "share", "metric", "value"],
                  (0, "none", 0.0, "morals", 90.0), (1, "none", 0.0, "morals", 100.0),
                  (0, "refusal", 0.04, "morals", 60.0), (1, "refusal", 0.04, "morals", 80.0))
    assert specificity.lost(table)["refusal", 0.04, "morals"] == [-30.0, -20.0]


def test_units_until_half_are_answered_right_lie_between_two_counts_or_are_infinite():
    table = marks(["seed", "units", "count", "metric", "value"],
                  *((seed, "SCU", n, "harm_right", value) for seed, values in ((0, (10, 90)), (1, (0, 20)))
                    for n, value in zip((4, 16), values, strict=True)))
    assert specificity.count_to(table) == [pytest.approx(8), float("inf")]


def test_the_best_within_a_price_is_the_most_right_answers_that_utility_can_spare():
    wide = pandas.DataFrame({"criterion": ["a"] * 3 + ["b"] * 3, "seed": 0, "share": [0.0, 0.1, 0.2] * 2,
                             "harm_right": [0, 40, 95, 0, 50, 60], "utility": [100, 98, 96, 100, 97, 100]})
    table = wide.melt(["criterion", "seed", "share"], var_name="metric")
    best = criteria.best_within(table)
    assert best[["criterion", "share", "harm_right"]].values.tolist() == [["b", 0.2, 60], ["a", 0.1, 40]]
    assert criteria.half_shares(table)["b"] == [pytest.approx(10)]


def test_two_organisms_with_a_kind_in_the_same_site_are_alike_and_in_others_not():
    rows = [(seed, 0, module, kind, value) for kind, of_two in {"SCU": ((8, 0), (4, 0)), "RU": ((8, 0), (0, 8))}.items()
            for seed, values in enumerate(of_two) for module, value in zip(("attn", "mlp"), values, strict=True)]
    found = stability.alike(marks(["seed", "block", "module", "kind", "value"], *rows)).set_index("kind")
    assert found.overlap.to_dict() == {"SCU": 100, "RU": 0} and found.chance.to_dict() == {"SCU": 50, "RU": 50}
