"""What hooks on a model is sure to run: under compilation as without, and where a pass goes round a site, an error."""

import pytest
import torch
import toys
from torch import nn

from ssah_core import (
    DirectionGuard,
    UnitMap,
    UnitMask,
    ablate,
    check_frozen,
    check_units,
    collect,
    complete,
    train_only,
)
from ssah_core.models import must_run, read_states, render, replacing
from ssah_core.probing.linear_probe import Readout
from ssah_core.units.attribution import effects, log_likelihood

TOKENIZER = toys.tokenizer()
IDS = torch.tensor([[0, 5, 9, 10, 11, 6, 12, 13]])
BATCH = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "token_mask": IDS > 9}


def forward(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def in_place(model):
    model.compile(backend="eager")
    return model


def wrapped(model):
    return torch.compile(model, backend="eager")


def blocks(model):
    for block in model.model.layers:
        block.compile(backend="eager")
    return model


@pytest.fixture(params=[forward, in_place, wrapped, blocks], ids=lambda how: how.__name__)
def compiled(request):
    """A model that has been compiled and has run, beside the same one that was not."""
    torch._dynamo.reset()
    plain, model = toys.model(dtype=torch.float32), request.param(toys.model(dtype=torch.float32))
    with torch.no_grad():
        model(input_ids=IDS)
    yield plain, model
    torch._dynamo.reset()


def third(model) -> UnitMask:
    return UnitMask({site: torch.arange(size) % 3 == 0 for site, size in UnitMap(model).sizes.items()})


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_units_are_removed_and_come_back(compiled):
    plain, model = compiled
    with ablate(plain, third(plain)), ablate(model, third(model)):
        removed = logits(plain)
        assert torch.equal(logits(model), removed)
    assert torch.equal(logits(model), logits(plain)) and not torch.equal(removed, logits(plain))


def test_moments_and_effects_are_those_of_every_site(compiled):
    plain, model = compiled
    moments, wanted = collect(model, [BATCH]), collect(plain, [BATCH])
    assert list(moments.sizes) == list(wanted.sizes) == ["attn.0", "mlp.0", "attn.1", "mlp.1"]
    assert all(torch.equal(moments.mean[site], mean) for site, mean in wanted.mean.items())
    found, right = (effects(each, [BATCH], log_likelihood, wanted)[0] for each in (model, plain))
    assert all(torch.equal(found[site], effect) for site, effect in right.items()) and len(found) == 4


def test_hidden_states_are_read_and_replaced(compiled):
    plain, model = compiled
    chats = render(TOKENIZER, toys.CHATS[:2])
    assert torch.equal(read_states(model, chats, (0,))[0], read_states(plain, chats, (0,))[0])
    states, column = torch.ones(1, 16), torch.tensor([7])
    with replacing(model, 0, states, column), replacing(plain, 0, states, column):
        changed = logits(plain)
        assert torch.equal(logits(model), changed)
    assert not torch.equal(changed, logits(model))


def test_the_guard_hears_every_token(compiled):
    plain, model = compiled
    readout = Readout(1, torch.ones(16, dtype=torch.float64), 0.0)
    said = []
    for each in (plain, model):
        with DirectionGuard(each, TOKENIZER, readout, refusal="never", threshold=-torch.inf) as guard:
            said.append(complete(each, TOKENIZER, ["how ?"], max_new_tokens=4, logits_processor=[guard])[0]["response"])
    assert said == ["never", "never"]


def test_units_train_alone(compiled):
    plain, model = compiled
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    for each in (plain, model):
        with train_only(each, third(each)):
            optimizer = torch.optim.SGD([p for p in each.parameters() if p.requires_grad], lr=0.1)
            each(input_ids=IDS, labels=IDS).loss.backward()
            optimizer.step()
    report = check_frozen(start, model, ~third(model), rest="freeze")
    assert report.trainable_changed > 0
    assert all(torch.equal(mine, its) for mine, its in
               zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


# -- modules that go round ---------------------------------------------------------------------------------


class Fused(nn.Module):
    """An MLP whose forward pass reads weights itself, as fused kernels do."""

    def __init__(self, mlp: nn.Module):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act = mlp.gate_proj, mlp.up_proj, mlp.down_proj, mlp.act_fn

    def forward(self, x):
        hidden = self.act(x @ self.gate_proj.weight.T) * (x @ self.up_proj.weight.T)
        return hidden @ self.down_proj.weight.T


@pytest.fixture
def fused(monkeypatch):
    model = toys.model(dtype=torch.float32)
    monkeypatch.setattr("ssah_core.units.check_units._RIGHT", set())
    model.model.layers[1].mlp = Fused(model.model.layers[1].mlp)
    return model


def within(model, context):
    with context:
        logits(model)


def train(model, context):
    with context:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()


USES = {
    "ablate": lambda model: within(model, ablate(model, third(model))),
    "collect": lambda model: collect(model, [BATCH]),
    "effects": lambda model: effects(model, [BATCH], log_likelihood, zeros(model)),
    "train_only": lambda model: train(model, train_only(model, third(model))),
    "check_units": check_units,
}


def zeros(model):
    from ssah_core import Moments

    return Moments(1, *[{site: torch.zeros(size).double() for site, size in UnitMap(model).sizes.items()}] * 2)


@pytest.mark.parametrize("use", USES)
def test_a_site_that_a_pass_goes_round_is_named(fused, use, monkeypatch):
    monkeypatch.setattr("ssah_core.units.check_units.check_units", lambda model: None)  # it would be refused before
    before = logits(fused)
    with pytest.raises(ValueError, match=r"mlp[.]1.*plain modules of transformers" if use == "check_units" else
                       r"went round (site 'mlp[.]1'|model.layers.1.mlp[.]\w+).*plain modules of"):
        USES[use](fused)
    assert toys.hooks(fused) == 0 and torch.equal(logits(fused), before)


@pytest.mark.parametrize("use", ["ablate", "collect", "effects", "train_only"])
def test_such_a_model_fails_the_self_check_first(fused, use):
    with pytest.raises(ValueError, match=r"site 'mlp[.]1': its .*down_proj is never called"):
        USES[use](fused)


def test_a_block_that_is_skipped_is_named():
    model = toys.model(dtype=torch.float32)
    skipped, model.model.layers = model.model.layers[1], nn.ModuleList(model.model.layers)
    with pytest.raises(ValueError, match="went round layer 2"), must_run(model, {"layer 2": skipped}):
        model.config.num_hidden_layers = 1
        logits(model)


def test_a_pass_that_nothing_goes_round_is_let_through_again_and_again():
    model = toys.model(dtype=torch.float32)
    with must_run(model, {"mlp": model.model.layers[1].mlp}):
        assert torch.equal(logits(model), logits(model))
    assert toys.hooks(model) == 0
