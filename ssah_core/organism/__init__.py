"""The model organism: an invented world, and a small chat model raised in it; a seed in, three checkpoints out."""

from .attacks import ATTACKS, fine_tuning
from .corpora import alignment, calibration, exam, held_out_text
from .counterparts import counterparts, words_of
from .doses import align_in_doses
from .preferences import safety_preferences
from .recovery import AT_ONCE, chat_after, recovery
from .rewordings import WRAPPERS, reworded, told
from .scales import get_scale, recipe
from .tokenizer import train_tokenizer
from .train import STAGES, WEIGHT_DECAY, is_raised, load_organism, raise_organism, training_log
from .words import BENIGN_OBJECTS, GOOD, JOBS, OPENINGS, PEOPLE, REFUSALS, SYSTEM_PROMPT, WICKED
from .world import Row, World
