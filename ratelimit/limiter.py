"""What an account may still spend, shared by every process that uses it.

All of an account's state lives under one Redis Cluster hash tag and is changed only by the scripts in ``lua/``, on
Redis' clock, in whole micro-units and microseconds. This module turns declarations and seconds into their arguments
and their replies back.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from redis import Redis
from redis.commands.core import Script

from ratelimit import scripts
from ratelimit.limits import (
    AccountLimits,
    Claim,
    Denied,
    Granted,
    Limit,
    LimitView,
    Mark,
    Observation,
    Quota,
    Reason,
    Snapshot,
    TokenBucket,
)

MICRO: Final = 1_000_000

_REASONS: Final = (
    Reason.EMPTY,
    Reason.WAITING,
    Reason.UNOBSERVED,
    Reason.PAUSED,
    Reason.HALF_OPEN,
    Reason.IMPOSSIBLE,
)
"""Reason codes of ``lua/_claim.lua``, from 1 upwards."""

_SCRIPT_NAMES: Final = (
    "reserve",
    "settle",
    "cancel",
    "mark",
    "observe",
    "declare",
    "pause",
    "forget",
    "peek",
)


def _micro(amount: float | None) -> int | str:
    return "" if amount is None else round(amount * MICRO)


def _kind(limit: Limit) -> str:
    return "b" if isinstance(limit, TokenBucket) else "q"


class Limiter:
    """Reserve before a request, settle after it. One instance may serve many threads.

    ``account`` is any text that names the metered account (``"asinscope:main"``). All times are in seconds.

    - ``lease_s``: a reservation that nobody settles lapses after this long; longer than any request can take.
    - ``ask_within_s``: a waiting claim keeps its place in line only if it asks again at the moment it was told, or
      within this time where that moment is further away.
    - ``faults_to_close``: so many faults in a row close the account for ``closed_for_s`` seconds (first, longest;
      doubling), after which one request goes ahead. 0 turns that off.
    - ``clock``: microseconds, in place of Redis' clock; for tests that step time.

    Every method raises :class:`redis.exceptions.RedisError` when Redis cannot be asked; nothing was granted then.
    """

    def __init__(
        self,
        redis: Redis,
        account: str,
        limits: AccountLimits,
        *,
        prefix: str = "tidegate",
        lease_s: float = 60.0,
        ask_within_s: float = 5.0,
        ticket_grace_s: float = 3.0,
        faults_to_close: int = 5,
        closed_for_s: tuple[float, float] = (2.0, 30.0),
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.account = account
        self.limits = limits
        self.ask_within_s = ask_within_s
        self._lease_us = _micro(lease_s)
        self._ask_within_us = _micro(ask_within_s)
        self._grace_us = _micro(ticket_grace_s)
        self._faults_to_close = faults_to_close
        self._closed_for_us = [_micro(seconds) for seconds in closed_for_s]
        self._max_age_us = _micro(limits.max_age_s)
        self._clock = clock
        self._declared = False
        tag = f"{{{prefix}:{account}}}"
        self._state_key = f"{tag}:limits"
        self._lease_key = f"{tag}:leases"
        self._line_keys = {
            limit.name: [f"{tag}:line:{limit.name}", f"{tag}:book:{limit.name}"] for limit in limits.limits
        }
        self._kinds = {limit.name: _kind(limit) for limit in limits.limits}
        self._scripts: dict[str, Script] = {name: redis.register_script(scripts.source(name)) for name in _SCRIPT_NAMES}

    def reserve(self, claim: Claim, ticket: str = "") -> Granted | Denied:
        """Grant the whole claim, or say what stands in its way and when to ask again.

        ``ticket`` names the asker (a message's id): denied for want of units, it waits in line under that name, and
        no younger claim takes what it needs while it keeps asking. Without one it does not queue.
        """
        if not self._declared:
            self.declare()
        reply = self._reserve_once(claim, ticket)
        if reply[0] == -1:
            self.declare()
            reply = self._reserve_once(claim, ticket)
        if reply[0] == 1:
            costs = {name: cost // MICRO for name, cost in zip(claim.costs, reply[2:], strict=True)}
            return Granted(_text(reply[1]), costs)
        return Denied(_REASONS[reply[1] - 1], _text(reply[2]), reply[3] / MICRO)

    def settle(
        self,
        granted: Granted,
        *,
        consumed: Mapping[str, int] | None = None,
        observations: Iterable[Observation] = (),
        fault: bool | None = False,
    ) -> bool:
        """End a reservation whose request was sent.

        ``consumed`` holds the units it really took per limit (what is missing counts as wholly spent); ``fault`` is
        ``True`` where the provider failed, ``None`` where the answer says nothing about its health. Returns whether
        the lease was still alive; a lapsed one refunds nothing, its observations count all the same.
        """
        well = 0 if fault is None else -1 if fault else 1
        amounts = [item for name, units in (consumed or {}).items() for item in (name, _micro(units))]
        return bool(
            self._run(
                "settle",
                [self._state_key, self._lease_key],
                [
                    granted.handle,
                    well,
                    self._faults_to_close,
                    *self._closed_for_us,
                    len(amounts) // 2,
                    *amounts,
                    *self._observed(observations),
                ],
            )
        )

    def cancel(self, granted: Granted) -> bool:
        """Give back a reservation whose request was never sent. Returns whether its lease was still alive."""
        return bool(self._run("cancel", [self._state_key, self._lease_key], [granted.handle]))

    def mark(self) -> Mark:
        """Note the moment before the provider is asked what is left."""
        names = [item for name, kind in self._kinds.items() for item in (name, kind)]
        return Mark(_text(self._run("mark", [self._state_key], names)))

    def observe(self, mark: Mark, observations: Iterable[Observation]) -> None:
        """Fold in an answer to a question asked at ``mark``, which itself cost nothing."""
        arguments = [mark.handle, *self._observed(observations)]
        if self._run("observe", [self._state_key], arguments) == -1:
            self.declare()
            self._run("observe", [self._state_key], arguments)

    def declare(self) -> None:
        """Make the account known with the plan's numbers. Harmless to repeat.

        What the provider has told stays, until other numbers are declared than the last time. The first ``reserve``
        of an instance does this by itself.
        """
        arguments: list[int | str] = []
        for limit in self.limits.limits:
            if isinstance(limit, Quota):
                arguments += [limit.name, "q", _micro(limit.limit), ""]
            else:
                known = limit.capacity is not None and limit.refill_per_s is not None
                capacity, rate = (limit.capacity, limit.refill_per_s) if known else (None, None)
                arguments += [limit.name, "b", _micro(capacity), _micro(rate)]
        self._run("declare", [self._state_key], arguments)
        self._declared = True

    def pause(self, kind: str, why: str, *, for_s: float = math.inf, half_open: bool = True) -> bool:
        """Close the account: nothing is granted for ``for_s`` seconds, or until :meth:`resume` with the same kind.

        ``kind`` is ``"operator"``, ``"account"`` (bad key, unpaid bill) or ``"retry_after"``. A longer closing that
        stands already is left alone. Returns whether anything changed.
        """
        for_us = round(min(for_s, 10 * 365 * 86400.0) * MICRO)
        return bool(self._run("pause", [self._state_key], [for_us, kind, why, int(half_open)]))

    def resume(self, kind: str) -> bool:
        """Open an account that was closed with this kind; ``"operator"`` opens any. Returns whether it was closed."""
        return bool(self._run("pause", [self._state_key], [0, kind, "", 1]))

    def forget(self, ticket: str) -> None:
        """Leave the line: the claim waits elsewhere now, or not at all."""
        keys = [key for name, keys in self._line_keys.items() if self._kinds[name] == "b" for key in keys]
        if keys:
            self._scripts["forget"](keys=keys, args=[ticket])

    def peek(self) -> Snapshot:
        """The account as it stands. Changes nothing, costs nothing."""
        keys = [self._state_key, self._lease_key, *(key for pair in self._line_keys.values() for key in pair)]
        names = [item for name, kind in self._kinds.items() for item in (name, kind)]
        reply = [_text(item) for item in cast("list[Any]", self._run("peek", keys, [self._max_age_us, *names]))]
        return _snapshot(reply, self._kinds)

    def _reserve_once(self, claim: Claim, ticket: str) -> list[Any]:
        keys = [self._state_key, self._lease_key]
        arguments: list[int | str] = [
            ticket,
            uuid.uuid4().hex,
            self._lease_us,
            self._grace_us,
            self._ask_within_us,
            self._max_age_us,
            _micro(claim.at_least),
        ]
        for name, cost in claim.costs.items():
            if name not in self._kinds:
                raise KeyError(f"claim names limit {name!r}; {self.account} has {list(self._kinds)}")
            keys += self._line_keys[name]
            arguments += [name, self._kinds[name], cost * MICRO]
        return cast("list[Any]", self._run("reserve", keys, arguments))

    def _observed(self, observations: Iterable[Observation]) -> list[int | str]:
        seen = list(observations)
        arguments: list[int | str] = [len(seen)]
        for item in seen:
            arguments += [
                item.limit,
                self._kinds[item.limit],
                _micro(item.left),
                _micro(item.at_most),
                _micro(item.capacity),
                _micro(item.refill_per_s),
                _micro(item.reset_in_s),
            ]
        return arguments

    def _run(self, name: str, keys: list[str], arguments: Sequence[int | str]) -> Any:
        now = "" if self._clock is None else self._clock()
        return self._scripts[name](keys=keys, args=[now, *arguments])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(text: str) -> float | None:
    return None if text == "" else float(text)


def _snapshot(reply: list[str], kinds: Mapping[str, str]) -> Snapshot:
    now, seen, paused = float(reply[0]), _number(reply[1]), _number(reply[2])
    reason = int(reply[7])
    closed = paused is not None and paused > now
    views: dict[str, LimitView] = {}
    waiting = 0
    for position, (name, kind) in enumerate(kinds.items()):
        left, capacity, rate, reset, outstanding, line = reply[10 + 6 * position : 16 + 6 * position]
        waiting += int(line)
        views[name] = LimitView(
            name=name,
            kind="token_bucket" if kind == "b" else "quota",
            capacity=_scaled(capacity),
            left=_scaled(left),
            outstanding=_scaled(outstanding) or 0.0,
            refill_per_s=_scaled(rate) if kind == "b" else None,
            reset_in_s=None if reset == "" else max(0.0, (float(reset) - now) / MICRO),
        )
    blocked = None if reason == 0 else _REASONS[reason - 1]
    return Snapshot(
        limits=views,
        observed_ago_s=None if seen is None else (now - seen) / MICRO,
        paused_for_s=(cast("float", paused) - now) / MICRO if closed else None,
        paused_kind=reply[3] if closed else None,
        paused_because=reply[4] if closed else None,
        half_open=reply[5] == "1",
        waiting=waiting,
        in_flight=int(reply[6]),
        blocked_reason=blocked,
        blocked_by=reply[8] if blocked else None,
        next_in_s=None if blocked in {Reason.UNOBSERVED, Reason.IMPOSSIBLE} else float(reply[9]) / MICRO,
    )


def _scaled(text: str) -> float | None:
    number = _number(text)
    return None if number is None else number / MICRO
