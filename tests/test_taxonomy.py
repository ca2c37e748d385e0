"""Labels follow hand-made tables, cover every unit once, and overlap is held against chance."""

import pytest
import torch

from ssah_core import Scores, UnitMask, label_units, random_like, transfer
from ssah_core.units.labels import overlap
from ssah_core.units.masks import UnitKind, split_sites

SAFETY = [9., 1, 1, 5, 5, 0, 2, 0]
UTILITY = [1., 9, 8, 5, 4, 0, 3, 1]


def scores(safety=SAFETY, utility=UTILITY, contrast=None, sites=(3, 5)) -> Scores:
    """Scores of eight units over two sites; contrast is I_S - I_U unless given."""
    contrast = contrast or (torch.tensor(safety) - torch.tensor(utility)).tolist()
    cut = lambda values: dict(zip("ab", torch.tensor(values).double().split(list(sites)), strict=True))  # noqa: E731
    return Scores("variance", cut(safety), cut(utility), cut(contrast))


def named(labels) -> list[str]:
    """The kind of every unit in order; fails unless each has exactly one."""
    flat = {kind: torch.cat(list(labels.mask(kind).sites.values())) for kind in UnitKind}
    assert bool((sum(mask.int() for mask in flat.values()) == 1).all())
    return [next(kind.value for kind in UnitKind if flat[kind][unit]) for unit in range(len(flat[UnitKind.CU]))]


def test_labels_of_a_hand_made_table():
    labels = label_units(scores(), scu=1 / 8, ucu=2 / 8, ru=2 / 8)
    assert named(labels) == ["SCU", "UCU", "UCU", "CU", "CU", "RU", "CU", "RU"]
    assert labels.mask("RU").sizes == {"a": 3, "b": 5}


def test_where_the_sites_are_cut_does_not_matter():
    shares = dict(scu=2 / 8, ucu=1 / 8, ru=3 / 8)
    assert named(label_units(scores(sites=(1, 7)), **shares)) == named(label_units(scores(sites=(6, 2)), **shares))


def test_safety_units_are_ranked_by_the_contrast():
    labels = label_units(scores(contrast=[0, 0, 0, 0, 0, 0, 7, 9]), scu=2 / 8, ucu=0, ru=0)
    assert named(labels) == ["CU"] * 6 + ["SCU"] * 2


def test_safety_chooses_before_utility_and_utility_before_redundancy():
    contrast = [0, 5, 0, 0, 0, 4, 0, 0]  # unit 1 is also the first UCU, unit 5 the first RU
    assert named(label_units(scores(contrast=contrast), scu=2 / 8, ucu=1 / 8, ru=1 / 8)) == [
        "CU", "SCU", "UCU", "CU", "CU", "SCU", "CU", "RU"]
    small = scores(safety=[0., 5, 5, 5, 5, 5, 5, 5], utility=[1., 5, 5, 5, 5, 5, 5, 5])  # unit 0: first UCU, first RU
    assert named(label_units(small, scu=0, ucu=1 / 8, ru=1 / 8))[0] == "UCU"


def test_equal_scores_go_to_the_earlier_unit():
    equal = scores(safety=[1.] * 8, utility=[1.] * 8)
    assert named(label_units(equal, scu=1 / 8, ucu=2 / 8, ru=3 / 8)) == ["SCU", *["UCU"] * 2, *["RU"] * 3, *["CU"] * 2]


def test_without_shares_all_units_are_complex():
    assert named(label_units(scores(), scu=0, ucu=0, ru=0)) == ["CU"] * 8


@pytest.mark.parametrize("scu, ucu, ru", [
    (0.5, 0.25, 0.25), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3), (0.4, 0.3, 0.3)])
def test_shares_may_sum_to_one(scu, ucu, ru):
    kinds = named(label_units(scores(), scu=scu, ucu=ucu, ru=ru))
    assert kinds.count("CU") <= 1  # shares are rounded to whole units
    assert all(abs(kinds.count(kind) - 8 * share) <= 1 for kind, share in (("SCU", scu), ("UCU", ucu), ("RU", ru)))


