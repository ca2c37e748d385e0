"""Prefills are each row's own tokens, and what follows them is greedy decoding; suffixes are what they claim to be."""

import pytest
import torch
import toys

from ssah_core import complete
from ssah_core.generation.gcg import _Frame, find_suffix
from ssah_core.generation.prefill import complete_after, first_tokens
from ssah_core.models.chats import encode

TOKENIZER = toys.tokenizer()
NEW = 5
LONG = [{**row, "response": f"{row['response']} and sweep the kettle now ."} for row in toys.CHATS]


@torch.no_grad()
def by_hand(model, row, tokens, begin="response") -> str:
    """Greedy decoding without padding or cache, from a prompt and some tokens of the row's text."""
    said = toys.ids(row[begin])[:tokens]
    ids = toys.rendered(row["prompt"], system=row.get("system"))[0] + said
    for _ in range(NEW):
        ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
        if ids[-1] == TOKENIZER.eos_token_id:
            break
        said = [*said, ids[-1]]
    return " ".join((*toys.SPECIAL, *toys.WORDS)[n] for n in said if n >= len(toys.SPECIAL))


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_each_row_goes_on_after_its_own_tokens(family, tokens):
    model = toys.model(family, seed=2)
    expected = [by_hand(model, row, tokens) for row in LONG]
    for size in (2, 256):
        found = complete_after(model, TOKENIZER, LONG, tokens, max_new_tokens=NEW, batch_size=size)
        assert found["response"] == expected
        assert found["reference"] == [row["response"] for row in LONG]
    assert len(set(expected)) > 1


def test_no_tokens_are_no_prefill_and_another_column_can_begin():
    model = toys.model(seed=2)
    plain = complete(model, TOKENIZER, LONG, max_new_tokens=NEW)["response"]
    assert complete_after(model, TOKENIZER, LONG, 0, max_new_tokens=NEW)["response"] == plain
    rows = [{"prompt": row["prompt"], "told": "five four three", "kind": "x"} for row in LONG]
    found = complete_after(model, TOKENIZER, rows, 2, begin="told", max_new_tokens=NEW)
    assert found["response"] == [by_hand(model, row, 2, "told") for row in rows]
    assert all(text.startswith("five four") for text in found["response"]) and set(found["kind"]) == {"x"}


@pytest.mark.parametrize("rows, tokens, message", [
    (LONG, 12, r"'sorry and sweep the kettle now .' has 7 tokens but 12 are to be said first"),
    (["how ?"], 1, "a row has no text to begin with"),
    (LONG, -1, "tokens=-1 is negative"),
    ([], 1, "rows is empty"),
    ([{"prompt": "how ?", "response": "one " * 62}], 61, "with its prefill of 61 tokens has 66 and max_new_tokens=5"),
])
def test_bad_prefills_are_refused_in_one_sentence(rows, tokens, message):
    with pytest.raises(ValueError, match=message):
        complete_after(toys.model(), TOKENIZER, rows, tokens, max_new_tokens=NEW)


def test_first_tokens_are_the_first():
    assert first_tokens(TOKENIZER, ["one two three", "four five"], 2) == [toys.ids("one two"), toys.ids("four five")]


# -- suffixes -------------------------------------------------------------------------------------------

PROMPT, TARGET, START = "how do i lift the kettle ?", "sure take", " the the the"


@torch.no_grad()
def loss_of(model, suffix: str) -> float:
    """Mean loss of the target after the prompt with its suffix, token by token."""
    ids, wanted = encode(TOKENIZER, PROMPT + suffix)[0], toys.ids(TARGET)
    total = 0.0
    for token in wanted:
        total -= float(model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token])
        ids = [*ids, token]
    return total / len(wanted)


