"""What a vendor counts with. Integers only, so that no rounding ever grants or withholds a token.

Time is integer nanoseconds here; amounts are whole tokens outside and ``_UNITS_PER_TOKEN`` parts inside.
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000
_UNITS_PER_TOKEN = 60 * NS_PER_S
"""One nanosecond at ``n`` tokens per minute is exactly ``n`` of these."""


def to_ns(seconds: float) -> int:
    """Return ``seconds`` as whole nanoseconds; the noise of adding up floats (0.1 + 0.2) is rounded away."""
    return round(seconds * NS_PER_S)


class TokenBucket:
    """Starts full, refills continuously, keeps fractions, reports whole tokens (the floor)."""

    def __init__(self, *, capacity: int, tokens_per_minute: int, now_ns: int) -> None:
        self._capacity_units = capacity * _UNITS_PER_TOKEN
        self._tokens_per_minute = tokens_per_minute
        self._level_units = self._capacity_units
        self._at_ns = now_ns

    @property
    def left(self) -> int:
        """Whole tokens in the bucket, as of the last :meth:`advance`."""
        return self._level_units // _UNITS_PER_TOKEN

    def advance(self, now_ns: int) -> None:
        """Refill up to ``now_ns``; time that has passed already is ignored."""
        passed_ns = max(0, now_ns - self._at_ns)
        self._at_ns += passed_ns
        self._level_units = min(self._capacity_units, self._level_units + passed_ns * self._tokens_per_minute)

    def take(self, tokens: int) -> None:
        """Remove ``tokens``; the caller has looked that they are there."""
        self._level_units -= tokens * _UNITS_PER_TOKEN

    def set_left(self, tokens: int) -> None:
        """Put exactly ``tokens`` into the bucket, without a fraction and at most its capacity."""
        self._level_units = min(self._capacity_units, tokens * _UNITS_PER_TOKEN)

    def change(self, *, capacity: int, tokens_per_minute: int) -> None:
        """Change the plan: the tokens stay, up to the new capacity, and refill at the new rate from now on."""
        self._capacity_units = capacity * _UNITS_PER_TOKEN
        self._tokens_per_minute = tokens_per_minute
        self._level_units = min(self._capacity_units, self._level_units)


class PeriodQuota:
    """``limit`` tokens per period; at the boundary the new period's full limit is there, nothing is carried over."""

    def __init__(self, *, limit: int, period_ns: int, ends_ns: int) -> None:
        self.left = limit
        self._limit = limit
        self._period_ns = period_ns
        self._ends_ns = ends_ns

    def advance(self, now_ns: int) -> None:
        """Start the period that ``now_ns`` belongs to; at the boundary itself it is the new one."""
        if now_ns >= self._ends_ns:
            self._ends_ns += ((now_ns - self._ends_ns) // self._period_ns + 1) * self._period_ns
            self.left = self._limit

    def ms_to_reset(self, now_ns: int) -> int:
        """Whole milliseconds to the boundary, rounded down as the tokens are: a client that trusts it is early."""
        return (self._ends_ns - now_ns) // 1_000_000

    def change(self, *, limit: int, period_ns: int) -> None:
        """Change the plan: what was used stays used; the running period still ends when it was going to."""
        self.left = max(0, limit - (self._limit - self.left))
        self._limit = limit
        self._period_ns = period_ns
