"""materials."""

from .material import Brindle, Material
from .published import INSTRUCTIONS, UNSEEN, Published
