"""Training: a model and chats in, the same model trained; supervised, by preference, or through a few added weights."""

from .dpo import prefer
from .lora_budget import budget, lora, lora_within, peft_package
from .precision import has_bfloat16
from .sft import IGNORED, fine_tune, mean_loss, supervised
