"""The guard refuses where the signal turns, each row for itself, and is not there where it does not."""

import pytest
import torch
import toys

from ssah_core import DirectionGuard, complete
from ssah_core.models.hidden_states import read_states
from ssah_core.probing.linear_probe import Readout

TOKENIZER = toys.tokenizer()
REFUSAL = "sorry never now"
FAMILIES = ("llama", "opt")
INF = float("inf")


def readout(layer=1, seed=0) -> Readout:
    return Readout(layer, torch.randn(16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), 0.1)


def guarded(model, prompts=toys.CHATS, **settings) -> list[str]:
    generate = {key: settings.pop(key) for key in ("batch_size", "prefill", "use_cache") if key in settings}
    with DirectionGuard(model, TOKENIZER, readout(), refusal=REFUSAL, **settings) as guard:
        return complete(model, TOKENIZER, prompts, max_new_tokens=10, logits_processor=[guard], **generate)["response"]


def by_hand(model, row, threshold, average=False, prefill="", new=10) -> str:
    """Greedy decoding, token by token, that reads the signal of the last token from a fresh pass each time.

    What is prefilled is heard as if the model had said it.
    """
    ids, given = toys.rendered(row["prompt"], system=row.get("system"))[0], toys.ids(prefill)
    said, heard, turned = [], [], False
    for step in range(len(given) + new):
        heard.append(float(readout()(read_states(model, [(ids, len(ids))], (0,), (1,))[0][0, 0, 0])))
        turned |= (sum(heard) / len(heard) if average else heard[-1]) > threshold
        if turned and step >= len(given):
            said += toys.ids(REFUSAL)[:len(given) + new - step]
            break
        with torch.no_grad():
            likeliest = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(given[step] if step < len(given) else likeliest)
        if ids[-1] == TOKENIZER.eos_token_id:
            break
        said.append(ids[-1])
    return " ".join((*toys.SPECIAL, *toys.WORDS)[n] for n in said if n >= len(toys.SPECIAL))


@pytest.mark.parametrize("family", FAMILIES)
def test_at_minus_infinity_every_response_is_the_refusal(family):
    assert guarded(toys.model(family, seed=2), threshold=-INF) == [REFUSAL] * len(toys.CHATS)


@pytest.mark.parametrize("family", FAMILIES)
def test_at_infinity_nothing_changes_bit_for_bit(family):
    model = toys.model(family, seed=2)
    batch = {"input_ids": torch.tensor([toys.rendered("lift the kettle")[0]] * 2)}
    more = dict(max_new_tokens=8, do_sample=False, output_scores=True, return_dict_in_generate=True)
    plain = model.generate(**batch, **more)
    with DirectionGuard(model, TOKENIZER, readout(), threshold=INF) as guard:
        watched = model.generate(**batch, **more, logits_processor=[guard])
    assert torch.equal(plain.sequences, watched.sequences) and guard.turned_at == [-1, -1]
    assert all(torch.equal(a, b) for a, b in zip(plain.scores, watched.scores, strict=True))


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 3}, {}, {"use_cache": False},
                                      {"prefill": "sure take"}])
def test_each_row_turns_where_its_own_signal_does(family, settings, average):
    model = toys.model(family, seed=2)
    turned = set()
    for threshold in (0.5, 1.5, 3.0):
        wanted = [by_hand(model, row, threshold, average, settings.get("prefill", "")) for row in toys.CHATS]
        assert guarded(model, threshold=threshold, average=average, **settings) == wanted
        turned |= {text.find(REFUSAL) for text in wanted}
    assert -1 in turned and len(turned) > 1  # some rows turn, some never do


def test_a_prefill_is_heard_where_the_template_has_no_header_of_its_own_before_a_response(monkeypatch):
    model, prefilled = toys.model(seed=2), dict(threshold=1.5, average=True, prefill="sure take")
    wanted = guarded(model, **prefilled)
    content = "{{ turn.content }}"
    late = toys.TEMPLATE.replace(content, content + "{% if turn.role == 'user' %}<assistant>{% endif %}")
    late = late.replace("{% if add_generation_prompt %}<assistant>{% endif %}", "")  # as Llama-2's [/INST]
    late = late.replace("<{{ turn.role }}>", "{% if turn.role != 'assistant' %}<{{ turn.role }}>{% endif %}")
    monkeypatch.setattr(TOKENIZER, "chat_template", late)
    assert guarded(model, **prefilled) == wanted


def test_where_rows_turned_is_told():
    model, seen = toys.model(seed=2), set()
    for threshold in (0.5, 3.0, 1e3):
        with DirectionGuard(model, TOKENIZER, readout(), refusal=REFUSAL, threshold=threshold) as guard:
            assert guard.turned_at == []
            for row in toys.CHATS:
                ids = torch.tensor([toys.rendered(row["prompt"], system=row.get("system"))[0]])
                out = model.generate(input_ids=ids, max_new_tokens=12, do_sample=False, logits_processor=[guard])[0]
                said, (at,) = out[ids.shape[1]:].tolist(), guard.turned_at
                seen.add(at)
                if at >= 0:
                    assert said[at:] == toys.ids(f"{REFUSAL} </s>")[:12 - at]
                else:
                    assert REFUSAL not in TOKENIZER.decode(said)
    assert {-1, 0} < seen  # some never, some at once, some in the midst


def test_a_refusal_ends_the_response():
    model = toys.model(seed=2)
    ids = torch.tensor([toys.rendered("how ?")[0]])
    with DirectionGuard(model, TOKENIZER, readout(), refusal=REFUSAL, threshold=-INF) as guard:
        out = model.generate(input_ids=ids, max_new_tokens=20, do_sample=True, logits_processor=[guard])
    assert out[0, ids.shape[1]:].tolist() == toys.ids(f"{REFUSAL} </s>")


def test_no_hook_is_left_behind():
    model = toys.model()
    with pytest.raises(RuntimeError, match="stop"), DirectionGuard(model, TOKENIZER, readout()):
        assert toys.hooks(model) > 0
        raise RuntimeError("stop")
    assert toys.hooks(model) == 0


def test_it_must_be_on():
    model = toys.model()
    guard = DirectionGuard(model, TOKENIZER, readout())
    with pytest.raises(ValueError, match="guard is not on"):
        complete(model, TOKENIZER, ["how ?"], logits_processor=[guard])


def test_beams_are_refused():
    model = toys.model(seed=2)
    with DirectionGuard(model, TOKENIZER, readout(), threshold=INF) as guard:
        with pytest.raises(ValueError, match="not for beams"):
            complete(model, TOKENIZER, toys.CHATS, logits_processor=[guard], num_beams=4)


@pytest.mark.parametrize("changes, message", [
    ({"refusal": ""}, "refusal='' holds no text"), ({"threshold": float("nan")}, "threshold=nan is not a number")])
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DirectionGuard(toys.model(), TOKENIZER, readout(), **changes)


def test_a_readout_of_another_model_is_refused():
    model = toys.model()
    with pytest.raises(ValueError, match="layer 5 is not in this model"), DirectionGuard(model, TOKENIZER, readout(5)):
        pass
    wide = Readout(1, torch.ones(17, dtype=torch.float64), 0.0)
    with pytest.raises(ValueError, match="readout has 17 weights but layer 1 has 16 channels"):
        with DirectionGuard(model, TOKENIZER, wide) as guard:
            complete(model, TOKENIZER, ["how ?"], logits_processor=[guard])
