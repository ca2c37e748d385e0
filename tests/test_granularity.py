"""Grains are of equal size, found as Wei et al. find them, and removed or held exactly."""

import pandas
import pytest
import torch
import toys

from ssah_core import UnitMap, UnitMask, ablate
from ssah_core.studies import granularity
from ssah_core.studies.matched_controls import whole_heads
from ssah_core.studies.subject import WAYS
from ssah_core.units.masks import split_sites


def some(model, share=0.3):
    units = UnitMap(model)
    return split_sites(torch.rand(units.total, generator=torch.Generator().manual_seed(0)) < share, units.sizes)


def test_set_difference_is_the_smallest_pair_of_tops_that_leaves_enough():
    generator = torch.Generator().manual_seed(1)
    safety, utility = ({"a": torch.rand(3, 5, generator=generator), "b": torch.rand(4, 4, generator=generator)}
                       for _ in range(2))
    flat = [torch.cat([score.flatten() for score in scores.values()]) for scores in (safety, utility)]
    for n in (1, 4, 7):
        chosen = granularity.set_difference(safety, utility, n)
        for k in range(len(flat[0]) + 1):  # by brute force
            tops = [set(scores.argsort(descending=True)[:k].tolist()) for scores in flat]
            if len(tops[0] - tops[1]) >= n:
                break
        found = torch.cat([mask.flatten() for mask in chosen.values()]).nonzero().flatten().tolist()
        assert set(found) == tops[0] - tops[1] and chosen["a"].shape == (3, 5)


def test_a_difference_that_is_never_so_large_is_the_largest_there_is():
    same = {"a": torch.arange(6.0).view(2, 3)}
    assert granularity.count(granularity.set_difference(same, same, 3)) == 0


def test_removing_the_weights_of_units_is_removing_the_units():
    model = toys.model("llama")
    mask, ids = some(model), torch.tensor([toys.ids("<s> <user> how do i polish the kettle ? <assistant>")])
    with ablate(model, mask), torch.no_grad():
        expected = model(input_ids=ids).logits
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with granularity.weights_removed(model, granularity.weights_of(model, mask)), torch.no_grad():
        # v rows that several heads share go with any of them, so compare where none is shared
        found = model(input_ids=ids).logits
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found.shape == expected.shape and not torch.allclose(found, model(input_ids=ids).logits)
    own = toys.model("llama", num_key_value_heads=4)
    with ablate(own, mask), torch.no_grad():
        expected = own(input_ids=ids).logits
    with granularity.weights_removed(own, granularity.weights_of(own, mask)), torch.no_grad():
        assert torch.allclose(own(input_ids=ids).logits, expected, atol=1e-10)


def test_held_weights_stay_and_the_others_train():
    model = toys.model()
    masks = {name: torch.rand(model.get_parameter(name).shape, generator=torch.Generator().manual_seed(2)) < 0.4
             for name in granularity.weights_of(model, some(model))}
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    ids = torch.tensor([toys.ids("<s> <user> how ?")])
    with granularity.weights_held(model, masks):
        for _ in range(3):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
    for name, mask in masks.items():
        changed = before[name] != model.get_parameter(name)
        assert not bool(changed[mask].any()) and bool(changed[~mask].any())
    optimizer.step()
    assert any(bool((before[name] != model.get_parameter(name))[mask].any()) for name, mask in masks.items())


def test_heads_are_whole_and_the_best(subject):
    by = {site.name: torch.arange(site.size).double() for site in UnitMap(subject.model)}
    size = subject.model.config.hidden_size // subject.model.config.num_attention_heads
    chosen = whole_heads(subject.model, by, parameters=2 * subject.model.config.hidden_size * size)
    assert chosen.count == size
    assert sum(bool(mask[-size:].all()) for site, mask in chosen.sites.items() if site.startswith("attn")) == 1


def ranks(model):
    generator = torch.Generator().manual_seed(3)
    return {site.name: torch.rand(site.size, generator=generator) for site in UnitMap(model)}


def first_heads(model, by, n) -> UnitMask:
    """The first `n` heads, of 6 units each, by their mean."""
    masks = {site.name: torch.zeros(site.size, dtype=torch.bool) for site in UnitMap(model)}
    order = sorted(((float(by[site][at:at + 6].mean()), site, at) for site in masks if site.startswith("attn")
                    for at in range(0, 24, 6)), reverse=True)
    for _, site, at in order[:n]:
        masks[site][at:at + 6] = True
    return UnitMask(masks)


def test_heads_that_share_rows_of_v_have_as_many_weights_as_can_be():
    model = toys.model("llama")  # 4 heads of 6 channels, 2 value heads
    by = ranks(model)
    sizes = {n: granularity.count(granularity.weights_of(model, first_heads(model, by, n))) for n in range(1, 9)}
    assert sizes[1] == 2 * 6 * 16 and sizes[8] == (24 + 12) * 16 * 2
    for parameters in range(1, 1400, 7):
        found = granularity.count(granularity.weights_of(model, whole_heads(model, by, parameters)))
        assert abs(found - parameters) == min(abs(size - parameters) for size in sizes.values())


def test_where_no_row_is_shared_heads_are_all_of_one_size_and_halves_are_rounded_to_even():
    model = toys.model("llama", num_key_value_heads=4)
    by, each = ranks(model), 2 * 6 * 16
    for parameters in {*range(1, 9 * each, 41), *range(each // 2, 9 * each, each // 2)}:
        expected = first_heads(model, by, max(1, round(parameters / each)))
        assert all(torch.equal(mask, expected[site]) for site, mask in
                   whole_heads(model, by, parameters).sites.items())


def test_every_grain_is_removed_and_held(loaded):
    sizes = {way: {"SCU": 0.1, "UCU": 0.2, "RU": 0.2} for way in WAYS}
    assert granularity.grains_for(loaded.model) == granularity.GRAINS
    table = pandas.DataFrame([row for grain in ("none", *granularity.GRAINS)
                              for row in granularity.compared(0, "tiny", grain, sizes)])
    assert set(table.how) == {"removed", "held"} and set(table[table.parameters == 0].grain) == {"none"}
    counts = table.drop_duplicates(["grain", "how"]).set_index(["how", "grain"]).parameters
    for how in ("removed", "held"):
        # an untrained model's sets have much in common, so their difference may be smaller than asked
        assert 0.5 < counts[how, "single weights"] / counts[how, "units"] < 1.01


def test_only_the_grain_that_is_asked_for_is_ranked(subject, monkeypatch):
    ranked = []
    for name, module in (("whole_heads", granularity), ("whole_sites", granularity), ("snip", granularity)):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, name=name, plain=plain: ranked.append(name) or plain(*args))
    mask = some(subject.model, 0.1)
    for grain, used in (("none", []), ("units", []), ("heads", ["whole_heads"]), ("whole sites", ["whole_sites"]),
                        ("single weights", ["snip", "snip"])):
        assert bool(granularity.finder(subject, grain)(mask)) == (grain != "none") and ranked == used
        ranked.clear()


def test_an_unknown_grain_is_refused(subject):
    with pytest.raises(ValueError, match="grain='layers' is unknown: choose one of none, single weights, units"):
        granularity.finder(subject, "layers")


def test_a_model_with_too_many_weights_to_rank_has_no_single_ones(subject, monkeypatch):
    monkeypatch.setattr(granularity, "MOST", 99)
    assert granularity.grains_for(subject.model) == ("units", "heads", "whole sites")
