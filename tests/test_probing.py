"""Distances, residuals and log-odds are those of every prompt read alone, without padding, hooks or prefixes shared."""

import copy

import pytest
import torch
import toys
import transformers

from ssah_core import reasoning_direction
from ssah_core.models.hidden_states import blocks, read_states, render, replacing
from ssah_core.probing.distances import intent_residual
from ssah_core.probing.logit_lens import logit_lens

TOKENIZER = toys.tokenizer()
QUERIES = [{key: row[key] for key in row if key != "response"} for row in toys.CHATS]
BENIGN = ["mend the kettle .", "how do you lift a basket ?", "polish"]
REFUSAL = ["sorry never one two three", "never mend a kettle now"]
COMPLIANCE = ["sure take the brush and sweep"]
PREFIXES = {"refusal": REFUSAL, "compliance": COMPLIANCE, "lengths": (1, 2, 4)}
FAMILIES = ("llama", "opt", "gemma2")
SMALL = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, vocab_size=40)


def last_state(model, query, prefix="") -> torch.Tensor:
    """Hidden states [layer, hidden] of the last token of one query and prefix: the residual stream, unpadded."""
    ids = toys.rendered(query["prompt"], system=query.get("system"))[0] + toys.ids(prefix)
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    name = next(name for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList))
    last = toys.outputs_of(model, [f"{name}.{len(out) - 2}"], input_ids=torch.tensor([ids]))
    return torch.stack([*(h[0, -1] for h in out[:-1]), *(h[0, -1] for h in last.values())]).double()


def cut(wording: str, n: int) -> str:
    return " ".join(wording.split()[:n])


def distance(model, wordings, n, query, shift=0.0) -> torch.Tensor:
    """Mean over wordings of the distance of one query: [layer]."""
    found = []
    for wording in wordings:
        a, b = last_state(model, query), last_state(model, query, cut(wording, n))
        b = b - (shift[wording, n] if shift else 0)
        found.append(1 - (a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1))
    return torch.stack(found).mean(0)


def by_hand(model, queries, wordings, shift=0.0) -> torch.Tensor:
    """[query, layer, length]"""
    return torch.stack([torch.stack([distance(model, wordings, n, query, shift) for n in PREFIXES["lengths"]], -1)
                        for query in queries])


def as_query(prompts):
    return [{"prompt": prompt} for prompt in prompts]


@pytest.mark.parametrize("family", FAMILIES)
def test_distances_are_those_of_every_prompt_alone(family):
    model = toys.model(family)
    found = reasoning_direction(model, TOKENIZER, QUERIES, **PREFIXES, batch_size=2)
    assert toys.hooks(model) == 0
    refusal, compliance = by_hand(model, QUERIES, REFUSAL), by_hand(model, QUERIES, COMPLIANCE)
    gap = compliance - refusal
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)  # noqa: E731
    close(found.refusal, refusal.mean(0))
    close(found.compliance, compliance.mean(0))
    close(found.gap, gap.mean(0))
    close(found.gap_error, gap.std(0) / len(QUERIES) ** 0.5)
    close(found.nearer, (gap > 0).double().mean(0))
    assert found.refusal.shape == (3, 3) and found.count == 5 and found.lengths == (1, 2, 4)
    assert found.moments.mean["refusal"].shape == (2, 3, 3)


def test_in_the_query_the_last_token_of_two_prompts_is_compared():
    model = toys.model()
    longer = lambda query, wording, n: {**query, "prompt": f"{query['prompt']} {cut(wording, n)}"}  # noqa: E731
    away = lambda q, w, n: 1 - torch.cosine_similarity(  # noqa: E731
        last_state(model, q), last_state(model, longer(q, w, n)), dim=-1)
    by_hand = lambda wordings: torch.stack([torch.stack([torch.stack([  # noqa: E731
        away(q, w, n) for w in wordings]).mean(0) for n in (1, 2, 4)], -1) for q in QUERIES]).mean(0)
    found = reasoning_direction(model, TOKENIZER, QUERIES, **PREFIXES, place="query", batch_size=2)
    torch.testing.assert_close(found.refusal, by_hand(REFUSAL), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.compliance, by_hand(COMPLIANCE), rtol=1e-5, atol=1e-5)
    assert found.refusal[0].abs().max() < 1e-12 < found.refusal[1:].min()


