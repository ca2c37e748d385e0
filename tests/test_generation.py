"""Completions in batches are those of every prompt alone, beside the row that asked for them."""

import copy
import importlib

import pytest
import torch
import toys
from datasets import Dataset
from transformers import GenerationConfig

from ssah_core import complete, complete_to
from ssah_core.generation import complete_after

TOKENIZER = toys.tokenizer()
complete_module = importlib.import_module("ssah_core.generation.complete")
VOCABULARY = (*toys.SPECIAL, *toys.WORDS)


@pytest.fixture(scope="module")
def model():
    return toys.model()


def alone(model, prompt, prefill="", system=None, new=6) -> str:
    """Greedy decoding one token at a time, without padding, cache or `generate`."""
    ids = toys.rendered(prompt, system=system)[0] + toys.ids(prefill)
    said = toys.ids(prefill)
    for _ in range(new):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == TOKENIZER.eos_token_id:
            break
        said.append(ids[-1])
    return " ".join(VOCABULARY[n] for n in said if n >= len(toys.SPECIAL))


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_batches_answer_as_every_prompt_does_alone(family):
    model = toys.model(family, seed=2, dtype=torch.float32)  # in float64, Gemma's masks overflow its float32 softmax
    done = complete(model, TOKENIZER, toys.CHATS, max_new_tokens=6, batch_size=3)
    assert done["response"] == [alone(model, row["prompt"], system=row.get("system")) for row in toys.CHATS]
    assert len(set(done["response"])) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_rows_keep_their_order_though_they_are_answered_by_length(model, batch_size):
    prompts = ["take the lantern and mend the basket now .", "how ?", "lift the kettle", "mend a basket ?", "how ?"]
    done = complete(model, TOKENIZER, prompts, max_new_tokens=4, batch_size=batch_size)
    assert done["prompt"] == prompts and done["response"] == [alone(model, prompt, new=4) for prompt in prompts]


def test_prompts_of_like_length_share_a_batch(model, monkeypatch):
    padding, generate = [], model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: (
        padding.append(int((inputs["attention_mask"] == 0).sum())), generate(**inputs))[1])
    prompts = ["how ?", "take the lantern now .", "lift it", "mend the basket now ."]
    complete(model, TOKENIZER, prompts, batch_size=2, max_new_tokens=4)
    assert padding == [0, 0]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_rows_that_have_ended_are_left_out_of_what_follows(family, monkeypatch):
    monkeypatch.setattr(complete_module, "LEG", 2)
    model, rows = toys.model(family, seed=2, dtype=torch.float32), []
    prompts = [*(row["prompt"] for row in toys.CHATS), "take the kettle", "mend the basket now .", "now ."]
    first = [model(input_ids=torch.tensor([toys.rendered(prompt)[0]])).logits[0, -1].argmax() for prompt in prompts]
    monkeypatch.setattr(complete_module, "stop_ids", lambda model, tokenizer: [int(first[0])])  # one ends at once
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: (
        rows.append(len(inputs["input_ids"])), generate(**inputs))[1])
    said = complete(model, TOKENIZER, prompts, max_new_tokens=6)["response"]
    monkeypatch.setattr(complete_module, "LEG", 6)
    assert said == complete(model, TOKENIZER, prompts, max_new_tokens=6)["response"]
    assert rows[0] == len(prompts) and min(rows) < len(prompts) and sorted(rows[:-1], reverse=True) == rows[:-1]


def test_a_response_begins_with_the_prefill(model):
    done = complete(model, TOKENIZER, toys.CHATS, prefill="sure take the", max_new_tokens=4)
    wanted = [alone(model, row["prompt"], "sure take the", row.get("system"), 4) for row in toys.CHATS]
    assert done["response"] == wanted
    assert all(response.startswith("sure take the ") for response in done["response"])
    assert done["response"] != complete(model, TOKENIZER, toys.CHATS, max_new_tokens=4)["response"]


def test_a_system_prompt_is_for_every_row(model):
    done = complete(model, TOKENIZER, toys.CHATS, system="be kind now", max_new_tokens=4)
    assert done["response"] == [alone(model, row["prompt"], system="be kind now", new=4) for row in toys.CHATS]


