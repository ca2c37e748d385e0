"""Chats as the templates of the world write them: one text, ended in its own way, on one day; nothing of them lost."""

import datetime
import warnings
from unittest import mock

import pytest
import torch
import toys
import transformers
from templates import (
    CHATML,
    DATED,
    GEMMA,
    LLAMA_2,
    MISTRAL,
    PARTS,
    PHI_3,
    PLAIN,
    QWEN_3,
    R1,
    SPACE,
    ZEPHYR,
    by_bytes,
    sentencepiece,
)
from transformers.utils import chat_template_utils

from ssah_core import batches, complete, complete_to, load, refusal_odds
from ssah_core.generation.complete import spoken
from ssah_core.models import (
    FirstTokens,
    bind_template,
    bind_wished,
    encode,
    end_of_turn,
    load_placed,
    stop_ids,
    thinks,
    token_ids,
)
from ssah_core.models.leading_space import end_prompts_with
from ssah_core.models.template import affixes, rendered
from ssah_core.models.template_kwargs import dated, with_template
from ssah_core.records import TODAY, parse_template_kwargs, wished_template_kwargs
from ssah_core.training import supervised

CHAT = [{"role": "user", "content": "hi"}]
SPECIAL = {GEMMA: ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
           PHI_3: ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>"],
           QWEN_3: ["<|im_start|>", "<|im_end|>"], DATED: ["<eot>"], R1: ["<eot>"], PARTS: ["<x>"], PLAIN: ["<x>"]}
ENDS = {GEMMA: "<eos>", PHI_3: "<|endoftext|>", QWEN_3: "<|im_end|>", DATED: "<eot>", R1: "<eot>", PARTS: "<x>"}


def tokenizer(template: str, eos: str | None = "") -> transformers.PreTrainedTokenizerFast:
    return by_bytes(template, ENDS[template] if eos == "" else eos, SPECIAL[template])


THINKS = QWEN_3.replace(
    "+ m.content +", "+ ('<think>\\n\\n</think>\\n\\n' if m.role == 'assistant' else '') + m.content +")
"""With the turn of an assistant as Qwen3's template has its last one: behind an empty thought."""


def small(words: transformers.PreTrainedTokenizerBase, seed: int = 0) -> transformers.PreTrainedModel:
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=words.eos_token_id)).eval()


# -- the seam of prompt and response -----------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("template", [ZEPHYR, LLAMA_2, MISTRAL, CHATML], ids=["zephyr", "llama-2", "mistral", "chatml"])
@pytest.mark.parametrize("said", ["Sure, a", "I can", "no"])
def test_ids_are_those_of_the_whole_text(template, legacy, said):
    words = sentencepiece(template, legacy)
    ids, start = encode(words, "hi", said)
    text = words.apply_chat_template([*CHAT, {"role": "assistant", "content": said}], tokenize=False)
    whole = words(text, add_special_tokens=False)["input_ids"]
    assert ids == whole[:len(ids)] and not words.decode(whole[len(ids):]).strip()
    assert ids[:start] == encode(words, "hi")[0]
    (begun,) = token_ids(words, said, "said")
    assert begun == ids[start:][:len(begun)] and len(begun) == len(ids) - start - len(end_of_turn(words)) - (
        template == LLAMA_2)  # which writes a space before its end


@pytest.mark.parametrize("template, first", [(ZEPHYR, "Sure"), (LLAMA_2, f"{SPACE}Sure"), (MISTRAL, "Sure")])
def test_a_loaded_checkpoint_reads_the_first_token_in_its_place(template, first, tmp_path):
    words = sentencepiece(template)
    small(words).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    model, loaded = load(tmp_path, device="cpu")
    ids, start = encode(loaded, "hi", "Sure, a")
    assert loaded.convert_ids_to_tokens(ids[start]) == first
    assert FirstTokens.of(loaded, "Sorry", "Sure").compliance == (ids[start],)
    (batch,) = batches([{"prompt": "hi", "response": "Sorry"}], loaded)
    logits = torch.full((1, batch["input_ids"].shape[1], len(loaded)), -10.0)
    logits[0, start - 1, loaded.convert_tokens_to_ids(first.replace("Sure", "Sorry"))] = 10.0
    assert float(refusal_odds(loaded, ["I", "Sorry"], ["Sure", "Here"])(logits, batch)) == pytest.approx(20, abs=1)
    done = complete(model, loaded, ["hi"], prefill="Sure", max_new_tokens=1)
    assert done[0]["response"].startswith("Sure")


