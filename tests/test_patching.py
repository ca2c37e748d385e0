"""A patched state is the source's, bit for bit where nothing follows; its own state changes nothing."""

import pytest
import torch
import toys

from ssah_core import complete
from ssah_core.models.hidden_states import read_states, render, replacing
from ssah_core.probing.activation_patching import patch_decisions

TOKENIZER = toys.tokenizer()
SEEDS = {"llama": 4, "opt": 1}  # of random models that refuse some of the prompts and answer others
PROMPTS = ["how do i polish the lantern ?", "lift the kettle", "do you mend a basket now ?", "how ?", "one two",
           "take the lantern and mend the basket .", "never sweep you ?", "brush five lantern", "sorry", "be kind now"]
SIDES = {"refusal": ["sorry", "never", "how"], "compliance": ["sure", "take", "now"]}


def odds(logits) -> torch.Tensor:
    refuse, comply = (logits[..., toys.ids(" ".join(SIDES[side]))].double().logsumexp(-1) for side in SIDES)
    return refuse - comply


def logits_of(model, prompt) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([toys.rendered(prompt)[0]])).logits[0, -1]


def split(model) -> tuple[list[str], list[str]]:
    """Prompts that a model refuses and answers, by its first token."""
    refused = [prompt for prompt in PROMPTS if odds(logits_of(model, prompt)) > 0]
    answered = [prompt for prompt in PROMPTS if prompt not in refused]
    n = min(len(refused), len(answered))
    assert n >= 3
    return refused[:n], answered[:n]


