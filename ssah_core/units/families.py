"""Families of decoders: what their modules are called, and which rows of a weight feed which unit.

One row of `FAMILIES` a family, no class. A new family needs a row, and a new layout only if it lays out its rows as
no family here does; `ssah.check_units` says whether the row is right.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

import torch
from torch import Tensor

Layout = Callable[[int, int, int], Tensor]
"""(units, rows, head_dim) -> the rows that feed each unit: int64 [part, unit], with two parts if a weight holds both
gate and up. Counts alone say how many value heads there are, so no config is asked."""


# -- attention: which rows are the values -----------------------------------------------------------------


def values(units: int, rows: int, head_dim: int) -> Tensor:
    """v alone. Unit (head h, channel d) is fed by row (h // G) * D + d where G query heads share a value head.

    >>> values(units=8, rows=4, head_dim=2).tolist()
    [[0, 1, 0, 1, 2, 3, 2, 3]]
    """
    if rows < 1 or rows % head_dim or units % rows:
        raise ValueError(f"{rows} value rows cannot feed {units} units in heads of {head_dim}")
    unit = torch.arange(units)
    return (unit // head_dim // (units // rows) * head_dim + unit % head_dim)[None]


def queries_keys_values(units: int, rows: int, head_dim: int) -> Tensor:
    """All q, then all k, then all v.

    >>> queries_keys_values(units=4, rows=12, head_dim=2).tolist()
    [[8, 9, 10, 11]]
    """
    fed = _value_rows(units, rows)
    return rows - fed + values(units, fed, head_dim)


def groups_of_queries_key_value(units: int, rows: int, head_dim: int) -> Tensor:
    """For every value head its q heads, its k and its v; where each head has its own v: q, k, v for every head.

    >>> groups_of_queries_key_value(units=4, rows=12, head_dim=2).tolist()
    [[4, 5, 10, 11]]
    """
    fed = _value_rows(units, rows)
    row = values(units, fed, head_dim)
    group = rows // (fed // head_dim)  # rows of a group; the last head_dim of them are its v
    return row // head_dim * group + group - head_dim + row % head_dim


def _value_rows(units: int, rows: int) -> int:
    """How many rows of a fused weight are v: as many are q as there are units, and as many k as v. 0 if none fit."""
    return (rows - units) // 2 if (rows - units) % 2 == 0 else 0


# -- MLP --------------------------------------------------------------------------------------------------


def one_each(units: int, rows: int, head_dim: int) -> Tensor:
    """Row j feeds unit j.

    >>> one_each(units=3, rows=3, head_dim=1).tolist()
    [[0, 1, 2]]
    """
    if rows != units:
        raise ValueError(f"{rows} rows cannot feed {units} units one each")
    return torch.arange(units)[None]


def gate_then_up(units: int, rows: int, head_dim: int) -> Tensor:
    """All gates, then all ups.

    >>> gate_then_up(units=2, rows=4, head_dim=1).tolist()
    [[0, 1], [2, 3]]
    """
    if rows != 2 * units:
        raise ValueError(f"{rows} rows cannot feed {units} units two each")
    return torch.arange(rows).view(2, units)


# -- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Names of the modules of one family of decoders, relative to a block, and how their rows are laid out.

    >>> FAMILIES[0].mlp_in, FAMILIES[0].mlp_rows.__name__
    (('mlp.gate_proj', 'mlp.up_proj'), 'one_each')
    """

    attention_out: str
    attention_in: str
    mlp_out: str
    mlp_in: tuple[str, ...]
    attention_rows: Layout = values
    mlp_rows: Layout = one_each

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.attention_out, self.attention_in, self.mlp_out, *self.mlp_in)


FAMILIES = (
    # Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3, OLMo 2, StableLM, SmolLM 3, Granite, Cohere
    Family("self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", ("mlp.gate_proj", "mlp.up_proj")),
    # Phi-3 and 4
    Family("self_attn.o_proj", "self_attn.qkv_proj", "mlp.down_proj", ("mlp.gate_up_proj",),
           queries_keys_values, gate_then_up),
    # GLM-4
    Family("self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", ("mlp.gate_up_proj",), mlp_rows=gate_then_up),
    # Phi-1 and 2
    Family("self_attn.dense", "self_attn.v_proj", "mlp.fc2", ("mlp.fc1",)),
    # StarCoder 2
    Family("self_attn.o_proj", "self_attn.v_proj", "mlp.c_proj", ("mlp.c_fc",)),
    # OPT
    Family("self_attn.out_proj", "self_attn.v_proj", "fc2", ("fc1",)),
    # GPT-2
    Family("attn.c_proj", "attn.c_attn", "mlp.c_proj", ("mlp.c_fc",), queries_keys_values),
    # GPT-Neo
    Family("attn.attention.out_proj", "attn.attention.v_proj", "mlp.c_proj", ("mlp.c_fc",)),
    # MPT
    Family("attn.out_proj", "attn.Wqkv", "ffn.down_proj", ("ffn.up_proj",), queries_keys_values),
    # GPT-J
    Family("attn.out_proj", "attn.v_proj", "mlp.fc_out", ("mlp.fc_in",)),
    # GPT-NeoX (Pythia)
    Family("attention.dense", "attention.query_key_value", "mlp.dense_4h_to_h", ("mlp.dense_h_to_4h",),
           groups_of_queries_key_value),
    # Falcon in its three architectures, BLOOM
    Family("self_attention.dense", "self_attention.query_key_value", "mlp.dense_4h_to_h", ("mlp.dense_h_to_4h",),
           groups_of_queries_key_value),
)


def find_family(modules: Container[str], block: str) -> Family | None:
    """The first family all of whose modules are in the block of that name; None if there is none.

    >>> find_family([f"h.0.{part}" for part in FAMILIES[0].parts], "h.0") is FAMILIES[0], find_family([], "h.0")
    (True, None)
    """
    return next((f for f in FAMILIES if all(f"{block}.{part}" in modules for part in f.parts)), None)
