"""What a model is calibrated on, asked, judged by and trained on: an organism's world, or published data."""

from .content import study
from .material import Brindle, Material
from .published import CONTEXT, INSTRUCTIONS, UNSEEN, Published
from .published_rows import CHOICES, benign_answers, choice_items
from .sizes import SIZES, Sizes