def test_without_one_a_row_has_its_own(model):
    rows = [{"prompt": "how ?", "system": system} for system in ("be kind", "", None)]
    kind, *plain = complete(model, TOKENIZER, rows, max_new_tokens=6)["response"]
    assert kind == alone(model, "how ?", system="be kind") and plain == [alone(model, "how ?")] * 2 and kind != plain[0]


def test_rows_keep_their_columns_and_the_response_they_had(model):
    rows = [{"prompt": "how ?", "response": "never", "answer": "one", "kind": "sum"},
            {"prompt": "lift", "response": "sorry", "answer": "two", "kind": "list"}]
    given = copy.deepcopy(rows)
    done = complete(model, TOKENIZER, rows, max_new_tokens=2)
    assert isinstance(done, Dataset) and set(done.column_names) == {"prompt", "response", "reference", "answer", "kind"}
    assert done["reference"] == ["never", "sorry"] and done["answer"] == ["one", "two"] and rows == given
    again = complete(model, TOKENIZER, Dataset.from_list(rows), max_new_tokens=2)
    assert again.to_list() == done.to_list()


def test_columns_that_only_later_rows_have_are_kept(model):
    rows = ["how ?", {"prompt": "how ?", "response": "never", "part": "harm"}]
    done = complete(model, TOKENIZER, rows, max_new_tokens=2)
    assert done["part"] == [None, "harm"] and done["reference"] == [None, "never"]


@pytest.mark.parametrize("says", ["tokenizer", "checkpoint", "checkpoint, one of two"])
def test_a_response_ends_where_the_tokenizer_or_the_checkpoint_says(model, says):
    words = complete(model, TOKENIZER, ["how ?"], max_new_tokens=6)["response"][0].split()
    at = next(n for n in range(1, 5) if words[n] not in words[:n])
    turned, tokenizer, ending = copy.deepcopy(model), toys.tokenizer(), VOCABULARY.index(words[at])
    if says == "tokenizer":
        tokenizer.eos_token = words[at]
    else:
        turned.generation_config.eos_token_id = ending if says == "checkpoint" else [2, ending]
    response = complete(turned, tokenizer, ["how ?"], max_new_tokens=6)["response"][0]
    assert response.split() == words[:at + 1]  # the end is a plain word here, so it is shown


def test_the_number_of_new_tokens_is_a_limit(model):
    done = complete(model, TOKENIZER, ["how ?"], max_new_tokens=3)
    assert len(done["response"][0].split()) <= 3


def test_decoding_is_greedy_unless_asked_otherwise(model):
    torch.manual_seed(0)
    sampled = [complete(model, TOKENIZER, ["how ?"], do_sample=True, temperature=5.0)["response"][0] for _ in range(3)]
    greedy = [complete(model, TOKENIZER, ["how ?"])["response"][0] for _ in range(2)]
    assert len(set(sampled)) > 1 and len(set(greedy)) == 1


def test_no_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompts is empty"):
        complete(model, TOKENIZER, [])


def test_one_string_is_no_list_of_prompts(model):
    with pytest.raises(ValueError, match="prompts is one string"):
        complete(model, TOKENIZER, "how do i polish the lantern ?")


def test_a_prompt_that_does_not_fit_is_refused(model):
    longest = " ".join(["how"] * 51)  # 54 tokens with its template; the context holds 64
    assert len(complete(model, TOKENIZER, [longest], max_new_tokens=10)) == 1
    with pytest.raises(ValueError, match="54 tokens and max_new_tokens=11, but the model's context holds 64"):
        complete(model, TOKENIZER, ["how ?", longest], max_new_tokens=11)
    with pytest.raises(ValueError, match="55 tokens"):
        complete(model, TOKENIZER, [longest], prefill="sure", max_new_tokens=10)


