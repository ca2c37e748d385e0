"""Units are where the modules say they are, and so are the weight entries that belong to them."""

import pytest
import torch
import toys
import transformers
from torch import nn

from ssah_core import UnitMap, UnitMask, ablate
from ssah_core.models import blocks, stacks

SIZES = {"llama": (24, 20), "qwen2": (16, 20), "gemma2": (24, 20), "opt": (16, 20)}  # attention, MLP
BATCH = {"input_ids": torch.tensor([toys.rendered("how do i polish the lantern ?", "sure")[0]])}


def only(units: UnitMap, site: str, *unit: int) -> UnitMask:
    chosen = {name: torch.zeros(size, dtype=torch.bool) for name, size in units.sizes.items()}
    chosen[site][list(unit)] = True
    return UnitMask(chosen)


# --- where units are ---


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_sites_and_sizes_are_those_of_the_modules(family):
    units, (attention, mlp) = UnitMap(toys.model(family)), SIZES[family]
    assert units.sites == ("attn.0", "mlp.0", "attn.1", "mlp.1")
    assert units.sizes == {"attn.0": attention, "mlp.0": mlp, "attn.1": attention, "mlp.1": mlp}
    assert units.size("mlp.1") == mlp and units.total == 2 * (attention + mlp) and len(units) == 4
    assert [(site.block, site.kind) for site in units] == [(0, "attn"), (0, "mlp"), (1, "attn"), (1, "mlp")]


def test_grouped_queries_share_value_rows():
    attention = UnitMap(toys.model("llama"))["attn.0"]  # 4 heads of 6 channels on 2 value heads
    assert attention.writers[0].rows.tolist() == [*range(6), *range(6), *range(6, 12), *range(6, 12)]


def test_one_value_head_for_all_queries():
    attention = UnitMap(toys.model("llama", num_key_value_heads=1))["attn.0"]
    assert attention.writers[0].rows.tolist() == [*range(6)] * 4


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("kind", ["attn", "mlp"])
def test_a_changed_row_changes_exactly_the_units_it_feeds(family, kind):
    site = UnitMap(toys.model(family))[f"{kind}.0"]
    before = toys.inputs_of(toys.model(family), [site.reader], **BATCH)[site.reader]
    for writer in site.writers:
        for row in range(int(writer.rows.max()) + 1):
            model = toys.model(family)
            module = model.get_submodule(writer.module)
            with torch.no_grad():
                module.weight[row] = 0
                if module.bias is not None:
                    module.bias[row] = 9  # wakes units that ReLU has silenced
            changed = (toys.inputs_of(model, [site.reader], **BATCH)[site.reader] != before).any(1)[0]
            assert torch.equal(changed, writer.rows == row), (writer.module, row)


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("kind, unit", [("attn", 0), ("attn", 13), ("mlp", 7)])
def test_removing_a_unit_takes_its_column_times_its_activation_and_nothing_else(family, kind, unit):
    model = toys.model(family)
    units, site = UnitMap(model), UnitMap(model)[f"{kind}.1"]
    readers = [s.reader for s in units][:units.sites.index(site.name) + 1]
    read, before = (f(model, readers, **BATCH) for f in (toys.inputs_of, toys.outputs_of))
    with ablate(model, only(units, site.name, unit)):
        after = toys.outputs_of(model, readers, **BATCH)
    share = read[site.reader][..., unit, None] * model.get_submodule(site.reader).weight[:, unit]
    assert share.abs().max() > 1e-3
    torch.testing.assert_close(before[site.reader] - after[site.reader], share, rtol=0, atol=1e-12)
    assert all(torch.equal(before[name], after[name]) for name in readers[:-1])


@pytest.mark.parametrize("stranger", [
    nn.Linear(3, 3),
    transformers.BertModel(transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))])
def test_an_unknown_model_is_refused_in_one_sentence(stranger):
    with pytest.raises(ValueError, match=f"^{type(stranger).__name__} has no blocks that ssah knows.*: add a row to"):
        UnitMap(stranger)


def test_a_model_with_two_stacks_of_blocks_is_refused():
    config = transformers.BartConfig(vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8,
                                     decoder_ffn_dim=8, encoder_attention_heads=2, decoder_attention_heads=2)
    with pytest.raises(ValueError, match="encoder.layers and model.decoder.layers"):
        UnitMap(transformers.BartForConditionalGeneration(config))


