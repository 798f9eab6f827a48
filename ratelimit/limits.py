"""What an account may spend: limits, claims on them, and what a provider says is left.

All times are seconds (``float``), all amounts whole units of the provider's (tokens, requests, jobs). Everything
here is frozen: state lives in Redis and is changed by :class:`ratelimit.limiter.Limiter` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """Up to ``capacity`` units at once, refilled continuously.

    ``capacity`` and ``refill_per_s`` are the plan's numbers; ``None`` where only the provider can tell them (the
    limit then grants nothing before the first observation).
    """

    name: str
    capacity: float | None = None
    refill_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """``limit`` units until a reset whose time the provider tells (a day's, a month's).

    A period must last some seconds longer than two responses. Where the provider can neither be asked nor tells the
    time of the reset, an empty quota is tried again every five minutes, by one request.
    """

    name: str
    limit: float | None = None


Limit = TokenBucket | Quota
"""The kinds of limit. A new kind is a class here, its step in ``lua/_limits.lua`` and a row in its tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """The limits of one account, and how long what the provider said about them is good for.

    ``max_age_s`` is set where the provider can be asked for free: a claim is then denied
    (:attr:`Reason.UNOBSERVED`) while the newest observation is older, or older than a quota's reset. ``None`` where
    it cannot be asked.
    """

    limits: tuple[Limit, ...]
    max_age_s: float | None = None

    def __post_init__(self) -> None:
        names = [limit.name for limit in self.limits]
        if len(set(names)) != len(names):
            raise ValueError(f"limits of an account need different names, got {names}")
        if any(not (name.isascii() and name.isidentifier()) for name in names):
            raise ValueError(f"a limit's name must be an ASCII identifier, got {names}")

    def __getitem__(self, name: str) -> Limit:
        for limit in self.limits:
            if limit.name == name:
                return limit
        raise KeyError(f"no limit {name!r}; this account has {[limit.name for limit in self.limits]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one request needs: ``costs`` in units per limit name. All of it is granted, or nothing.

    ``at_least`` makes a claim divisible: where a quota has fewer units left than asked, or a bucket can never hold
    as many, a grant of any whole number down to ``at_least`` is accepted (every cost is then that number). What a
    bucket only lacks just now does not divide a claim: waiting gets the whole.
    """

    costs: Mapping[str, int]
    at_least: int | None = None

    def __post_init__(self) -> None:
        for name, cost in self.costs.items():
            if isinstance(cost, bool) or not isinstance(cost, int) or cost < 1:
                raise ValueError(f"cost of limit {name!r} must be a whole number from 1, got {cost!r}")
        if self.at_least is not None:
            if len(set(self.costs.values())) != 1:
                raise ValueError("a divisible claim costs the same number of units of every limit")
            if not 1 <= self.at_least <= next(iter(self.costs.values())):
                raise ValueError(f"at_least must lie between 1 and the cost, got {self.at_least}")


@dataclass(frozen=True, slots=True)
class Granted:
    """A reservation. Hand it back to ``settle`` or ``cancel``; by itself it lapses after its lease.

    ``handle`` is opaque. ``costs`` are the units granted per limit (fewer than asked only for a divisible claim).
    """

    handle: str
    costs: Mapping[str, int]


class Reason(Enum):
    """Why a claim was denied."""

    EMPTY = "empty"
    """A limit has not enough left."""
    WAITING = "waiting"
    """Enough is left, but older claims wait for it."""
    UNOBSERVED = "unobserved"
    """What is left is not known, or not freshly enough: ask the provider, then claim again."""
    PAUSED = "paused"
    """The account is closed (a bad key, an unpaid bill, an operator, a run of faults)."""
    HALF_OPEN = "half_open"
    """The account was closed a moment ago and one request has gone ahead to try it."""
    IMPOSSIBLE = "impossible"
    """The cost is above the limit's capacity: waiting will never help."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No. ``limit`` names what binds, ``retry_in_s`` when asking again makes sense (0: as soon as observed).

    Asked again then, the claim is granted if nobody else took anything. Two denials can come again: a claim that
    needs more of a bucket than requests in flight leave to be sure of waits for their end, and one that waits in line
    (:attr:`Reason.WAITING`) for those before it.
    """

    reason: Reason
    limit: str
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the provider said about one limit, in one answer. ``None`` where the answer did not say.

    ``left`` is an integer that the provider rounded down; ``at_most`` is an upper bound only (a 429 says that fewer
    than the cost were there); ``reset_in_s`` counts from the moment the answer was complete.
    """

    limit: str
    left: int | None = None
    at_most: int | None = None
    capacity: float | None = None
    refill_per_s: float | None = None
    reset_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment before a question to the provider, from ``Limiter.mark``; needed to fold its answer in."""

    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One limit as it stands, in units. ``None``: not known yet (``reset_in_s``: or it has none)."""

    name: str
    kind: str
    capacity: float | None
    left: float | None
    outstanding: float
    refill_per_s: float | None = None
    reset_in_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An account as it stands; reading it changes nothing.

    ``observed_ago_s`` is ``None`` before the first observation. ``next_in_s`` is when a claim of one unit of every
    limit could be granted (0: now; ``None``: not known before the provider is asked); ``blocked_by`` names the limit
    in its way (``"account"`` for the account as a whole). ``waiting`` counts tickets in line, ``in_flight``
    reservations that live.
    """

    limits: Mapping[str, LimitView]
    observed_ago_s: float | None
    paused_for_s: float | None
    paused_kind: str | None
    paused_because: str | None
    half_open: bool
    waiting: int
    in_flight: int
    blocked_reason: Reason | None
    blocked_by: str | None
    next_in_s: float | None