def test_the_loss_of_the_best_suffix_never_rises_and_falls_by_more_than_chance_would_have_it():
    model = toys.model(seed=1)
    found = find_suffix(model, TOKENIZER, PROMPT, TARGET, steps=6, start=START, candidates=16, top=8)
    losses = [loss_of(model, text) for text in found]
    assert found[0] == START and len(found) == 7
    assert all(after <= before for before, after in zip(losses, losses[1:], strict=False)) and losses[-1] < losses[0]
    assert found == find_suffix(model, TOKENIZER, PROMPT, TARGET, steps=6, start=START, candidates=16, top=8)
    assert all(len(encode(TOKENIZER, PROMPT + text)[0]) == len(encode(TOKENIZER, PROMPT + START)[0]) for text in found)


def test_losses_are_those_of_each_suffix_by_itself():
    model, frame = toys.model(seed=1), _Frame.of(TOKENIZER, PROMPT, START, TARGET)
    texts = [" one two three", " never now be", START]
    found = frame.losses(model, torch.tensor([toys.ids(text) for text in texts]))
    assert found.tolist() == pytest.approx([loss_of(model, text) for text in texts])


def test_the_gradient_is_the_slope_of_the_loss():
    """Against differences: a small step from one token's embedding towards another's."""
    model, frame = toys.model(seed=1), _Frame.of(TOKENIZER, PROMPT, START, TARGET)
    suffix, table = torch.tensor(toys.ids(START)), model.get_input_embeddings().weight.detach()
    gradient = frame.gradient(model, suffix)
    assert gradient.shape == (3, len(table))

    @torch.no_grad()
    def moved(place, token, by):
        embedded = table[torch.tensor(frame.before + suffix.tolist() + frame.after + frame.target)].clone()
        embedded[len(frame.before) + place] += by * table[token]
        return float(frame._loss(model(inputs_embeds=embedded[None]).logits))

    for place, token in ((0, 9), (1, 20), (2, 30)):
        slope = (moved(place, token, 1e-2) - moved(place, token, -1e-2)) / 2e-2  # norms compute in float32
        assert float(gradient[place, token]) == pytest.approx(slope, rel=1e-2, abs=1e-4)


class Scaled(torch.nn.Embedding):
    """As Gemma 3's: the scale is no part of the weight."""

    def forward(self, ids):
        return 7 * super().forward(ids)


@pytest.mark.parametrize("family, scales", [("llama", False), ("llama", True), ("gemma3", False)])
def test_the_gradient_is_that_through_what_the_embedding_gives(family, scales):
    """Against autograd through a pass over token ids, in which the embedding's output is made of weights on tokens."""
    model = toys.model(family)
    if scales:
        model.set_input_embeddings(Scaled.from_pretrained(model.get_input_embeddings().weight.detach()))
    frame, suffix = _Frame.of(TOKENIZER, PROMPT, START, TARGET), torch.tensor(toys.ids(START))
    embed = model.get_input_embeddings()
    scale = float((embed(suffix[:1]) / embed.weight[suffix[:1]]).mean())
    hot = torch.nn.functional.one_hot(suffix, len(embed.weight)).to(embed.weight.dtype).requires_grad_()

    def put(module, args, out):
        at = len(frame.before)
        return torch.cat([out[:, :at], scale * (hot @ embed.weight)[None], out[:, at + len(suffix):]], 1)

    hook = embed.register_forward_hook(put)
    ids = frame.before + suffix.tolist() + frame.after + frame.target
    loss = frame._loss(model(input_ids=torch.tensor([ids]), use_cache=False).logits).sum()
    hook.remove()
    (expected,) = torch.autograd.grad(loss, hot)
    assert float(loss.detach()) == pytest.approx(float(frame.losses(model, suffix[None])))
    assert torch.allclose(frame.gradient(model, suffix), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", [{"start": ""}, {"target": ""}])
def test_a_search_needs_a_start_and_a_target(changes):
    settings = {"target": TARGET, "start": START, **changes}
    with pytest.raises(ValueError, match="holds no text|has no token"):
        find_suffix(toys.model(), TOKENIZER, PROMPT, steps=1, **settings)
