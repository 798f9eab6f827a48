"""A fleet in virtual time, around the real limiter and a real Redis.

The fleet asks as the nodes do: each node keeps the order of its own claims, asks when the limiter told it to (some
milliseconds late) and probes when the limiter wants it to. Everything random comes from the world's seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from simulated_vendor import BUCKET, DAY, SECOND, START, TOKEN, Vendor, World

from ratelimit import AccountLimits, Claim, Denied, Granted, Limiter, Observation, Quota, Reason, TokenBucket

MIN_PROBE_INTERVAL = SECOND


@dataclass(slots=True)
class Work:
    """A message: its claim and when it was first denied."""

    name: str
    cost: int
    denied_at: int | None = None
    order: int | None = None
    overtaken_by: int = 0


@dataclass(slots=True)
class Node:
    """A process with some slots; the head of its own line asks, the others wait behind it."""

    number: int
    free: int
    head: Work | None = None
    asking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to, in the vendor's tokens.

    The busy time runs from the first grant to the one after which no message waits. ``spendable`` is what the vendor
    had at its start and refilled in it, less what a full bucket lost while everything it holds was promised to
    requests in flight (nobody could have sent one more and been sure of it), less what others took. ``spent`` counts
    requests granted in it. Where there are days, the busy time ends with the last whole one.
    """

    requests: int
    refused: int
    spent: int
    spendable: float
    busy_s: float
    calls: int
    longest_wait_s: float
    overtaken: int

    @property
    def share(self) -> float:
        return self.spent / self.spendable


