"""What holds for all masks, moments, models and labels: algebra, order, permutations, files, shares.

(The laws of sets themselves, and files of random masks, scores and moments, are in test_unit_files.py.)
"""

import math
from collections import Counter

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from ssah_core import (
    Moments,
    Scores,
    UnitLabels,
    UnitMap,
    UnitMask,
    batches,
    collect,
    label_units,
    random_like,
    score_units,
    transfer,
)
from ssah_core.units import UnitKind, share_to_count, top_units
from ssah_core.units.labels import overlap

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)
sizes_of_sites = st.dictionaries(st.sampled_from([f"{kind}.{n}" for kind in ("attn", "mlp") for n in range(9)]),
                                 st.integers(1, 12), min_size=1, max_size=4)
seeds = st.integers(0, 2 ** 32)


def drawn(sizes: dict[str, int], seed: int, share: float = 0.5) -> UnitMask:
    draw = torch.Generator().manual_seed(seed)
    return UnitMask({site: torch.rand(size, generator=draw) < share for site, size in sizes.items()})


def units_of(mask: UnitMask) -> set[tuple[str, int]]:
    return {(site, unit) for site, chosen in mask.sites.items() for unit in chosen.nonzero().flatten().tolist()}


# -- masks -------------------------------------------------------------------------------------------------


@few
@given(sizes_of_sites, seeds, seeds)
def test_masks_are_sets_of_units(sizes, first, second):
    a, b = drawn(sizes, first), drawn(sizes, second)
    universe = {(site, unit) for site, size in sizes.items() for unit in range(size)}
    assert units_of(a | b) == units_of(a) | units_of(b) and units_of(a & b) == units_of(a) & units_of(b)
    assert units_of(a & ~b) == units_of(a) - units_of(b) and units_of(~a) == universe - units_of(a)
    assert ~(a & b) == ~a | ~b and (a & ~a).count == 0 and units_of(a | ~a) == universe
    assert a.count == len(units_of(a)) and a.fraction == a.count / len(universe)
    assert sum(a.counts.values()) == a.count and a.sizes == sizes


@few
@given(sizes_of_sites, seeds, seeds, st.floats(0, 1))
def test_random_units_are_as_many_a_site_and_outside(sizes, seed, other, share):
    mask, barred = drawn(sizes, seed, share / 2), drawn(sizes, other, share)
    if all(mask.counts[site] <= sizes[site] - barred.counts[site] for site in sizes):
        found = random_like(mask, seed % 1000, outside=barred)
        assert found.counts == mask.counts and (found & barred).count == 0
    found = random_like(mask, seed % 1000)
    assert found.counts == mask.counts and found == random_like(mask, seed % 1000)


@few
@given(sizes_of_sites, seeds, st.floats(0, 1))
def test_the_top_units_are_those_that_a_sort_puts_first(sizes, seed, share):
    draw = torch.Generator().manual_seed(seed)
    scores = {site: torch.randint(-3, 4, (size,), generator=draw).double() for site, size in sizes.items()}  # with ties
    n = share_to_count(share, sum(sizes.values()))
    placed = [(site, unit) for site, size in sizes.items() for unit in range(size)]
    first = sorted(placed, key=lambda at: -scores[at[0]][at[1]].item())[:n]  # sorted is stable: earlier units first
    assert units_of(top_units(scores, n)) == set(first)


@few
@given(sizes_of_sites, seeds, seeds)
def test_overlap_is_that_of_sets(sizes, first, second):
    a, b = drawn(sizes, first), drawn(sizes, second)
    both, either = len(units_of(a) & units_of(b)), len(units_of(a) | units_of(b))
    assert overlap(a, b)[0] == (both / either if either else 0) and 0 <= overlap(a, b)[1] <= 1
    assert overlap(a, b) == overlap(b, a) and (overlap(a, a)[0] == 1 or not a.count)


# -- labels and transfer -----------------------------------------------------------------------------------

shares = st.tuples(*[st.floats(0, 0.33)] * 3)


