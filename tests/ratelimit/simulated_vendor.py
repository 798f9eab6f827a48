"""A vendor in virtual time: what it sells, how it counts, what it says.

It counts a request at a random moment between its start and its end, refuses what it has not got, and reports whole
tokens as they stood at that moment. Times are microseconds; it keeps 60,000,000 parts to a token, so that ``n`` tokens
a minute are exactly ``n`` parts a microsecond and nothing is ever rounded but what it reports.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from ratelimit import Observation

SECOND = 1_000_000
TOKEN = 60 * SECOND
BUCKET, DAY = "bucket", "day"
START = 1_790_000_000 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Response times in seconds: ``mean`` give or take ``spread``, or lognormal with ``median`` and ``sigma``."""

    mean: float = 0.05
    spread: float = 0.02
    median: float | None = None
    sigma: float = 0.5

    def draw(self, rng: random.Random) -> int:
        seconds = (
            rng.uniform(self.mean - self.spread, self.mean + self.spread)
            if self.median is None
            else rng.lognormvariate(math.log(self.median), self.sigma)
        )
        return max(1, round(seconds * SECOND))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What one simulation runs: the vendor's plan, the fleet, the work and what goes wrong."""

    seed: int = 1
    capacity: int = 120
    per_minute: int = 60
    day: int | None = None
    day_s: float = 86_400.0
    first_reset_s: float | None = None
    latency: Latency = field(default_factory=Latency)
    counted_at: tuple[float, float] = (0.0, 1.0)
    nodes: int = 3
    slots: int = 8
    costs: tuple[int, ...] = (1,) * 400
    divisible: bool = False
    late_s: float = 0.005
    foreign_share: float = 0.0
    crash_chance: float = 0.0
    free_failure_chance: float = 0.0
    plan_change: tuple[float, int, int] | None = None
    lease_s: float = 60.0
    max_age_s: float = 60.0


class Vendor:
    """A bucket and perhaps a day, counted exactly."""

    def __init__(self, world: World) -> None:
        self.capacity, self.per_minute = world.capacity, world.per_minute
        self.next_cost = max(world.costs)
        self.day_limit, self.day_us = world.day, round(world.day_s * SECOND)
        self.parts = self.capacity * TOKEN
        self.at = START
        self.day_left = world.day or 0
        first = world.day_s if world.first_reset_s is None else world.first_reset_s
        self.reset_at = START + round(first * SECOND)
        self.spent = self.taken = self.refused = 0
        self.last_reset, self.spent_by_then = START, 0
        self.offered = 0
        """All refill, whether it found room or not."""
        self.in_flight = 0
        """Cost of requests that were sent and not answered yet."""
        self.lost_while_promised = 0
        """Refill that found no room while all that a full bucket holds was promised to requests in flight."""

    def advance(self, now: int) -> None:
        while self.day_limit is not None and now >= self.reset_at:
            self._refill(self.reset_at)
            self.last_reset, self.spent_by_then = self.reset_at, self.spent
            self.day_left = self.day_limit
            self.reset_at += self.day_us
        self._refill(now)

    def _refill(self, now: int) -> None:
        refill = (now - self.at) * self.per_minute
        level = self.parts + refill
        self.parts, self.at = min(level, self.capacity * TOKEN), now
        self.offered += refill
        if self.in_flight + self.next_cost + 1 > self.capacity:
            self.lost_while_promised += level - self.parts

    def take(self, now: int, cost: int) -> str | None:
        """Take a request's cost; or the limit that refuses it."""
        self.advance(now)
        if self.day_limit is not None and self.day_left < cost:
            self.refused += 1
            return DAY
        if self.parts < cost * TOKEN:
            self.refused += 1
            return BUCKET
        self.parts -= cost * TOKEN
        self.day_left -= cost
        self.spent += cost
        return None

    def change_plan(self, now: int, capacity: int, per_minute: int) -> None:
        self.advance(now)
        self.capacity, self.per_minute = capacity, per_minute
        kept = min(self.parts, capacity * TOKEN)
        self.offered -= self.parts - kept
        self.parts = kept

    def send(self, now: int, cost: int) -> None:
        """A request leaves the fleet, or (with a negative cost) its answer is back."""
        self.advance(now)
        self.in_flight += cost

    def take_foreign(self, now: int, cost: int) -> None:
        self.advance(now)
        if self.parts >= cost * TOKEN:
            self.parts -= cost * TOKEN
            self.taken += cost

    def report(self, now: int, *, plan: bool = False) -> list[Observation]:
        self.advance(now)
        told = {"capacity": self.capacity, "refill_per_s": self.per_minute / 60} if plan else {}
        seen = [Observation(limit=BUCKET, left=self.parts // TOKEN, **told)]
        if self.day_limit is not None:
            reset_in_s = (self.reset_at - now) // 1000 / 1000
            capacity = self.day_limit if plan else None
            seen.append(Observation(limit=DAY, left=self.day_left, capacity=capacity, reset_in_s=reset_in_s))
        return seen
