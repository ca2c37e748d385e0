"""ssah: the Superficial Safety Alignment Hypothesis, as code to rerun and to use on models of your own.

The names below are the public ones; `ssah_core/__init__.pyi` says where each lives. They are imported when they are
first used. Shapes in docstrings stand in brackets, an axis a word: float64 [token, unit].
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

from . import arithmetic as _arithmetic
from . import moved as _moved

_arithmetic.settle()  # before torch is loaded, which reads it once
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = _moved.install(__name__, __getattr__)
try:
    __version__ = version("ssah")
except PackageNotFoundError:  # a folder on the path, not installed
    __version__ = "0+unknown"