@pytest.mark.parametrize("place", ["response", "query"])
def test_a_query_that_is_its_own_baseline_leaves_no_residual_in_either_place(place):
    found = intent_residual(toys.model(), TOKENIZER, ["how ?"], ["how ?"], **PREFIXES, place=place)
    assert found.refusal.abs().max() < 1e-12 and found.compliance.abs().max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_takes_the_mean_shift_of_benign_queries_off(family):
    model, benign = toys.model(family), as_query(BENIGN)
    moved = lambda q, prefix: last_state(model, q, prefix) - last_state(model, q)  # noqa: E731
    shift = {(wording, n): torch.stack([moved(q, cut(wording, n)) for q in benign]).mean(0)
             for wording in REFUSAL + COMPLIANCE for n in PREFIXES["lengths"]}
    found = intent_residual(model, TOKENIZER, QUERIES, BENIGN, **PREFIXES, batch_size=2)
    for side, wordings in ((found.refusal, REFUSAL), (found.compliance, COMPLIANCE)):
        torch.testing.assert_close(side, by_hand(model, QUERIES, wordings, shift).mean(0), rtol=1e-5, atol=1e-5)


def test_embeddings_know_the_last_token_alone():
    found = reasoning_direction(toys.model(), TOKENIZER, QUERIES, **PREFIXES)
    assert found.gap_error[0].max() < 1e-12 < found.gap_error[1:].min()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_nothing_depends_on_the_batch_size(batch_size):
    model = toys.model()
    found = [intent_residual(model, TOKENIZER, QUERIES, BENIGN, **PREFIXES, batch_size=n) for n in (2, batch_size)]
    torch.testing.assert_close(found[0].gap, found[1].gap, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[0].gap_error, found[1].gap_error, rtol=1e-7, atol=1e-12)


def test_memory_does_not_grow_with_the_queries():
    model = toys.model()
    size = lambda d: sum(x.numel() for part in (d.moments.mean, d.moments.squares) for x in part.values())  # noqa: E731
    few, many = (reasoning_direction(model, TOKENIZER, QUERIES * n, **PREFIXES) for n in (1, 20))
    assert size(few) == size(many) and many.count == 100
    torch.testing.assert_close(few.gap, many.gap)


def test_the_standard_error_of_one_query_is_infinite():
    assert reasoning_direction(toys.model(), TOKENIZER, ["how ?"], **PREFIXES).gap_error.isinf().all()


# --- hidden states ---


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_states_are_the_residual_stream_at_the_positions_asked_for(family):
    model, chats = toys.model(family), render(TOKENIZER, toys.CHATS, with_response=True)
    states, there = read_states(model, chats, (-3, 0, 2, 5))
    assert not there.all() and states.shape == (5, 3, 4, 16) and toys.hooks(model) == 0
    for n, (ids, start) in enumerate(chats):
        for at, position in enumerate((-3, 0, 2, 5)):
            assert bool(there[n, at]) == (0 <= start - 1 + position < len(ids))
            if there[n, at]:
                with torch.no_grad():
                    alone = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
                for layer in range(2):  # the last one of transformers is after the norm
                    torch.testing.assert_close(states[n, layer, at], alone[layer][0, start - 1 + position].double(),
                                               rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [
    transformers.GPT2Config(n_embd=16, n_layer=3, n_head=2, vocab_size=40, n_positions=32),
    transformers.GPTNeoXConfig(**SMALL), transformers.Phi3Config(**SMALL, pad_token_id=0),
    transformers.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=3)], ids=lambda c: c.model_type)
def test_any_decoder_of_transformers_will_do(config):
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    assert len(blocks(model)) == 3
    found = reasoning_direction(model, TOKENIZER, QUERIES, **PREFIXES)
    lens = logit_lens(model, TOKENIZER, QUERIES, refusal=REFUSAL, compliance=COMPLIANCE)
    assert found.gap.shape == (4, 3) and lens.mean.shape == (4,) and found.gap.isfinite().all()


def test_a_model_without_blocks_is_refused():
    with pytest.raises(ValueError, match="Linear has 0 stacks of blocks"):
        blocks(torch.nn.Linear(2, 2))


def test_replacing_lets_shorter_passes_be():
    model, batch = toys.model(), {"input_ids": torch.tensor([toys.ids("<s> how ?")])}
    with torch.no_grad():
        before = model(**batch).logits
        with replacing(model, 1, torch.zeros(1, 16), torch.tensor([1]), width=3):
            changed, short = model(**batch).logits, model(input_ids=batch["input_ids"][:, :2]).logits
        assert torch.equal(model(**batch).logits, before)
    assert torch.equal(changed[:, [0, 2]], before[:, [0, 2]]) and not torch.equal(changed[:, 1], before[:, 1])
    torch.testing.assert_close(short, before[:, :2])