def scores_of(sizes: dict[str, int], seed: int) -> Scores:
    draw = torch.Generator().manual_seed(seed)
    part = lambda: {site: torch.randn(size, generator=draw, dtype=torch.float64) for site, size in sizes.items()}  # noqa: E731
    return Scores("by hand", part(), part(), part())


@few
@given(sizes_of_sites, seeds, shares)
def test_labels_are_a_partition_of_the_shares_that_were_asked_for(sizes, seed, asked):
    scu, ucu, ru = asked
    labels, total = label_units(scores_of(sizes, seed), scu=scu, ucu=ucu, ru=ru), sum(sizes.values())
    kinds = Counter(unit for kind in UnitKind for unit in units_of(labels.mask(kind)))
    assert len(kinds) == total and set(kinds.values()) == {1}
    assert labels.mask("SCU").count == share_to_count(scu, total)
    left = total - labels.mask("SCU").count
    assert labels.mask("UCU").count == min(share_to_count(ucu, total), left)
    assert labels.mask("RU").count == min(share_to_count(ru, total), left - labels.mask("UCU").count)


@few
@given(sizes_of_sites, seeds, seeds, shares, shares)
def test_a_transfer_table_counts_every_unit_once(sizes, first, second, asked, again):
    before, after = (label_units(scores_of(sizes, seed), scu=share[0], ucu=share[1], ru=share[2])
                     for seed, share in ((first, asked), (second, again)))
    table = transfer(before, after)
    assert math.isclose(table.to_numpy().sum(), 100) and (table.to_numpy() >= 0).all()
    for kind in UnitKind:
        assert math.isclose(table.loc[kind].sum(), 100 * before.mask(kind).fraction, abs_tol=1e-9)
        assert math.isclose(table[kind].sum(), 100 * after.mask(kind).fraction, abs_tol=1e-9)
    assert (transfer(after, before).to_numpy().T == table.to_numpy()).all()
    same = transfer(before, before).to_numpy()
    assert (same == same * torch.eye(4).numpy()).all()  # nothing leaves its kind


# -- moments -----------------------------------------------------------------------------------------------


def of(x: torch.Tensor) -> Moments:
    return Moments(len(x), {"mlp.0": x.mean(0)}, {"mlp.0": (x - x.mean(0)).square().sum(0)})


def assert_close(a: Moments, b: Moments, scale: float) -> None:
    """Equal up to rounding: 1e-12 of the numbers' size, and of their squares."""
    assert a.count == b.count
    torch.testing.assert_close(a.mean["mlp.0"], b.mean["mlp.0"], rtol=1e-12, atol=1e-12 * scale)
    torch.testing.assert_close(a.squares["mlp.0"], b.squares["mlp.0"], rtol=1e-9, atol=1e-12 * a.count * scale ** 2)