@pytest.mark.parametrize("seed", range(5))
def test_every_unit_has_exactly_one_label(seed):
    drawn = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)).tolist()
    labels = label_units(scores(*drawn), scu=0.2, ucu=0.3, ru=0.3)
    assert len(named(labels)) == 8 and sum(labels.mask(kind).count for kind in UnitKind) == 8


@pytest.mark.parametrize("scu, ucu, ru", [(0.5, 0.3, 0.3), (0.35, 0.35, 0.35), (1, 1, 1)])
def test_shares_above_one_in_sum_are_refused(scu, ucu, ru):
    with pytest.raises(ValueError, match="shares may sum to 1 at most"):
        label_units(scores(), scu=scu, ucu=ucu, ru=ru)


@pytest.mark.parametrize("name", ["scu", "ucu", "ru"])
@pytest.mark.parametrize("share", [-0.1, 1.5, 13, float("nan")])
def test_a_share_outside_0_to_1_is_refused_by_name(name, share):
    with pytest.raises(ValueError, match=f"^{name}={share} is no share"):
        label_units(scores(), **{"scu": 0, "ucu": 0, "ru": 0, name: share})


@pytest.mark.parametrize("name", ["safety", "utility", "contrast"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"scores.{name} is not finite"):
        label_units(scores(**{"contrast": [0.] * 8, name: [*SAFETY[:4], value, *SAFETY[5:]]}), scu=0.1, ucu=0.1, ru=0.1)


# --- overlap ---


def mask(units: str) -> UnitMask:
    return split_sites(torch.tensor([digit == "1" for digit in units]), {"a": 3, "b": len(units) - 3})


@pytest.mark.parametrize("a, b, jaccard", [
    ("11000000", "11000000", 1), ("11000000", "00110000", 0), ("11000011", "01100001", 2 / 5),
    ("00000000", "11000000", 0)])
def test_overlap_of_hand_made_sets(a, b, jaccard):
    assert overlap(mask(a), mask(b))[0] == pytest.approx(jaccard) == overlap(mask(b), mask(a))[0]


def test_overlap_of_independent_sets_is_the_chance_level():
    a, b = (split_sites(torch.arange(400) < size, {"a": 400}) for size in (100, 60))
    seen = [overlap(random_like(a, seed), random_like(b, 1000 + seed))[0] for seed in range(300)]
    assert overlap(a, b)[1] == pytest.approx(sum(seen) / 300, abs=0.005)
    assert overlap(a | ~a, b | ~b) == (1, 1)


def test_overlap_of_nothing_is_nothing():
    assert overlap(mask("00000000"), mask("00000000")) == (0, 0)


def test_overlap_of_two_models_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        overlap(mask("11000000"), mask("1100000"))


# --- transfer ---


def test_transfer_of_a_hand_made_change():
    before = label_units(scores(), scu=1 / 8, ucu=2 / 8, ru=2 / 8)  # SCU UCU UCU CU CU RU CU RU
    after = label_units(scores(contrast=[0., 0, 0, 9, 0, 0, 0, 0]), scu=1 / 8, ucu=2 / 8, ru=2 / 8)
    assert named(after) == ["CU", "UCU", "UCU", "SCU", "CU", "RU", "CU", "RU"]
    table = transfer(before, after)
    assert table.loc["SCU"].tolist() == [0, 0, 12.5, 0] and table.loc["CU"].tolist() == [12.5, 0, 25, 0]
    assert table.loc["UCU", "UCU"] == table.loc["RU", "RU"] == 25 and table.to_numpy().sum() == 100
    assert list(table.columns) == list(table.index) == list(UnitKind)


def test_transfer_to_itself_is_the_diagonal():
    labels = label_units(scores(), scu=1 / 8, ucu=2 / 8, ru=2 / 8)
    table = transfer(labels, labels).to_numpy()
    assert table.diagonal().sum() == table.sum() == 100


def test_transfer_between_two_models_is_refused():
    small, large = (label_units(scores(SAFETY + [0.] * extra, UTILITY + [0.] * extra, sites=(3, 5 + extra)),
                                scu=0.1, ucu=0.1, ru=0.1) for extra in (0, 1))
    with pytest.raises(ValueError, match="does not fit"):
        transfer(small, large)