def test_a_prompt_that_would_melt_into_the_response_is_left_as_the_model_reads_it():
    words = sentencepiece("{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
                          "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
    ids, start = encode(words, "hi", "Sure")
    assert ids[:start] == encode(words, "hi")[0] and words.convert_ids_to_tokens(ids[start - 1]) == SPACE
    assert words.convert_ids_to_tokens(ids[start:]) == [f"{SPACE}Sure", "</s>"]  # as it goes on from that space


# -- the end of a turn -------------------------------------------------------------------------------------


@pytest.mark.parametrize("template, end", [(GEMMA, "<end_of_turn>"), (PHI_3, "<|end|>"), (QWEN_3, "<|im_end|>")])
def test_a_turn_ends_as_its_template_ends_it(template, end):
    words = tokenizer(template)
    ids, start = encode(words, "hi", "No.")
    assert words.decode(ids[start:]) == f"No.{end}"
    (row,) = supervised([{"prompt": "hi", "response": "No."}], words)
    assert words.decode(row["labels"][-1:]) == end and words.decode(end_of_turn(words)) == end
    assert set(stop_ids(small(words), words)) == {words.eos_token_id, words.convert_tokens_to_ids(end)}


def test_a_response_is_over_where_its_template_ends_it(monkeypatch):
    words, asked = tokenizer(GEMMA), {}
    model = small(words)
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **settings: (asked.update(settings), generate(**settings))[1])
    complete(model, words, ["hi"], max_new_tokens=2)
    assert asked["eos_token_id"] == sorted([words.eos_token_id, words.convert_tokens_to_ids("<end_of_turn>")])


@pytest.mark.parametrize("eos, end", [(None, ""), ("<x>", "<x>")])
def test_a_template_without_an_end_has_the_tokenizers_or_none(eos, end):
    words = tokenizer(PLAIN, eos)
    ids, start = encode(words, "hi", "No.")
    assert words.decode(ids[start:]) == f"No.{end}"
    assert batches([{"prompt": "hi", "response": "No."}], words)[0]["token_mask"].sum() == len(ids) - start
    assert len(complete(small(words), words, ["hi", "hi there"], max_new_tokens=2)) == 2


def test_text_that_a_template_trims_is_read_trimmed():
    words = tokenizer(GEMMA)
    assert encode(words, "hi", "No. ")[0] == encode(words, "hi", "No.")[0] == encode(words, " hi ", "No.")[0]


# -- what a template drops ---------------------------------------------------------------------------------


def test_a_prompt_that_a_template_drops_is_an_error():
    with pytest.raises(ValueError, match="the chat template drops the prompt 'how do I bake bread'"):
        encode(tokenizer(PARTS), "how do I bake bread")


def test_a_response_that_a_template_drops_is_an_error():
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(ValueError, match="drops what the assistant says"):
        encode(words, "hi", "No.")


DROPS = GEMMA.replace("{{ raise_exception('System role not supported') }}", "").replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")


@pytest.mark.parametrize("template", [GEMMA, DROPS], ids=["refused", "dropped"])
def test_a_system_prompt_that_a_template_does_not_take_stands_before_the_prompt(template):
    words = by_bytes(template, "<eos>", SPECIAL[GEMMA])
    with pytest.warns(UserWarning, match="takes no system prompt: it stands before the prompt"):
        ids, start = encode(words, "hi", "No.", system="be kind")
    assert words.decode(ids) == ("<bos><start_of_turn>user\nbe kind\n\nhi<end_of_turn>\n<start_of_turn>model\nNo."
                                 "<end_of_turn>")