# --- logit lens ---


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("prefill", ["", "take the"])
def test_the_last_layer_says_what_the_model_says(family, prefill):
    model = toys.model(family, dtype=torch.float32)
    lens = logit_lens(model, TOKENIZER, QUERIES, refusal=REFUSAL, compliance=COMPLIANCE, prefill=prefill, batch_size=2)
    odds = []
    for query in QUERIES:
        ids = toys.rendered(query["prompt"], system=query.get("system"))[0] + toys.ids(prefill)
        with torch.no_grad():
            p = model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        odds.append(torch.log((p[toys.ids("sorry")] + p[toys.ids("never")]) / p[toys.ids("sure")]))
    torch.testing.assert_close(lens.mean[-1], torch.cat(odds).mean(), rtol=1e-4, atol=1e-4)
    assert lens.refuses[-1] == (torch.cat(odds) > 0).double().mean()
    torch.testing.assert_close(lens.error[-1], torch.cat(odds).std() / 5 ** 0.5, rtol=1e-4, atol=1e-4)


def test_an_inner_layer_goes_through_the_norm_and_the_head():
    model = toys.model()
    lens = logit_lens(model, TOKENIZER, ["how ?"], refusal=REFUSAL, compliance=COMPLIANCE)
    with torch.no_grad():
        logits = model.lm_head(model.model.norm(last_state(model, {"prompt": "how ?"})))
    wanted = torch.logsumexp(logits[:, toys.ids("sorry never")], -1) - logits[:, toys.ids("sure")[0]]
    torch.testing.assert_close(lens.mean, wanted, rtol=1e-6, atol=1e-6)


# --- what is refused ---


@pytest.mark.parametrize("probe", [
    lambda model, tokenizer, queries: reasoning_direction(model, tokenizer, queries, **PREFIXES),
    lambda model, tokenizer, queries: intent_residual(model, tokenizer, queries, BENIGN, **PREFIXES),
    lambda model, tokenizer, queries: logit_lens(model, tokenizer, queries, refusal=REFUSAL, compliance=COMPLIANCE)])
def test_bad_queries_are_refused(probe):
    model, plain = toys.model(), copy.deepcopy(TOKENIZER)
    plain.chat_template = None
    for tokenizer, queries, message in [
            (TOKENIZER, [], "queries is empty"), (TOKENIZER, "how ?", "queries is one string"),
            (plain, ["how ?"], "no chat template"), (TOKENIZER, [" ".join(["how"] * 64)], "context holds 64")]:
        with pytest.raises(ValueError, match=message):
            probe(model, tokenizer, queries)


@pytest.mark.parametrize("changes, message", [
    ({"lengths": (2, 6)}, "refusal wording 'sorry never one two three' has 5 tokens but lengths asks for 6"),
    ({"lengths": ()}, "pass numbers of tokens"), ({"lengths": (0, 2)}, "lengths=0 is no whole number"),
    ({"place": "prompt"}, "place='prompt' is unknown: choose one of response, query"),
    ({"refusal": []}, "refusal=.* holds no text"), ({"compliance": [""]}, "compliance=.* holds no text")])
def test_bad_prefixes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        reasoning_direction(toys.model(), TOKENIZER, QUERIES, **{**PREFIXES, **changes})


def test_a_prefill_past_the_context_is_refused():
    with pytest.raises(ValueError, match="65 tokens, but the model's context holds 64"):
        logit_lens(toys.model(), TOKENIZER, ["how ?"], refusal="sorry", compliance="sure", prefill="now " * 60)


def test_wordings_that_begin_alike_are_refused():
    with pytest.raises(ValueError, match="begins with 'sure'"):
        logit_lens(toys.model(), TOKENIZER, ["how ?"], refusal=["sorry", "sure"], compliance="sure take")


def test_states_that_are_not_finite_are_refused():
    model = toys.model()
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="hidden state of layer 2 is not finite"):
        reasoning_direction(model, TOKENIZER, QUERIES, **PREFIXES)


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="layer 3 is not in this model"):
        read_states(toys.model(), render(TOKENIZER, QUERIES), (0,), (3,))
