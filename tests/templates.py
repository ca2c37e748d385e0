"""Tokenizers and chat templates as the world has them: spaces of SentencePiece, ends of turns, dates, thoughts."""

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPACE = "\u2581"
ZEPHYR = ("{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")
LLAMA_2 = ("{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
           "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}")
MISTRAL = ("{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
           "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}")
CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
GEMMA = ("<bos>{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
         "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + "
         "m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}")
PHI_3 = ("{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}")
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
PARTS = ("{% for m in messages %}{{ m.role }}: {% for line in m['content'] %}{% if line['type'] == 'text' %}"
         "{{ line['text'] }}{% endif %}{% endfor %}<x>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
DATED = ("{%- if strftime_now is defined %}{%- set day = strftime_now('%d %b %Y') %}{%- else %}{%- set day = 'never' %}"
         "{%- endif %}Today: {{ day }}<eot>{% for m in messages %}{{ m.role }}: {{ m.content }}<eot>{% endfor %}"
         "{% if add_generation_prompt %}assistant: {% endif %}")
QWEN_3 = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
          "{% if enable_thinking is defined and enable_thinking is false %}"
          "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}")
R1 = ("{% for m in messages %}{{ m.role + ': ' + m.content + '<eot>' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ 'assistant: <think>\\n' }}{% endif %}")


def by_bytes(template, eos: str | None, special: list[str]) -> transformers.PreTrainedTokenizerFast:
    """A token a byte, and some special ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(special)
    found = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=eos)
    found.chat_template = template
    return found


def sentencepiece(template: str, legacy: bool = False) -> transformers.PreTrainedTokenizerFast:
    """Llama's own class of tokenizer: a text begins with a space, and a word with its space is another token."""
    letters = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<|>[]/,.?'_0123456789"))
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), SPACE, *letters]
    vocabulary, merges = {piece: n for n, piece in enumerate(pieces)}, []

    def merge(left: str, right: str) -> str:
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))
        return left + right

    for word in ("Sure", "Sorry", "Here", "I"):
        whole = word[0]
        for letter in word[1:]:
            whole = merge(whole, letter)
    for word in ("Sure", "Sorry", "Here", "I"):
        merge(SPACE, word)
    made = transformers.LlamaTokenizer(vocab=vocabulary, merges=merges, legacy=legacy, unk_token="<unk>",
                                       bos_token="<s>", eos_token="</s>")
    if "im_start" in template:
        made.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    made.chat_template = template
    return made
