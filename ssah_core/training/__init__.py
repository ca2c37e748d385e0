"""Training: a model and chats in, the same model trained; supervised, by preference, or through a few added weights."""

from .dpo import prefer
from .fine_tuning import fine_tune, mean_loss
from .lora_budget import budget, lora, lora_within, peft_package
from .sft import IGNORED, pad, supervised, train