def test_a_template_that_cannot_render_says_why_in_a_sentence():
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = "{{ raise_exception('Only for pictures') }}"
    with pytest.raises(ValueError, match=r"does not render this chat \(Only for pictures\): take another template"):
        encode(words, "hi")


def test_of_several_templates_the_default_is_taken():
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = {"default": PLAIN, "rag": "{{ documents }}"}
    assert words.decode(encode(words, "hi")[0]) == "user: hi\nassistant: "
    end_prompts_with(words, " ")
    assert words.decode(encode(words, "hi")[0]) == "user: hi\nassistant:  " and words.chat_template["rag"]


# -- templates that change ---------------------------------------------------------------------------------


class Tomorrow(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2031, 5, 6, 7, 8)


def test_a_prompt_has_the_same_tokens_tomorrow_and_a_run_goes_on(tmp_path):
    words = tokenizer(DATED)
    model, prompts = small(words), ["one", "two", "three"]
    today = encode(words, "hi")[0]
    done = complete_to(tmp_path / "run", model, words, prompts, chunk=2, max_new_tokens=3)
    assert words.decode(today).startswith("Today: 26 Jul 2024<eot>")
    (tmp_path / "run" / "chunk-00001.json").unlink()
    with mock.patch.object(chat_template_utils, "datetime", Tomorrow):
        assert "06 May 2031" in words.apply_chat_template(CHAT, tokenize=False)  # what the template would have
        assert encode(words, "hi")[0] == today
        again = complete_to(tmp_path / "run", model, words, prompts, chunk=2, max_new_tokens=3)
    assert again.to_list() == done.to_list()
    assert f'"today": "{TODAY}"' in (tmp_path / "run" / "settings.json").read_text()


def test_a_loaded_tokenizer_tells_everybody_the_same_day(tmp_path):
    words = tokenizer(DATED)
    small(words).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    _, loaded = load(tmp_path, device="cpu")
    assert load_placed(tmp_path, {"": "cpu"})[1].chat_template == loaded.chat_template
    with mock.patch.object(chat_template_utils, "datetime", Tomorrow):  # as TRL and others render it
        assert loaded.apply_chat_template(CHAT, tokenize=False).startswith("Today: 26 Jul 2024<eot>")


@pytest.mark.parametrize("form", ["%d %b %Y", "%Y-%m-%d", "%A, %d %B %Y", "%y/%j %H:%M"])
def test_each_part_of_a_date_is_that_of_the_day(form):
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = "{{ strftime_now('" + form + "') }} {{ messages[0].content }}"
    bind_template(words, {}, "2031-05-06")
    assert rendered(words, CHAT, answering=True) == datetime.datetime(2031, 5, 6).strftime(form) + " hi"
    assert dated(words.chat_template) == words.chat_template  # told once


def test_arguments_are_bound_and_can_be_given_for_one_call():
    words = tokenizer(QWEN_3)
    thinking = encode(words, "hi")[0]
    quiet = encode(with_template(words, {"enable_thinking": False}), "hi")[0]
    assert words.decode(quiet) == words.decode(thinking) + "<think>\n\n</think>\n\n"
    bind_template(words, {"enable_thinking": False, "messages": None, "content": "a \"b\""})  # more than one, quoted
    assert encode(words, "hi")[0] == quiet
    assert encode(with_template(words, {"enable_thinking": True}), "hi")[0] == thinking  # the later one counts
    assert encode(words, "hi")[0] == quiet
    ids, start = encode(words, "hi", "No.")
    assert ids[:start] == quiet and words.decode(ids[start:]) == "No.<|im_end|>"


