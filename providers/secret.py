"""API keys: held so that they do not print, and scrubbed from any text that should never have held one."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"

_lock = threading.Lock()
_known: set[str] = set()
_any_known: re.Pattern[str] | None = None


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
        _remember(value)

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
    """``text`` with every key known to this process, percent-encoded or not, replaced by ``[redacted]``."""
    return (_any_known or _pattern()).sub(REDACTED, text) if _known else text


def _remember(value: str) -> None:
    global _any_known  # noqa: PLW0603  # replaced whole, so that readers need no lock
    with _lock:
        if value not in _known:
            _known.add(value)
            _any_known = None


def _pattern() -> re.Pattern[str]:
    """One pattern for all keys, the longest first: a key may be the beginning of another."""
    global _any_known  # noqa: PLW0603  # as above
    with _lock:
        longest_first = sorted(_known, key=len, reverse=True)
        _any_known = re.compile("|".join("".join(map(_as_sent, key)) for key in longest_first))
        return _any_known


def _as_sent(char: str) -> str:
    """A pattern for one character: those that some programs percent-encode and others do not, in either form."""
    if char.isascii() and char.isalnum():
        return char
    encoded = quote(char, safe="") if quote(char, safe="") != char else f"%{ord(char):02X}"
    return f"(?:{re.escape(char)}|{encoded}|{encoded.lower()})"
