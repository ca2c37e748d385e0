"""A model that says white space first is asked with that space in the prompt; any other as before."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from ssah_core.models.chats import encode
from ssah_core.models.leading_space import NEUTRAL, SPACES, end_prompts_with, leading_space

TEMPLATE = ("{% for turn in messages %}{% if turn.role == 'user' %}[{{ turn.content }}]{% else %}{{ turn.content }}"
            "{% endif %}{% endfor %}")


def tokenizer() -> PreTrainedTokenizerFast:
    """As Llama-2's: a space is a token of its own or begins a word, and a text begins with one."""
    letters = sorted({letter for prompt in NEUTRAL for letter in prompt if letter != " "} | set("[]I\n"))
    vocabulary = {token: n for n, token in enumerate(("<unk>", "</s>", "\u2581", *letters, "\u2581I"))}
    made = Tokenizer(models.BPE(vocabulary, [("\u2581", "I")], unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>", chat_template=TEMPLATE)


class Says(torch.nn.Module):
    """A model whose likeliest next tokens are these, in turn."""

    device = torch.device("cpu")

    def __init__(self, *tokens: int):
        super().__init__()
        self.tokens, self.asked = tokens, 0

    def forward(self, input_ids):
        self.asked += 1
        logits = torch.zeros(1, input_ids.shape[1], 100)
        logits[0, -1, self.tokens[self.asked % len(self.tokens)]] = 1
        return type("Out", (), {"logits": logits})


def test_a_space_that_is_always_said_first_becomes_the_end_of_the_prompt():
    words = tokenizer()
    bare, word = words.convert_tokens_to_ids(["\u2581", "\u2581I"])
    plain, _ = encode(words, "Name")
    assert leading_space(Says(bare), words) == " "
    end_prompts_with(words, " ")
    assert encode(words, "Name") == ([*plain, bare], len(plain) + 1)
    assert encode(words, "Name", "I")[0] == [*plain, bare, word, words.eos_token_id]  # what the model itself says


def test_line_breaks_are_white_space_too():
    words = tokenizer()
    assert leading_space(Says(words.convert_tokens_to_ids("\n")), words) == "\n"
    end_prompts_with(words, "\n")
    chat = [{"role": "user", "content": "I"}]
    assert words.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) == "[I]\n"
    assert words.apply_chat_template(chat, tokenize=False) == "[I]"


@pytest.mark.parametrize("said", [("I",), ("\u2581I",), ("\u2581", "I"), ("</s>",)])
def test_a_model_that_says_anything_else_is_asked_as_before(said):
    words = tokenizer()
    assert leading_space(Says(*words.convert_tokens_to_ids(list(said))), words) == ""
    end_prompts_with(words, "")
    assert words.chat_template == TEMPLATE and "" not in SPACES