def test_arguments_for_one_call_are_those_of_that_call_alone():
    words, before = tokenizer(QWEN_3), QWEN_3
    model = small(words)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(20)  # so that what it says hangs on what it reads
    quiet = complete(model, with_template(words, {"enable_thinking": False}), ["hi"], max_new_tokens=6)["response"]
    once = complete(model, words, ["hi"], max_new_tokens=6, chat_template_kwargs={"enable_thinking": False})["response"]
    assert once == quiet != complete(model, words, ["hi"], max_new_tokens=6)["response"]
    assert words.chat_template == before


def test_loaders_bind_arguments(tmp_path):
    words = tokenizer(QWEN_3)
    small(words).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    quiet = encode(with_template(words, {"enable_thinking": False}), "hi")
    for _, loaded in (load(tmp_path, device="cpu", chat_template_kwargs={"enable_thinking": False}),
                      load_placed(tmp_path, {"": "cpu"}, chat_template_kwargs={"enable_thinking": False})):
        assert encode(loaded, "hi") == quiet != encode(words, "hi")
        loaded.save_pretrained(tmp_path / "saved")
        assert encode(transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"), "hi") == quiet
    with pytest.raises(ValueError, match="does not ask for 'enable_thinkin'"):
        load(tmp_path, device="cpu", chat_template_kwargs={"enable_thinkin": False})


@pytest.mark.parametrize("arguments", [{"for": 1}, {"enable_thinking": [1]}, {"enable_thinking": float("inf")}])
def test_what_no_template_can_be_told_is_refused(arguments):
    with pytest.raises(ValueError, match="a template is told names with text, numbers"):
        bind_template(tokenizer(QWEN_3), arguments)


def test_other_arguments_are_other_completions(tmp_path):
    words = tokenizer(QWEN_3)
    model = small(words)
    complete_to(tmp_path / "run", model, words, ["hi"], max_new_tokens=2)
    with pytest.raises(ValueError, match="holds other completions"):
        complete_to(tmp_path / "run", model, words, ["hi"], max_new_tokens=2,
                    chat_template_kwargs={"enable_thinking": False})


def test_a_run_on_checkpoints_does_not_think_unless_it_is_wished(monkeypatch):
    monkeypatch.delenv("SSAH_CHAT_TEMPLATE_KWARGS", raising=False)
    assert wished_template_kwargs() == {"enable_thinking": False}
    monkeypatch.setenv("SSAH_CHAT_TEMPLATE_KWARGS", '{"enable_thinking": true}')
    assert wished_template_kwargs() == {"enable_thinking": True}
    for wrong in ("yes", "[1]"):
        monkeypatch.setenv("SSAH_CHAT_TEMPLATE_KWARGS", wrong)
        with pytest.raises(ValueError, match="SSAH_CHAT_TEMPLATE_KWARGS is .*: give an object in JSON"):
            wished_template_kwargs()
    with pytest.raises(ValueError, match="--chat-template-kwargs is"):
        parse_template_kwargs("{", "--chat-template-kwargs")


def test_a_thought_that_the_template_begins_is_part_of_the_response():
    words = tokenizer(R1)
    quiet = with_template(tokenizer(QWEN_3), {"enable_thinking": False})
    assert affixes(words).thought == "<think>\n" and affixes(quiet).thought == ""
    (row,) = complete(small(words), words, ["hi"], max_new_tokens=3)
    assert row["response"].startswith("<think>\n")
    ids, start = encode(words, "hi", row["response"])  # and not said twice when it is read back
    assert words.decode(ids[start:]) == row["response"].removeprefix("<think>\n") + "<eot>"


@pytest.mark.parametrize("said", ["<think>\nHm.</think>No.", "<think>\nHm", "No."])
def test_a_template_that_leaves_thoughts_out_of_a_turn_has_them_in_what_is_read(said):
    words = tokenizer(R1)  # DeepSeek's writes of an earlier turn what follows its thinking
    words.chat_template = R1.replace("m.content + ", "m.content.split('</think>')[-1] + ")
    ids, start = encode(words, "hi", said)
    assert words.decode(ids[start:]) == said.removeprefix("<think>\n") + "<eot>"


def test_where_a_model_thinks_first_its_first_token_is_not_its_choice():
    words = tokenizer(QWEN_3)
    words.chat_template = THINKS
    assert thinks(words) and not thinks(with_template(words, {"enable_thinking": False}))
    for build in (FirstTokens.of, refusal_odds):
        with pytest.raises(ValueError, match="thinks before it answers, .*={'enable_thinking': False}"):
            build(words, "Sorry", "Sure")
    quiet = with_template(words, {"enable_thinking": False})
    assert FirstTokens.of(quiet, "No", "Sure").refusal == tuple(words("N")["input_ids"])
    (row,) = complete(small(words), words, ["hi"], prefill="Sure", max_new_tokens=1)
    assert row["response"].startswith("Sure")
    for kwargs, before in ((words, "<think>\n\n</think>\n\n"), (quiet, "")):
        ids, start = encode(kwargs, "hi", "No.")
        assert kwargs.decode(ids[start:]) == f"{before}No.<|im_end|>"


def test_a_line_break_that_is_an_added_token_ends_no_turn():
    words = tokenizer(PLAIN, "<x>")
    words.add_tokens(["\n\n", "\n"])  # as Gemma's vocabulary has them
    assert affixes(words).end == "<x>"


def test_affixes_follow_a_template_that_is_changed():
    words = tokenizer(QWEN_3)
    assert affixes(words).end == "<|im_end|>"
    words.chat_template = words.chat_template.replace("<|im_end|>", "<|im_start|>")
    assert affixes(words).end == "<|im_start|>"


def test_toys_are_rendered_as_by_hand():
    for row in toys.CHATS:
        assert encode(toys.tokenizer(), row["prompt"], row["response"], system=row.get("system")) == toys.rendered(
            row["prompt"], row["response"], row.get("system"))


@pytest.mark.parametrize("special", [True, False])
def test_marks_of_thinking_are_seen_also_where_they_are_special_tokens(special):
    words = tokenizer(QWEN_3)
    words.add_tokens(["[THINK]", "[/THINK]"], special_tokens=special)
    ids = words("[THINK]Hm.[/THINK]No.<|im_end|>", add_special_tokens=False)["input_ids"]
    assert spoken(words, [ids, ids[1:2]]) == ["[THINK]Hm.[/THINK]No.", "H"]


def test_text_is_not_tidied_up():
    words = tokenizer(QWEN_3)
    words.clean_up_tokenization_spaces = True  # as Llama 3's configuration asks for
    text = "do n't stop ."
    assert spoken(words, [words(text, add_special_tokens=False)["input_ids"]]) == [text]


def test_the_names_of_a_date_are_english_whatever_the_process_speaks():
    with mock.patch("ssah_core.models.template_kwargs.datetime", Foreign):
        template = dated("{{ strftime_now('%A %d %B %Y') }}")
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = template + "{{ messages[0].content }}"
    assert rendered(words, CHAT, answering=True) == "Friday 26 July 2024hi"


class Foreign(datetime.datetime):
    def strftime(self, form):
        assert form not in ("%A", "%a", "%B", "%b", "%p", "%c", "%x", "%X")  # which follow the locale
        return super().strftime(form)


@pytest.mark.parametrize("template", [
    "\nA {{ messages[0].content }}", "  {% if true %}x{% endif %}{{ messages[0].content }}",
    "{{ messages[0].content }}A:\n"])
def test_binding_and_spaces_change_no_other_text(template):
    words = tokenizer(PLAIN, "<x>")
    words.chat_template = template
    before = words.apply_chat_template(CHAT, tokenize=False)
    words.chat_template = template + "{# face #}"
    bind_template(words, {"face": "\U0001f600"})
    words.chat_template = words.chat_template.replace("{# face #}", "")
    assert words.apply_chat_template(CHAT, tokenize=False) == before == rendered(words, CHAT, answering=True)
    end_prompts_with(words, " ")
    assert rendered(words, CHAT, answering=True) == before + " "
    words.chat_template = "{{ face }}" + template
    bind_template(words, {"face": "\U0001f600"})
    assert rendered(words, CHAT, answering=True).startswith("\U0001f600")


def test_a_system_prompt_may_be_written_otherwise_than_it_was_given():
    words = tokenizer(QWEN_3)  # SmolLM3's template reads a flag out of it, and leaves it out
    words.chat_template = QWEN_3.replace("m.content", "m.content | replace('/no_think', '')")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids, _ = encode(words, "hi", system="Be kind./no_think")
    assert words.decode(ids).startswith("<|im_start|>system\nBe kind.<|im_end|>")


def test_words_of_the_prompt_do_not_stand_for_a_dropped_system_prompt():
    words = by_bytes(DROPS, "<eos>", SPECIAL[GEMMA])
    with pytest.warns(UserWarning, match="takes no system prompt"):
        assert "be kind\n\nShould one" in words.decode(encode(words, "Should one be kind?", system="be kind")[0])


def test_a_dropped_prompt_is_seen_though_its_words_stand_in_the_template():
    with pytest.raises(ValueError, match="drops the prompt"):
        encode(tokenizer(PARTS), "use", "No.")


def test_what_would_be_part_of_a_thought_is_refused():
    words = tokenizer(R1)
    for use in (lambda: complete(small(words), words, ["hi"], prefill="Sure"), lambda: token_ids(words, "No", "it")):
        with pytest.raises(ValueError, match="begins to think for the model, so that .* would be part of a thought"):
            use()
    ids, start = encode(words, "hi", "Sorry, no.")  # without a thought, behind a prompt without one
    assert words.decode(ids) == "user: hi<eot>assistant: Sorry, no.<eot>"
    assert words.decode(ids[start:]) == "Sorry, no.<eot>"


def test_an_argument_that_the_template_does_not_ask_for_is_refused():
    for wrong, sentence in (({"enable_thinkin": False}, "does not ask for 'enable_thinkin': see tokenizer.chat_temp"),
                            ("enable_thinking", r"is 'enable_thinking' \(str\): give a mapping")):
        with pytest.raises(ValueError, match=sentence):
            bind_template(tokenizer(QWEN_3), wrong)


def test_what_is_wished_for_a_run_is_bound_where_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("SSAH_CHAT_TEMPLATE_KWARGS", raising=False)
    thinking, plain = tokenizer(QWEN_3), tokenizer(GEMMA)
    bind_wished(thinking)
    bind_wished(plain)
    assert encode(thinking, "hi") == encode(with_template(tokenizer(QWEN_3), {"enable_thinking": False}), "hi")
    assert plain.chat_template == GEMMA
    monkeypatch.setenv("SSAH_CHAT_TEMPLATE_KWARGS", '{"enable_thinkin": true}')
    with pytest.raises(ValueError, match="does not ask for 'enable_thinkin'"):
        bind_wished(thinking)


def test_batches_say_that_thoughts_count_as_responses():
    words = tokenizer(QWEN_3)
    words.chat_template = THINKS
    with pytest.warns(UserWarning, match="thinks before it answers, so that thoughts count as responses"):
        batches([{"prompt": "hi", "response": "No."}], words)


@pytest.mark.parametrize("template", [QWEN_3, R1])
@pytest.mark.parametrize("said", ["No.", "<think>\nHm.</think>No."])
def test_marks_of_thinking_in_a_prompt_are_the_users_own(template, said):
    words, prompt = tokenizer(template), "what is <think> for?"
    ids, start = encode(words, prompt, said)
    plain, at = encode(words, "what is it for?", said)
    assert words.decode(ids[start:]) == words.decode(plain[at:])
    assert words.decode(ids[:start]) == words.decode(plain[:at]).replace("it for", "<think> for")
    assert complete(small(words), words, [prompt], max_new_tokens=2)[0]["response"].startswith(affixes(words).thought)
