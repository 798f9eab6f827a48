"""Words the limiter's tests are written in."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping

from redis import Redis

from ratelimit import AccountLimits, Claim, Denied, Granted, Limiter, Observation, Reason


def take(limiter: Limiter, ticket: str = "", *, at_least: int | None = None, **costs: int) -> Granted | Denied:
    return limiter.reserve(Claim(costs=costs, at_least=at_least), ticket)


def grant(limiter: Limiter, ticket: str = "", *, at_least: int | None = None, **costs: int) -> Granted:
    reply = take(limiter, ticket, at_least=at_least, **costs)
    assert isinstance(reply, Granted), reply
    return reply


def told(limiter: Limiter, *observations: Observation) -> None:
    """The provider is asked and answers at once."""
    limiter.observe(limiter.mark(), observations)


def tell(limiter: Limiter, **left: int) -> None:
    told(limiter, *(Observation(limit=name, left=units) for name, units in left.items()))


def left(limiter: Limiter, name: str) -> float | None:
    return limiter.peek().limits[name].left


def spend(limiter: Limiter, **costs: int) -> None:
    """A request that takes no time and whose answer says nothing."""
    assert limiter.settle(grant(limiter, **costs))


def denied(reason: Reason, limit: str, retry_in_s: float) -> Denied:
    return Denied(reason, limit, retry_in_s)


def totals(redis: Redis, limiter: Limiter, name: str) -> tuple[int, int]:
    """Units granted and settled since ever."""
    fields = redis.hmget(f"{{tidegate:{limiter.account}}}:limits", f"{name}.G", f"{name}.S")
    granted, settled = (int(value or 0) for value in fields)
    return granted // 1_000_000, settled // 1_000_000


def dump(redis: Redis) -> Mapping[bytes, bytes | None]:
    """Everything that stands in Redis."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


def _race(port: int, limits: AccountLimits, threads: int, start: object, wins: object) -> None:
    with Redis(port=port) as client:
        limiter = Limiter(client, "race", limits)
        costs = {limit.name: 1 for limit in limits.limits}
        won: list[Granted] = []
        gate = threading.Barrier(threads)

        def ask() -> None:
            gate.wait()
            reply = limiter.reserve(Claim(costs=costs))
            if isinstance(reply, Granted):
                won.append(reply)

        workers = [threading.Thread(target=ask) for _ in range(threads)]
        start.wait()  # type: ignore[attr-defined]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        wins.put(len(won))  # type: ignore[attr-defined]


def race(port: int, limits: AccountLimits, *, processes: int, threads: int) -> int:
    """How many of ``processes`` times ``threads`` that ask at once are granted one unit of every limit."""
    context = multiprocessing.get_context("spawn")
    start, wins = context.Barrier(processes), context.Queue()
    runners = [context.Process(target=_race, args=(port, limits, threads, start, wins)) for _ in range(processes)]
    for runner in runners:
        runner.start()
    total = sum(wins.get(timeout=60) for _ in runners)
    for runner in runners:
        runner.join(60)
        assert runner.exitcode == 0
    wins.close()
    wins.join_thread()
    return total
