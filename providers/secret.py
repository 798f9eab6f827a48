"""API keys: held so that they do not print, and scrubbed from any text that should never have held one."""

from __future__ import annotations

import hashlib
import threading
from typing import Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

_lock = threading.Lock()
_known: dict[str, None] = {}


class Secret:
    """An API key. Its text is only had by :meth:`reveal`; everything else shows a fingerprint.

    Every secret made in this process is scrubbed by :func:`scrub`. Raises :class:`ValueError` for an empty key or
    one with white space or control characters around or in it, without repeating it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value or any(char.isspace() or not char.isprintable() for char in value):
            raise ValueError("an API key is one word without white space or control characters")
        self._value = value
        with _lock:
            for form in {value, quote(value, safe=""), quote_plus(value)}:
                _known[form] = None

    def reveal(self) -> str:
        """The key itself, for the one place that sends it."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of a hash: tells keys apart in logs, says nothing about them."""
        return hashlib.sha256(b"tidegate:" + self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Secret({self.fingerprint})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


def scrub(text: str) -> str:
    """``text`` with every key known to this process replaced by ``[redacted]``."""
    for value in tuple(_known):
        if value in text:
            text = text.replace(value, REDACTED)
    return text