def alone(model, target, source, block, position=0) -> torch.Tensor:
    """Log-odds of one prompt with the state of another, by rewriting what the block returns."""
    (ids, _), (other, _) = toys.rendered(target), toys.rendered(source)
    layers = model.model.layers if hasattr(model.model, "layers") else model.model.decoder.layers
    caught = []
    watch = layers[block].register_forward_hook(
        lambda module, args, out: caught.append((out[0] if isinstance(out, tuple) else out)[0, position - 1].clone()))
    with torch.no_grad():
        model(input_ids=torch.tensor([other]))
    watch.remove()

    def put(module, args, out):
        (out[0] if isinstance(out, tuple) else out)[0, position - 1] = caught[0]

    change = layers[block].register_forward_hook(put)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    change.remove()
    return odds(logits)


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("position", [0, -1])
def test_flips_are_those_of_every_pair_alone(family, position):
    model = toys.model(family, seed=SEEDS[family])
    refused, answered = split(model)
    found = patch_decisions(model, TOKENIZER, refused, answered, position=position, batch_size=64, **SIDES)
    share = lambda flips: sum(bool(flip) for flip in flips) / len(refused)  # noqa: E731
    for block in (0, 1):
        flip = lambda targets, sources, block=block: [  # noqa: E731
            alone(model, *pair, block, position) for pair in zip(targets, sources, strict=True)]
        assert found.to_refusal[block] == pytest.approx(share(o > 0 for o in flip(answered, refused)))
        assert found.to_answer[block] == pytest.approx(share(o <= 0 for o in flip(refused, answered)))
        own = ([o <= 0 for o in flip(refused, refused[-1:] + refused[:-1])]
               + [o > 0 for o in flip(answered, answered[-1:] + answered[:-1])])
        assert found.control[block] == pytest.approx(sum(map(bool, own)) / len(own))
    assert found.count == found.pairs == len(refused) and found.blocks == (0, 1) and toys.hooks(model) == 0


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_after_the_last_block_the_decision_is_the_source_s(family):
    model = toys.model(family, seed=SEEDS[family])
    refused, answered = split(model)
    found = patch_decisions(model, TOKENIZER, refused, answered, blocks=[1], batch_size=2, **SIDES)
    assert found.to_refusal.tolist() == found.to_answer.tolist() == [1.0] and found.control.tolist() == [0.0]


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_after_the_last_block_the_logits_are_the_source_s(family):
    model, (target, source) = toys.model(family, dtype=torch.float32), PROMPTS[:2]
    states, _ = read_states(model, render(TOKENIZER, [{"prompt": source}]), (0,))
    ids = torch.tensor([toys.rendered(target)[0]])
    with torch.no_grad(), replacing(model, 1, states[:, 2, 0], torch.tensor([ids.shape[1] - 1])):
        patched = model(input_ids=ids).logits[0, -1]
    torch.testing.assert_close(patched, logits_of(model, source), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(patched, logits_of(model, target), atol=1e-2)


@pytest.mark.parametrize("block", [0, 1])
def test_a_prompt_s_own_state_changes_nothing(block):
    model, prompt = toys.model(), PROMPTS[0]
    states, _ = read_states(model, render(TOKENIZER, [{"prompt": prompt}]), (0,))
    ids = torch.tensor([toys.rendered(prompt)[0]])
    with torch.no_grad(), replacing(model, block, states[:, block + 1, 0], torch.tensor([ids.shape[1] - 1])):
        assert torch.equal(model(input_ids=ids).logits[0, -1], logits_of(model, prompt))


def test_a_judge_reads_completions():
    """Pairs of unlike length, in batches: after the last block the first word is the source's."""
    model = toys.model(seed=1)
    done = complete(model, TOKENIZER, PROMPTS, max_new_tokens=1)
    first = {row["prompt"]: row["response"].split()[:1] for row in done}
    wanted = max(first.values(), key=list(first.values()).count)
    refused = [prompt for prompt in PROMPTS if first[prompt] == wanted][:3]
    answered = [prompt for prompt in PROMPTS if first[prompt] != wanted][:len(refused)]
    seen = []
    judge = lambda row: (seen.append(row), row["response"].split()[:1] == wanted)[1]  # noqa: E731
    found = patch_decisions(model, TOKENIZER, refused, answered, judge=judge, max_new_tokens=3, batch_size=64)
    assert found.to_refusal[-1] == found.to_answer[-1] == 1.0 and found.control[-1] == 0.0
    assert found.count == len(refused) >= 2 and {row["prompt"] for row in seen} == {*refused, *answered}


@pytest.mark.parametrize("block", [0, 1])
def test_a_judge_sees_each_row_patched_with_its_own_state(block):
    """Each completion is that of the pair alone, whatever the order in which lengths put them."""
    model = toys.model(seed=SEEDS["llama"])
    refused, answered = split(model)
    said = {1: [], 64: []}
    for n, rows in said.items():
        def judge(row, rows=rows):
            rows.append((row["prompt"], row["response"]))
            return row["prompt"] in refused

        patch_decisions(model, TOKENIZER, refused, answered, blocks=[block], max_new_tokens=4, batch_size=n,
                        judge=judge)
    # With one pair at a time there is no control; what is left are the plain and the patched completions.
    assert set(said[1]) <= set(said[64]) and len(set(said[1])) > len(refused) + len(answered)


def test_pairs_that_are_not_as_named_are_left_out():
    model = toys.model(seed=SEEDS["llama"])
    refused, answered = split(model)
    mixed = patch_decisions(model, TOKENIZER, [*refused, answered[0]], [*answered, refused[0]], **SIDES)
    plain = patch_decisions(model, TOKENIZER, refused, answered, **SIDES)
    assert (mixed.count, mixed.pairs) == (len(refused), len(refused) + 1)
    assert torch.equal(mixed.to_refusal, plain.to_refusal) and torch.equal(mixed.to_answer, plain.to_answer)


def test_one_pair_alone_has_no_control():
    model = toys.model(seed=SEEDS["llama"])
    refused, answered = split(model)
    assert patch_decisions(model, TOKENIZER, refused[:1], answered[:1], **SIDES).control.isnan().all()


@pytest.mark.parametrize("changes, message", [
    ({"answered": ["how ?"]}, "refused has 2 prompts and answered 1"), ({"refused": []}, "refused is empty"),
    ({"position": 1}, "position=1 is in the response"), ({"position": -9}, "position=-9 is before the first token"),
    ({"blocks": [2]}, "block 2 is not in this model: choose from 0 to 1"),
    ({"compliance": "sorry"}, "begins with 'sorry'")])
def test_bad_pairs_are_refused(changes, message):
    refused, answered = split(toys.model(seed=SEEDS["llama"]))
    pairs = {"refused": refused[:2], "answered": answered[:2], **SIDES, **changes}
    with pytest.raises(ValueError, match=message):
        patch_decisions(toys.model(seed=SEEDS["llama"]), TOKENIZER, **pairs)


def test_pairs_of_which_none_is_refused_are_no_test():
    refused, answered = split(toys.model(seed=SEEDS["llama"]))
    with pytest.raises(ValueError, match="no pair has a refused and an answered prompt"):
        patch_decisions(toys.model(seed=SEEDS["llama"]), TOKENIZER, answered, refused, **SIDES)
