"""What has been read off a model so far, each thing once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any


class Readings:
    """Values that take long to get, each kept under its key from the first time it is asked for.

    known   Values that need not be read: key -> value.

    >>> from ssah_core.studies.readings import Readings
    >>> readings = Readings({"moments": 1})
    >>> readings.once("moments", lambda: 2), readings.once("scores", lambda: 3), readings.once("scores", lambda: 4)
    (1, 3, 3)
    >>> more = readings.also({"chats": 5})
    >>> "chats" in more, "chats" in readings
    (True, False)
    """

    def __init__(self, known: Mapping[Any, Any] | None = None):
        self._values = dict(known or {})

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def once(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """The value of a key; `read` gets it the first time."""
        if key not in self._values:
            self._values[key] = read()
        return self._values[key]

    def also(self, known: Mapping[Any, Any]) -> Readings:
        """Other readings: those of now, and these values."""
        return Readings({**self._values, **known})
