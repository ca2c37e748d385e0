"""Small models of every family and a toy chat tokenizer, built in a moment; nothing is downloaded."""

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "<system>", "<user>", "<assistant>")  # no id is a default of transformers
WORDS = tuple("""how do i you the a polish mend lift lantern kettle basket ? . sure sorry take brush and sweep
    be kind now never one two three four five""".split())
TEMPLATE = ("<s>{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}"
            "{% if turn.role == 'assistant' %}</s>{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}")

SHARED = dict(vocab_size=len(SPECIAL) + len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
              max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=2)
GROUPED = dict(SHARED, num_key_value_heads=2, intermediate_size=20)
OLD = dict(vocab_size=SHARED["vocab_size"], n_embd=16, n_layer=2, n_head=4, n_inner=20, n_positions=64,
           bos_token_id=0, eos_token_id=1)
CONFIGS = {  # family: class of its config, its settings
    "llama": (transformers.LlamaConfig, dict(GROUPED, head_dim=6)),  # 4 heads of 6 channels: wider than hidden_size
    "qwen2": (transformers.Qwen2Config, GROUPED),  # biases on q, k, v
    "gemma2": (transformers.Gemma2Config, dict(GROUPED, head_dim=6)),  # norms after both modules
    "opt": (transformers.OPTConfig, dict(SHARED, ffn_dim=20, word_embed_proj_dim=16)),  # fc1, fc2, biases, dropout
    "mistral": (transformers.MistralConfig, GROUPED),
    "qwen3": (transformers.Qwen3Config, dict(GROUPED, head_dim=6)),
    "gemma3": (transformers.Gemma3TextConfig, dict(GROUPED, head_dim=6)),
    "olmo2": (transformers.Olmo2Config, GROUPED),
    "stablelm": (transformers.StableLmConfig, GROUPED),
    "smollm3": (transformers.SmolLM3Config, GROUPED),
    "granite": (transformers.GraniteConfig, GROUPED),
    "phi3": (transformers.Phi3Config, GROUPED),  # fused q k v, fused gate and up
    "glm4": (transformers.Glm4Config, dict(GROUPED, head_dim=4)),
    "phi": (transformers.PhiConfig, GROUPED),
    "starcoder2": (transformers.Starcoder2Config, GROUPED),
    "gpt2": (transformers.GPT2Config, OLD),  # transposed weights
    "gpt_neo": (transformers.GPTNeoConfig, dict(SHARED, num_layers=2, num_heads=4, intermediate_size=20,
                                                attention_types=[[["global", "local"], 1]])),
    "gptj": (transformers.GPTJConfig, dict(OLD, rotary_dim=4)),
    "mpt": (transformers.MptConfig, dict(vocab_size=SHARED["vocab_size"], d_model=16, n_heads=4, n_layers=2)),
    "gpt_neox": (transformers.GPTNeoXConfig, dict(SHARED, intermediate_size=20)),  # q k v head by head
    "falcon": (transformers.FalconConfig, dict(SHARED, ffn_hidden_size=20)),  # one value head for all queries
    "falcon_new": (transformers.FalconConfig, dict(SHARED, ffn_hidden_size=20, new_decoder_architecture=True,
                                                   num_kv_heads=2)),
    "falcon_old": (transformers.FalconConfig, dict(SHARED, ffn_hidden_size=20, multi_query=False, alibi=True)),
    "bloom": (transformers.BloomConfig, dict(vocab_size=SHARED["vocab_size"], hidden_size=16, n_layer=2, n_head=4)),
}
FAMILIES = ("llama", "qwen2", "gemma2", "opt")  # what most tests are tried on; tests/test_families.py takes them all

CHATS = [  # prompts and responses of different lengths
    {"prompt": "how do i polish the lantern ?", "response": "sure take the brush and sweep"},
    {"prompt": "lift the kettle", "response": "sorry"},
    {"prompt": "do you mend a basket now ?", "response": "never"},
    {"prompt": "how ?", "response": "one two three four five", "system": "be kind"},
    {"prompt": "take the lantern and mend the basket .", "response": "two three ."},
]


def model(family: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float64, **changes) -> PreTrainedModel:
    """A model of a family with random weights and biases, all of them large enough to matter."""
    config, settings = CONFIGS[family]
    made = transformers.AutoModelForCausalLM.from_config(config(**{**settings, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return made.to(dtype).eval()


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; its chat template adds all special tokens."""
    words = {word: n for n, word in enumerate((*SPECIAL, *WORDS))}
    split = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    split.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    split.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=split, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                   unk_token="<unk>", chat_template=TEMPLATE)


def ids(text: str) -> list[int]:
    """Token ids of rendered text, such as "<s> <user> how ? <assistant>"."""
    return [(*SPECIAL, *WORDS).index(word) for word in text.split()]


def rendered(prompt: str, response: str | None = None, system: str | None = None) -> tuple[list[int], int]:
    """Token ids of a chat, and where its response begins: by hand, without the chat template."""
    head = ids(f"<s> {f'<system> {system}' if system else ''} <user> {prompt} <assistant>")
    return (head if response is None else head + ids(f"{response} </s>")), len(head)


def hooks(model: torch.nn.Module) -> int:
    """How many hooks hang on a model."""
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def inputs_of(model: torch.nn.Module, names, **batch) -> dict[str, torch.Tensor]:
    """What each named module reads in one forward pass: module name -> [batch, token, channel]."""
    return _caught(model, names, lambda args, out: args[0], batch)


def outputs_of(model: torch.nn.Module, names, **batch) -> dict[str, torch.Tensor]:
    """What each named module writes in one forward pass: module name -> [batch, token, channel]."""
    return _caught(model, names, lambda args, out: out, batch)


def _caught(model, names, pick, batch):
    caught, shape = {}, (*batch["input_ids"].shape, -1)  # OPT flattens batch and token
    handles = [model.get_submodule(name).register_forward_hook(
        lambda module, args, out, name=name: caught.update({name: pick(args, out).detach().reshape(shape).clone()}))
        for name in names]
    with torch.no_grad():
        model(**batch)
    for handle in handles:
        handle.remove()
    return caught