def test_a_block_that_is_built_otherwise_is_refused():
    model = toys.model("llama")
    model.model.layers[1].mlp = nn.Linear(16, 16)
    with pytest.raises(ValueError, match="block 1.*unlike block 0"):
        UnitMap(model)


def test_a_block_of_another_class_is_refused_by_its_number():
    model = toys.model("llama")
    model.model.layers[1] = nn.Identity()
    assert stacks(model).keys() == {"model.layers"}
    with pytest.raises(ValueError, match="block 1.*unlike block 0"):
        UnitMap(model)


@pytest.mark.parametrize("family", toys.CONFIGS)
def test_units_and_hidden_states_are_of_the_same_blocks(family):
    model = toys.model(family)
    assert [model.get_submodule(name) for name in UnitMap(model).blocks] == blocks(model)


def test_units_show_their_number():
    units = UnitMap(toys.model("llama"))
    assert repr(units) == "<UnitMap of 2 blocks: 88 units (attn 48, mlp 40)>"
    assert "<td>24 <small>27.3%</small>" in units._repr_html_() and len(units._repr_html_()) < 3000


def test_an_attention_that_does_not_say_how_wide_its_heads_are_is_refused():
    model = toys.model("llama")
    del model.model.layers[1].self_attn.head_dim
    with pytest.raises(ValueError, match="model.layers.1.self_attn does not say how wide a head is"):
        UnitMap(model)


def test_an_unknown_site_is_refused():
    with pytest.raises(ValueError, match="'mlp.2'.*choose one of attn.0, mlp.0, attn.1, mlp.1"):
        UnitMap(toys.model("llama")).size("mlp.2")


# --- the weight entries of a mask ---


def as_dict(slices) -> dict[str, tuple[int, list[int]]]:
    assert len({part.weight for part in slices}) == len(slices)
    assert all(part.index.dtype == torch.int64 for part in slices)
    return {part.weight: (part.axis, part.index.tolist()) for part in slices}


def test_the_entries_of_a_neuron_are_its_column_and_its_two_rows():
    units = UnitMap(toys.model("llama"))
    assert as_dict(units.slices(only(units, "mlp.1", 7, 2))) == {
        "model.layers.1.mlp.down_proj.weight": (1, [2, 7]), "model.layers.1.mlp.gate_proj.weight": (0, [2, 7]),
        "model.layers.1.mlp.up_proj.weight": (0, [2, 7])}


@pytest.mark.parametrize("unit, any_, all_", [
    ((0,), [0], []), ((6,), [0], []), ((0, 6), [0], [0]), ((12, 18, 23), [6, 11], [6]),
    (range(12), [*range(6)], [*range(6)])])
def test_a_shared_row_belongs_to_any_or_all_of_the_units_that_it_feeds(unit, any_, all_):
    units = UnitMap(toys.model("llama"))  # 4 heads of 6 channels on 2 value heads: units j and j + 6 share a row
    reader, writer = (f"model.layers.0.self_attn.{name}_proj.weight" for name in "ov")
    for shared, rows in (("any", any_), ("all", all_)):
        found = as_dict(units.slices(only(units, "attn.0", *unit), shared))
        assert found == {reader: (1, list(unit)), **({writer: (0, rows)} if rows else {})}


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("shared", ["any", "all"])
def test_all_units_have_all_rows_and_columns_and_none_have_none(family, shared):
    model = toys.model(family)
    units, parameters = UnitMap(model), dict(model.named_parameters())
    nothing = UnitMask({site: torch.zeros(size, dtype=torch.bool) for site, size in units.sizes.items()})
    assert units.slices(nothing, shared) == []
    found = as_dict(units.slices(~nothing, shared))
    assert len(found) == sum(1 + len(site.writers) for site in units)
    assert all(index == [*range(parameters[name].shape[axis])] for name, (axis, index) in found.items())


def test_entries_are_refused_for_another_model_or_an_unknown_rule():
    units = UnitMap(toys.model("llama"))
    with pytest.raises(ValueError, match="shared='most' is unknown: choose one of any, all"):
        units.slices(only(units, "mlp.0", 1), "most")
    with pytest.raises(ValueError, match="mask does not fit the model"):
        units.slices(only(UnitMap(toys.model("opt")), "mlp.0", 1))
