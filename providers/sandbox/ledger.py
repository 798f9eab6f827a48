"""The vendor's own record of every request: what the tests hold the client's behaviour against."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass


def fingerprint(key: str) -> str:
    """Return 12 hex digits that stand for ``key`` in records; the key itself is never stored or printed."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request, as the vendor saw it.

    ``at_s`` is the sandbox's clock, in seconds, when the tokens were counted (or would have been). ``status`` is the
    one put on the wire, 0 if no whole status line was; ``vendor_status`` is the vendor's own decision, ``None`` if a
    fault kept the request from it. ``cost`` is in tokens and was taken only if ``counted``. ``day_left`` and
    ``bucket_left`` are whole tokens afterwards, ``None`` for a vendor without that limit. ``fault`` is the kind of
    the fault played. ``latency_s`` is the wait that was drawn for this request.
    """

    at_s: float
    path: str
    status: int
    vendor_status: int | None
    asked: tuple[str, ...]
    cost: int
    counted: bool
    day_left: int | None
    bucket_left: int | None
    fault: str | None
    latency_s: float
    key_fingerprint: str


class Ledger:
    """All entries in the order of counting, oldest first. Safe to read from any thread. Memory is not bounded."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        """Add the newest entry."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, since: int = 0) -> tuple[Entry, ...]:
        """Return the entries from number ``since`` (the first is 0) to the newest."""
        with self._lock:
            return tuple(self._entries[since:])

    def by_status(self, path: str | None = None) -> Counter[int]:
        """Return how many requests were answered with each status; only those to ``path`` if it is given."""
        return Counter(entry.status for entry in self.entries() if path in (None, entry.path))

    def consumed(self) -> int:
        """Return the tokens that all requests together were charged."""
        return sum(entry.cost for entry in self.entries() if entry.counted)

    def broken_limits(self) -> list[Entry]:
        """Return the requests the vendor refused with 429.

        A 429 that a fault plays is none of them (no limit was broken); one that a fault hides from the client is.
        """
        return [entry for entry in self.entries() if entry.vendor_status == 429]
