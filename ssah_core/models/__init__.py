"""Chat models and their hidden states: a name in, a model and its tokenizer out; chats in, token ids and states out."""

from .blocks import blocks, find_stack, stacks
from .chats import Wordings, encode, end_of_turn, stop_ids, token_ids
from .config import GATED, an_open_one, class_for, few_blocks, has_chat_template, on_meta, read_config
from .context import check_context, context_of
from .first_tokens import FirstTokens
from .head import head_reads, logits_at, no_logits
from .hidden_states import Queries, as_rows, columns, observing, pad, read_states, render, replacing, stream
from .hooks import must_run, uncompiled
from .leading_space import VERSION as LEADING_SPACE_VERSION
from .leading_space import end_prompts_with, leading_space
from .likelihood import has_many_logits, labelled_nll, mean_nll, summed_nll, token_logs
from .load import evaluating, load, load_placed, load_tokenizer, load_weights, weights_digest
from .padding import IGNORED, check_batch, inputs_of, pad_columns, pad_of
from .template import THINKING, affixes, render_prompt
from .template_kwargs import TemplateKwargs, bind_template, bind_wished, check_tokenizer, with_template
from .thinking import answer_of, thinks
