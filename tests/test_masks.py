"""Masks over units combine, travel and refuse exactly, and random ones are a fair control."""

import pytest
import torch

from ssah_core import UnitLabels, UnitMask, random_like
from ssah_core.units.masks import UnitKind, share_to_count, top_units


def mask(*units: str) -> UnitMask:
    """"10", "01": two sites "a" and "b" with a unit for every digit."""
    return UnitMask({"ab"[n]: torch.tensor([digit == "1" for digit in digits]) for n, digits in enumerate(units)})


def test_masks_combine_unit_by_unit():
    a, b = mask("1100", "10"), mask("1010", "00")
    assert a | b == mask("1110", "10") and a & b == mask("1000", "00") and ~a == mask("0011", "01")
    assert a == mask("1100", "10")  # none of it changed the masks


def test_masks_differ_by_any_unit():
    assert mask("10") != mask("01") and mask("10") != mask("100") and mask("10") != "10"


def test_count_and_fraction_are_over_all_sites():
    chosen = mask("1100", "1000")
    assert chosen.count == 3 and chosen.fraction == 3 / 8 and chosen.sizes == {"a": 4, "b": 4}
    assert chosen["a"].tolist() == [True, True, False, False]


@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(3, 1, dtype=torch.bool)])
def test_a_mask_is_of_bool_vectors(wrong):
    with pytest.raises(ValueError, match="'a'.*bool vector"):
        UnitMask({"a": wrong})


@pytest.mark.parametrize("other, sentence", [
    (mask("110", "10"), "'a' has 3 units"), (mask("1100"), "'b' has no units")])
def test_masks_of_different_models_do_not_combine(other, sentence):
    for combine in (UnitMask.__or__, UnitMask.__and__):
        with pytest.raises(ValueError, match=sentence):
            combine(mask("1100", "10"), other)


def test_top_takes_the_best_of_the_set_as_a_share_of_all_units():
    by = {"a": torch.tensor([9., 1, 5, 8]), "b": torch.tensor([7., 6, 2, 3])}
    assert mask("0110", "1100").top(0.25, by) == mask("0000", "1100")
    assert mask("0110", "1100").top(0.5, by) == mask("0110", "1100")
    assert mask("0110", "1100").top(0, by) == mask("0000", "0000")


def test_top_of_more_than_the_set_is_refused():
    with pytest.raises(ValueError, match="share 0.5 asks for 4 units but the set holds 3"):
        mask("0110", "1000").top(0.5, {"a": torch.ones(4), "b": torch.ones(4)})


@pytest.mark.parametrize("by", [
    {"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(1)},
    {"a": torch.tensor([1, torch.nan]), "b": torch.ones(2)}])
def test_top_needs_a_finite_score_for_every_unit(by):
    with pytest.raises(ValueError, match="not one finite score a unit"):
        mask("11", "11").top(0.25, by)


def test_equal_scores_go_to_the_earlier_unit():
    ties = {"a": torch.tensor([1., 2, 1]), "b": torch.tensor([1., 2, 2])}
    assert top_units(ties, 2) == mask("010", "010")
    assert top_units(ties, 4) == mask("110", "011")
    assert mask("001", "101").top(1 / 3, ties) == mask("001", "001")


@pytest.mark.parametrize("share, count", [(0, 0), (0.001, 1), (0.03, 3), (0.034, 3), (0.036, 4), (1, 100)])
def test_a_share_is_rounded_and_is_never_nothing(share, count):
    assert share_to_count(share, 100) == count


@pytest.mark.parametrize("share", [-0.1, 1.01, 3, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="scu=.*is no share: pass a number from 0 to 1"):
        share_to_count(share, 100, "scu")


def test_labels_give_the_mask_of_a_kind_by_name():
    masks = {kind: mask("10" if kind == UnitKind.CU else "00") for kind in UnitKind}
    assert UnitLabels(masks).mask("CU") is masks[UnitKind.CU] is UnitLabels(masks).mask(UnitKind.CU)
    with pytest.raises(ValueError, match="'ESU' is unknown: choose one of SCU, UCU, CU, RU"):
        UnitLabels(masks).mask("ESU")


# --- random controls ---


def test_a_random_control_has_as_many_units_in_every_site():
    chosen = mask("11100000", "10000000")
    drawn = random_like(chosen, seed=0)
    assert {site: int(m.sum()) for site, m in drawn.sites.items()} == {"a": 3, "b": 1} and drawn.sizes == chosen.sizes


def test_a_random_control_keeps_out_of_the_units_outside():
    chosen = mask("11100000", "10000000")
    for seed in range(20):
        assert (random_like(chosen, seed, outside=chosen) & chosen).count == 0
    assert random_like(mask("1100"), 0, outside=mask("1100")) == mask("0011")


def test_a_random_control_is_drawn_by_its_seed_alone():
    chosen = mask("1" * 20 + "0" * 60, "1" * 10 + "0" * 70)
    torch.manual_seed(1)
    first = random_like(chosen, 3)
    torch.manual_seed(2)
    assert random_like(chosen, 3) == first and random_like(chosen, 4) != first


def test_random_controls_draw_every_unit_equally_often():
    drawn = sum(random_like(mask("1100000000"), seed)["a"].int() for seed in range(1000))
    assert drawn.sum() == 2000 and (drawn - 200).abs().max() < 60  # 4.7 standard deviations


def test_a_control_without_enough_units_is_refused():
    with pytest.raises(ValueError, match="'a' has 1 units to draw 2 from"):
        random_like(mask("110"), 0, outside=mask("110"))
    with pytest.raises(ValueError, match="does not fit"):
        random_like(mask("110"), 0, outside=mask("11"))