class Simulation:
    """One world, run to its end by :meth:`run`."""

    def __init__(self, world: World, redis: Redis, account: str = "sim") -> None:
        self.world, self.redis = world, redis
        self.rng = random.Random(world.seed)
        self.now = START
        self.vendor = Vendor(world)
        self.queue = deque(Work(f"m{number}", cost) for number, cost in enumerate(world.costs))
        self.nodes = [Node(number, world.slots) for number in range(world.nodes)]
        quota = () if world.day is None else (Quota(name=DAY),)
        limits = AccountLimits(limits=(TokenBucket(name=BUCKET), *quota), max_age_s=world.max_age_s)
        self.limiter = Limiter(redis, account, limits, lease_s=world.lease_s, clock=lambda: self.now)
        self.state_key = f"{{tidegate:{account}}}:limits"
        self.lease_key = f"{{tidegate:{account}}}:leases"
        self.names = [limit.name for limit in limits.limits]
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._orders = itertools.count()
        self._waiting: dict[str, Work] = {}
        self._probing = False
        self._probed_at = START - 10 * MIN_PROBE_INTERVAL
        self._busy_from = self._busy_until = 0
        self._spent, self._spent_in_days, self._spendable = 0, 0, 0.0
        self.calls = self.longest_wait = self.overtaken = 0
        self.left_to_do = len(self.queue)

    def run(self) -> Outcome:
        for node in self.nodes:
            self._wake(node, 0)
        if self.world.foreign_share:
            self._at(self._foreign_gap(), self._spend_elsewhere)
        if self.world.plan_change:
            self._at(round(self.world.plan_change[0] * SECOND), self._change_plan)
        while self._events and self.left_to_do:
            self.now, _, step = heapq.heappop(self._events)
            step()
            if next(self._sequence) % 16 == 0:
                self.check_totals()
        self.check_totals()
        while self._events:  # what is still under way comes to its end
            self.now, _, step = heapq.heappop(self._events)
            step()
        return self._outcome()

    def check_totals(self) -> None:
        """Granted less settled is what the live leases hold, at every moment."""
        fields = [f"{name}.{total}" for name in self.names for total in "GS"]
        totals = [int(value or 0) for value in self.redis.hmget(self.state_key, fields)]
        handles = [handle.decode() for handle in self.redis.zrange(self.lease_key, 0, -1)]
        for index, name in enumerate(self.names):
            held = sum(
                int(part.split("=")[2]) for handle in handles for part in handle.split(":")[2].split(";")
                if part.startswith(f"{name}=")
            )  # fmt: skip
            assert totals[2 * index] - totals[2 * index + 1] == held

    def _at(self, delay: int, step: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._sequence), step))

    def _wake(self, node: Node, delay: int) -> None:
        if not node.asking:
            node.asking = True
            self._at(delay, lambda: self._ask(node))

    def _ask(self, node: Node) -> None:
        node.asking = False
        while node.free > 0:
            if node.head is None:
                if not self.queue:
                    return
                node.head = self.queue.popleft()
            reply = self._reserve(node.head)
            if isinstance(reply, Denied):
                self._denied(node, node.head, reply)
                return
            work, node.head = node.head, None
            in_busy_time = not self._busy_until
            self._granted(work, reply)
            self._send(node, work, reply, in_busy_time)

    def _reserve(self, work: Work) -> Granted | Denied:
        self.calls += 1
        costs = dict.fromkeys(self.names, work.cost)
        return self.limiter.reserve(Claim(costs=costs, at_least=1 if self.world.divisible else None), work.name)

    def _denied(self, node: Node, work: Work, denied: Denied) -> None:
        assert denied.reason is not Reason.IMPOSSIBLE
        if denied.reason is Reason.UNOBSERVED:
            self._probe()
            self._wake(node, SECOND // 20)
            return
        if work.denied_at is None:
            work.denied_at, work.order = self.now, next(self._orders)
        if denied.reason in {Reason.EMPTY, Reason.WAITING} and denied.limit == BUCKET:
            self._waiting[work.name] = work
        late = round(self.rng.uniform(0, self.world.late_s) * SECOND)
        self._wake(node, min(round(denied.retry_in_s * SECOND), 5 * SECOND) + late)

    def _granted(self, work: Work, granted: Granted) -> None:
        if not self._busy_from:
            self._busy_from = self.now
            self._supply_at_start = self._supply()
            self._day_at_start = (self.vendor.parts, self.vendor.day_left, self.vendor.reset_at)
        self._waiting.pop(work.name, None)
        if work.denied_at is not None:
            self.longest_wait = max(self.longest_wait, self.now - work.denied_at)
        self.overtaken = max(self.overtaken, work.overtaken_by)
        for other in self._waiting.values():
            if work.order is None or (other.order is not None and other.order < work.order):
                other.overtaken_by += 1
        rest = work.cost - granted.costs[BUCKET]
        if rest:
            self.left_to_do += 1
            self.queue.appendleft(Work(f"{work.name}+", rest))
        work.denied_at, work.order, work.overtaken_by, work.cost = None, None, 0, granted.costs[BUCKET]
        if not self._busy_until and not self.queue and not any(node.head for node in self.nodes):
            self._end_busy_time()

    def _send(self, node: Node, work: Work, granted: Granted, in_busy_time: bool) -> None:
        node.free -= 1
        self.vendor.send(self.now, work.cost)
        took = self.world.latency.draw(self.rng)
        counted = round(took * self.rng.uniform(*self.world.counted_at))
        fails = self.rng.random() < self.world.free_failure_chance
        crashes = self.rng.random() < self.world.crash_chance
        answer: list[tuple[str | None, list[Observation]]] = []

        def count() -> None:
            refusal = "failed" if fails else self.vendor.take(self.now, work.cost)
            answer.append((refusal, self.vendor.report(self.now)))
            self._spent += work.cost if in_busy_time and refusal is None else 0

        def end() -> None:
            node.free += 1
            self.vendor.send(self.now, -work.cost)
            if crashes:  # nobody settles; the message comes back when its lease has lapsed
                self._at(round(self.world.lease_s * SECOND), lambda: self._again(node, work))
            else:
                self._settle(node, work, granted, *answer[0])
            self._wake(node, 0)

        self._at(counted, count)
        self._at(took, end)

    def _settle(self, node: Node, work: Work, granted: Granted, refusal: str | None, told: list[Observation]) -> None:
        self.calls += 1
        if refusal is None:
            self.limiter.settle(granted, consumed=granted.costs, observations=told)
            self.left_to_do -= 1
            return
        nothing = dict.fromkeys(granted.costs, 0)
        rate = self.vendor.per_minute / 60 if refusal == BUCKET else None
        seen = [] if refusal == "failed" else [Observation(limit=refusal, at_most=work.cost - 1, refill_per_s=rate)]
        self.limiter.settle(granted, consumed=nothing, observations=seen, fault=None)
        self._again(node, work)

    def _again(self, node: Node, work: Work) -> None:
        self.queue.appendleft(work)
        self._wake(node, 0)

    def _probe(self) -> None:
        if self._probing or self.now < self._probed_at + MIN_PROBE_INTERVAL:
            return
        self._probing, self._probed_at = True, self.now
        mark = self.limiter.mark()
        took = self.world.latency.draw(self.rng)
        told: list[Observation] = []

        def end() -> None:
            self._probing = False
            self.limiter.observe(mark, told)

        self._at(round(took * self.rng.random()), lambda: told.extend(self.vendor.report(self.now, plan=True)))
        self._at(took, end)

    def _foreign_gap(self) -> int:
        per_s = self.world.foreign_share * self.world.per_minute / 60
        return max(1, round(self.rng.expovariate(per_s) * SECOND))

    def _spend_elsewhere(self) -> None:
        self.vendor.take_foreign(self.now, 1)
        if self.left_to_do:
            self._at(self._foreign_gap(), self._spend_elsewhere)

    def _change_plan(self) -> None:
        assert self.world.plan_change
        _, capacity, per_minute = self.world.plan_change
        self.vendor.change_plan(self.now, capacity, per_minute)

    def _supply(self) -> int:
        """Parts that could have been spent since ever."""
        self.vendor.advance(self.now)
        return self.vendor.offered - self.vendor.lost_while_promised - self.vendor.taken * TOKEN

    def _end_busy_time(self) -> None:
        self._busy_until = self.now
        if self.world.day is None:
            self._spendable = (self._day_at_start[0] + self._supply() - self._supply_at_start) / TOKEN
            return
        self.vendor.advance(self.now)
        self._busy_until, self._spent_in_days = self.vendor.last_reset, self.vendor.spent_by_then
        self._spendable = self._spendable_in_days()

    def _spendable_in_days(self) -> float:
        parts, day_left, reset_at = self._day_at_start
        at, total = self._busy_from, 0.0
        while True:
            until = min(reset_at, self._busy_until)
            supply = parts + (until - at) * self.world.per_minute
            use = min(day_left * TOKEN, supply)
            total += use / TOKEN
            if until == self._busy_until:
                return total
            parts = min(self.world.capacity * TOKEN, supply - use)
            at, day_left, reset_at = until, self.world.day, reset_at + round(self.world.day_s * SECOND)

    def _outcome(self) -> Outcome:
        return Outcome(
            requests=len(self.world.costs),
            refused=self.vendor.refused,
            spent=self._spent if self.world.day is None else self._spent_in_days,
            spendable=self._spendable,
            busy_s=(self._busy_until - self._busy_from) / SECOND,
            calls=self.calls,
            longest_wait_s=self.longest_wait / SECOND,
            overtaken=self.overtaken,
        )
