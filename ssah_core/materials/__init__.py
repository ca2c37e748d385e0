"""What a model is calibrated on, asked, judged by and trained on: an organism's world, or published data."""

from .material import Brindle, Material
from .published import INSTRUCTIONS, UNSEEN, Published