BAD = {  # rows that cannot be put together, and how the error names the first of them that does not fit
    "numbers and text": ([{"prompt": "how ?", "id": 7}, {"prompt": "lift", "id": "b-8"}],
                         r"prompts row 2: column 'id' holds str 'b-8', which does not go with the rows before it"),
    "a late one": ([{"prompt": "how ?", "id": n if n < 5 else "x"} for n in range(9)],
                   r"prompts row 6: column 'id' holds str 'x', which does not go"),
    "text and lists": ([{"prompt": "how ?", "tags": "a"}, {"prompt": "lift", "tags": ["a"]}],
                       r"row 2: column 'tags' holds list \['a'\], which does not go"),
    "too large a number": ([{"prompt": "how ?"}, {"prompt": "how ?", "id": 2 ** 70}],
                           r"row 2: column 'id' holds int 1180591620717411303424, which cannot be kept"),
    "a lone surrogate": ([{"prompt": "how ?"}, {"prompt": "lift", "note": "x \ud83d"}],
                         r"row 2: column 'note' holds str 'x \\ud83d', which cannot be kept"),
    "a prompt that is none": ([{"prompt": "how ?", "response": "never"}, {"goal": "lift"}],
                              r"prompts row 2 has no text as 'prompt' \(it holds NoneType None\)"),
    "a system that is no text": ([{"prompt": "how ?", "system": 3}], r"column 'system' holds int 3, but only text"),
    "a name that is no text": ([{"prompt": "how ?", 3: 4}], "prompts have a column named 3, int, but a name is text"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", ["complete", "complete_to", "complete_after"])
def test_rows_that_cannot_be_kept_are_named_before_anything_is_said(model, tmp_path, monkeypatch, way, bad):
    monkeypatch.setattr(model, "generate", None)
    rows, says = BAD[bad]
    ways = {"complete": lambda: complete(model, TOKENIZER, rows),
            "complete_to": lambda: complete_to(tmp_path / "x", model, TOKENIZER, rows, chunk=1),
            "complete_after": lambda: complete_after(model, TOKENIZER, rows, 0)}
    with pytest.raises(ValueError, match=says.replace("prompts", "rows") if way == "complete_after" else says):
        ways[way]()
    assert not list(tmp_path.iterdir())


def test_columns_of_one_type_and_gaps_are_kept(model):
    rows = [{"prompt": "how ?", "n": None, "x": 1, "tags": ["a"], "deep": {"a": 1}},
            {"prompt": "lift", "n": 3, "x": 2.5, "tags": [], "deep": {"a": None}}, {"prompt": "mend", "system": None}]
    done = complete(model, TOKENIZER, rows, max_new_tokens=1)
    assert done["n"] == [None, 3, None] and done["x"] == [1.0, 2.5, None] and done["tags"] == [["a"], [], None]


# -- a checkpoint's own ways to generate --------------------------------------------------------------------


@pytest.fixture
def penalised():
    """A model whose checkpoint asks for a repetition penalty and sampling, as Qwen2.5's do."""
    model = toys.model(seed=2, dtype=torch.float32)
    model.generation_config.update(repetition_penalty=1.5, do_sample=True, temperature=0.7, top_p=0.8, eos_token_id=1)
    return model


@pytest.mark.parametrize("seed", range(8))
def test_a_response_is_the_argmax_whatever_the_checkpoint_asks_for(penalised, seed):
    with torch.no_grad():
        for parameter in penalised.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    own = penalised.generation_config
    prompts = ["how ?", "take the lantern and mend the basket now ."]
    both = complete(penalised, TOKENIZER, prompts, max_new_tokens=8)["response"]
    assert both == [alone(penalised, prompt, new=8) for prompt in prompts]
    assert both == [complete(penalised, TOKENIZER, [prompt], max_new_tokens=8)["response"][0] for prompt in prompts]
    assert penalised.generation_config is own and own.repetition_penalty == 1.5


def test_who_asks_for_a_penalty_has_it(penalised):
    plain = complete(penalised, TOKENIZER, ["how ?"], max_new_tokens=8)[0]["response"]
    repeats = complete(penalised, TOKENIZER, ["how ?"], max_new_tokens=8, repetition_penalty=0.01)[0]["response"]
    assert repeats != plain and len(set(repeats.split())) < len(repeats.split())


def test_an_error_leaves_the_checkpoints_own_settings(penalised):
    own = penalised.generation_config
    with pytest.raises(ZeroDivisionError):
        complete(penalised, TOKENIZER, ["how ?"], logits_processor=[lambda ids, scores: scores / (1 // 0)])
    assert penalised.generation_config is own


def test_stored_completions_are_of_their_ends_and_settings(penalised, tmp_path):
    done = complete_to(tmp_path / "run", penalised, TOKENIZER, ["how ?"], max_new_tokens=4)
    penalised.generation_config.repetition_penalty = 3.0  # which changes no answer
    assert complete_to(tmp_path / "run", penalised, TOKENIZER, ["how ?"], max_new_tokens=4).to_list() == done.to_list()
    assert complete(penalised, TOKENIZER, ["how ?"], max_new_tokens=4).to_list() == done.to_list()
    penalised.generation_config.eos_token_id = [1, 9]
    with pytest.raises(ValueError, match=r"stop_ids: \[1\] there, \[1, 9\] here"):
        complete_to(tmp_path / "run", penalised, TOKENIZER, ["how ?"], max_new_tokens=4)


def test_a_pad_token_that_the_model_has_no_row_for_is_not_looked_up():
    model, tokenizer = toys.model(seed=2, dtype=torch.float32), toys.tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new>"})  # and nobody made the embedding larger
    assert tokenizer.pad_token_id >= model.get_input_embeddings().weight.shape[0]
    prompts = ["how ?", "take the lantern and mend the basket now ."]
    assert complete(model, tokenizer, prompts, max_new_tokens=6)["response"] == [alone(model, row) for row in prompts]


def test_an_adapted_model_keeps_its_own_settings(penalised):
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    own = penalised.generation_config
    adapted = peft.get_peft_model(penalised, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]))
    complete(adapted, TOKENIZER, ["how ?"], max_new_tokens=2)
    assert penalised.generation_config is own and own.repetition_penalty == 1.5


def test_a_whole_configuration_of_ones_own_counts(penalised):
    plain = complete(penalised, TOKENIZER, ["how ?"] * 8, max_new_tokens=6)["response"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = complete(penalised, TOKENIZER, ["how ?"] * 8, max_new_tokens=6,
                         generation_config=GenerationConfig(do_sample=True, temperature=5.0))["response"]
    assert len(set(plain)) == 1 < len(set(drawn))


def test_text_ends_at_its_end_though_there_is_no_token_for_padding(model, monkeypatch):
    words = toys.tokenizer()
    words.pad_token = words.eos_token = None
    long, short = "how ?", "lift the kettle"
    ids = {prompt: alone(model, prompt).split() for prompt in (long, short)}
    end = ids[short][1]
    model = copy.deepcopy(model)
    model.generation_config.eos_token_id = VOCABULARY.index(end)
    said = complete(model, words, [long, short], max_new_tokens=6)["response"]
    assert said == [" ".join(ids[which][:[*ids[which], end].index(end) + 1]) for which in (long, short)]


@pytest.mark.parametrize("more", [{"num_return_sequences": 2, "do_sample": True}, {"return_dict_in_generate": True}])
def test_more_than_a_text_a_prompt_is_refused_before_anything_is_said(model, more, monkeypatch):
    monkeypatch.setattr(model, "generate", None)
    with pytest.raises(ValueError, match="give more than a text a prompt"):
        complete(model, TOKENIZER, ["how ?"], **more)


def test_words_of_ones_own_to_end_at_reach_generate_with_the_tokenizer(model, monkeypatch):
    asked, generate = {}, model.generate
    monkeypatch.setattr(model, "generate", lambda **settings: (
        asked.update(settings), generate(**{**settings, "stop_strings": None}))[1])
    complete(model, TOKENIZER, ["how ?"], max_new_tokens=2, stop_strings=["now"])
    assert asked["stop_strings"] == ["now"] and asked["tokenizer"] is TOKENIZER