@few
@given(st.integers(3, 40), st.integers(1, 4), seeds, st.sampled_from([1e-3, 1.0, 1e6]), st.data())
def test_moments_do_not_depend_on_where_tokens_are_split_nor_on_their_order(tokens, units, seed, scale, data):
    x = scale * (3 + torch.randn(tokens, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    i, j = sorted(data.draw(st.lists(st.integers(1, tokens - 1), min_size=2, max_size=2, unique=True)))
    whole, a, b, c = of(x), of(x[:i]), of(x[i:j]), of(x[j:])
    for merged in ((a + b) + c, a + (b + c), (c + a) + b, of(x.flip(0))):
        assert_close(merged, whole, 10 * scale)
    assert_close(a + b, b + a, 10 * scale)
    torch.testing.assert_close(((a + b) + c).variance["mlp.0"], x.var(0), rtol=1e-9, atol=1e-12 * scale ** 2)


@few
@given(seeds)
def test_collected_moments_are_those_of_any_batches(seed):
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(toys.CHATS), generator=draw).tolist()
    size = int(torch.randint(1, len(order) + 1, (1,), generator=draw))
    found = collect(MODEL, batches([toys.CHATS[n] for n in order], toys.tokenizer(), batch_size=size))
    assert found.count == WHOLE.count and found.sizes == WHOLE.sizes
    for site, mean in WHOLE.mean.items():
        torch.testing.assert_close(found.mean[site], mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.squares[site], WHOLE.squares[site], rtol=1e-9, atol=1e-9)


MODEL = toys.model()
WHOLE = collect(MODEL, batches(toys.CHATS, toys.tokenizer()))


# -- permutations of units ---------------------------------------------------------------------------------


def permuted(family: str, block: int, order: torch.Tensor):
    """A model whose MLP units in one block have changed places: rows of gate and up, columns of down."""
    model = toys.model(family)
    with torch.no_grad():
        for part in UnitMap(model)[f"mlp.{block}"].writers:
            module = model.get_submodule(part.module)
            rows = part.rows[order]
            module.weight.copy_(moved(module.weight, part.axis, part.rows, rows))
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(moved(module.bias, 0, part.rows, rows))
        site = UnitMap(model)[f"mlp.{block}"]
        reader = model.get_submodule(site.reader)
        reader.weight.copy_(reader.weight.index_select(site.axis, order))
    return model


def moved(weight: torch.Tensor, axis: int, to: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return weight.clone().index_copy_(axis, to, weight.index_select(axis, rows))


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2", "phi3"])
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(seed=seeds)
def test_units_that_change_places_take_their_scores_and_labels_along(family, seed):
    order, model = torch.randperm(20, generator=torch.Generator().manual_seed(seed)), toys.model(family)
    other, chats = permuted(family, 1, order), batches(toys.CHATS, toys.tokenizer())
    inputs = {name: chats[0][name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        torch.testing.assert_close(other(**inputs).logits, model(**inputs).logits, rtol=1e-9, atol=1e-9)
    found = [collect(each, batches(toys.CHATS, toys.tokenizer(), tokens)) for each in (model, other)
             for tokens in ("response", "prompt")]
    here, there = (score_units(each, safety=found[n], utility=found[n + 1]) for each, n in ((model, 0), (other, 2)))
    for part in ("safety", "utility", "contrast"):
        a, b = getattr(here, part), getattr(there, part)
        torch.testing.assert_close(b["mlp.1"], a["mlp.1"][order], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(b["mlp.0"], a["mlp.0"], rtol=1e-6, atol=1e-9)
    shares = dict(scu=0.1, ucu=0.2, ru=0.2)
    labels, again = label_units(here, **shares), label_units(there, **shares)
    for kind in UnitKind:
        assert again.mask(kind)["mlp.1"].tolist() == labels.mask(kind)["mlp.1"][order].tolist()
        assert again.mask(kind)["mlp.0"].tolist() == labels.mask(kind)["mlp.0"].tolist()


# -- files -------------------------------------------------------------------------------------------------

HARD = (0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 0.1)
"""Zeros of both signs, the smallest subnormals, the smallest normal number, the largest."""


def bits(part) -> dict[str, bytes]:
    return {site: value.numpy().tobytes() for site, value in part.items()}


@few
@given(sizes_of_sites, seeds, st.lists(st.sampled_from(HARD) | st.floats(allow_nan=False, allow_infinity=False),
                                       min_size=48, max_size=48))
def test_all_four_kinds_of_file_come_back_bit_for_bit(tmp_path_factory, sizes, seed, numbers):
    path = tmp_path_factory.mktemp("files") / "thing"
    part = {site: torch.tensor(numbers[:size], dtype=torch.float64) for site, size in sizes.items()}
    flipped = {site: -value for site, value in part.items()}
    squares = {site: value.abs() for site, value in part.items()}
    scores, moments = Scores("by hand", part, flipped, squares), Moments(seed, part, squares)
    labels, mask = label_units(scores_of(sizes, seed), scu=0.2, ucu=0.2, ru=0.2), drawn(sizes, seed)
    for thing in (scores, moments, labels, mask):
        thing.save(path, about={"seed": str(seed)})
        back = type(thing).load(path)
        if isinstance(thing, UnitMask | UnitLabels):
            assert back == thing and back.sizes == thing.sizes
        for name in ("safety", "utility", "contrast", "mean", "squares"):
            assert bits(getattr(back, name, {})) == bits(getattr(thing, name, {}))
        assert list(back.sizes) == list(sizes)
