"""Freezing done by hand on ordinary models: the reference that `freeze`, `train_only` and `check_frozen` are held to.

Nothing of `ssah_core` is used here but the mask itself: entries come from the layouts of the families, spelled out.
"""

import copy

import torch
import toys
from transformers.optimization import Adafactor

HEADS = 4
OPTIMIZERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-1, momentum=0.9, weight_decay=0.1),
    "adafactor": lambda parameters: Adafactor(parameters, lr=1e-2, weight_decay=0.1, relative_step=False,
                                              scale_parameter=False),
}
BATCHES = torch.randint(3, len(toys.SPECIAL) + len(toys.WORDS), (6, 3, 9), generator=torch.Generator().manual_seed(7))


def model(family: str, dtype: torch.dtype = torch.float32):
    """A toy model; "tied" is a Llama whose lm_head is its embedding."""
    if family == "tied":
        return toys.model("llama", dtype=dtype, tie_word_embeddings=True)
    return toys.model(family, dtype=dtype)


def copied(model):
    return copy.deepcopy(model.state_dict())


# --- entries ---


def value_row(unit: int, head_dim: int, groups: int) -> int:
    return unit // head_dim // groups * head_dim + unit % head_dim


def llama(block, kind, size, head_dim, groups):
    at = f"model.layers.{block}"
    if kind == "mlp":
        return (f"{at}.mlp.down_proj.weight", 1,
                {f"{at}.mlp.gate_proj.weight": lambda j: [j], f"{at}.mlp.up_proj.weight": lambda j: [j]})
    return (f"{at}.self_attn.o_proj.weight", 1,
            {f"{at}.self_attn.v_proj.weight": lambda j: [value_row(j, head_dim, groups)]})


def opt(block, kind, size, head_dim, groups):
    at = f"model.decoder.layers.{block}"
    if kind == "mlp":
        return f"{at}.fc2.weight", 1, {f"{at}.fc1.weight": lambda j: [j]}
    return f"{at}.self_attn.out_proj.weight", 1, {f"{at}.self_attn.v_proj.weight": lambda j: [j]}


def phi3(block, kind, size, head_dim, groups):  # q, k, v below each other; gate above up
    at, first = f"model.layers.{block}", size + size // groups
    if kind == "mlp":
        return f"{at}.mlp.down_proj.weight", 1, {f"{at}.mlp.gate_up_proj.weight": lambda j: [j, size + j]}
    return (f"{at}.self_attn.o_proj.weight", 1,
            {f"{at}.self_attn.qkv_proj.weight": lambda j: [first + value_row(j, head_dim, groups)]})


def gpt_neox(block, kind, size, head_dim, groups):  # q, k, v of head 0, then of head 1, ...
    at = f"gpt_neox.layers.{block}"
    if kind == "mlp":
        return f"{at}.mlp.dense_4h_to_h.weight", 1, {f"{at}.mlp.dense_h_to_4h.weight": lambda j: [j]}
    return (f"{at}.attention.dense.weight", 1, {f"{at}.attention.query_key_value.weight":
                                                lambda j: [j // head_dim * 3 * head_dim + 2 * head_dim + j % head_dim]})


def gpt2(block, kind, size, head_dim, groups):  # weights are [in, out]
    at = f"transformer.h.{block}"
    if kind == "mlp":
        return f"{at}.mlp.c_proj.weight", 0, {f"{at}.mlp.c_fc.weight": lambda j: [j]}
    return f"{at}.attn.c_proj.weight", 0, {f"{at}.attn.c_attn.weight": lambda j: [2 * size + j]}


LAYOUTS = {"llama": llama, "tied": llama, "opt": opt, "phi3": phi3, "gpt_neox": gpt_neox, "gpt2": gpt2}
GROUPS = {"llama": 2, "tied": 2, "phi3": 2}


def frozen_entries(family: str, state, mask, shared="any", rest="train") -> dict[str, torch.Tensor]:
    """Which entry of which parameter is frozen when the units of `mask` are: name -> bool, unit by unit."""
    frozen = {name: torch.full(weight.shape, rest == "freeze") for name, weight in state.items()}
    for site, chosen in mask.sites.items():
        kind, block = site.split(".")
        reader, axis, writers = LAYOUTS[family](block, kind, len(chosen), len(chosen) // HEADS, GROUPS.get(family, 1))
        for unit in range(len(chosen)):
            frozen[reader].select(axis, unit)[:] = chosen[unit]
        for writer, rows in writers.items():
            for row in {row for unit in range(len(chosen)) for row in rows(unit)}:
                fed = [bool(chosen[unit]) for unit in range(len(chosen)) if row in rows(unit)]
                frozen[writer].select(1 - axis, row)[:] = any(fed) if shared == "any" else all(fed)
    return frozen


def lines(frozen: torch.Tensor) -> tuple[int, torch.Tensor]:
    """Axis and indices of the rows or columns of a weight that train, from its frozen entries."""
    whole = frozen.all(1)
    axis = 0 if torch.equal(frozen, whole[:, None].expand_as(frozen)) else 1
    return axis, torch.nonzero(~(whole if axis == 0 else frozen.all(0))).flatten()


# --- training ---


def backward(model, ids) -> None:
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()


def trained(model, optimizer, steps=3, after_backward=lambda: None, after_step=lambda: None, parameters=None):
    """Steps over two micro-batches each, with clipping; the hooks are what is done by hand."""
    parameters = [p for p in model.parameters()] if parameters is None else parameters
    optimizer = OPTIMIZERS[optimizer](parameters) if isinstance(optimizer, str) else optimizer
    for step in range(steps):
        for ids in (BATCHES[2 * step % 6], BATCHES[(2 * step + 1) % 6]):
            backward(model, ids)
            after_backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        after_step()
        optimizer.zero_grad()
        model.zero_grad()
    return model


def frozen_by_hand(model, frozen, optimizer, steps=3):
    """Gradients of frozen entries zeroed after every backward pass, weights put back after every step."""
    start, named = copied(model), dict(model.named_parameters())

    def zero():
        for name, parameter in named.items():
            parameter.grad[frozen[name]] = 0

    @torch.no_grad()
    def restore():
        for name, parameter in named.items():
            parameter[frozen[name]] = start[name][frozen[name]]

    return trained(model, optimizer, steps, zero, restore)


def compact_by_hand(model, frozen, optimizer, steps=3):
    """An ordinary model whose whole gradient is cut to the trained rows or columns, which alone the optimiser holds."""
    named = {name: p for name, p in model.named_parameters() if not frozen[name].all()}
    places = {name: lines(frozen[name]) if p.dim() == 2 else (0, torch.arange(len(p))) for name, p in named.items()}
    small = {name: torch.nn.Parameter(named[name].detach().index_select(*place)) for name, place in places.items()}

    def cut():
        for name, place in places.items():
            small[name].grad = named[name].grad.index_select(*place)

    @torch.no_grad()
    def paste():
        for name, place in places.items():
            named[name].index_copy_(*place, small[name])

    return trained(model, optimizer, steps, cut, paste, list(small.values()))
