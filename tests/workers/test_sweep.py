"""What dies with its node comes back, in order; what a living node holds does not."""

from __future__ import annotations

import pytest
from redis import Redis

from workers.sweep import Sweep
from workers.transport import UNACKED, UNACKED_INDEX, in_flight_key

LISTS = ("asinscope", "asinscope\x06\x163")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sweep(redis: Redis, clock: Clock) -> Sweep:
    return Sweep(redis, LISTS, visibility_s=20.0, in_flight_s=5.0, clock=clock)


@pytest.mark.parametrize("name", LISTS)
def test_a_message_in_flight_goes_back_when_it_has_stood_there_too_long(
    redis: Redis, sweep: Sweep, clock: Clock, name: str
) -> None:
    redis.lpush(name, b"later")
    redis.lpush(in_flight_key(name), b"stuck")
    assert sweep.stuck() == 0, "first seen"
    clock.now_s += 4.9
    assert sweep.stuck() == 0
    clock.now_s += 0.2
    assert sweep.stuck() == 1
    assert redis.lrange(name, 0, -1) == [b"later", b"stuck"], "the head is on the right"
    assert redis.exists(in_flight_key(name)) == 0


def test_what_was_recorded_meanwhile_is_left_alone(redis: Redis, sweep: Sweep, clock: Clock) -> None:
    redis.lpush(in_flight_key("asinscope"), b"quick")
    sweep.stuck()
    redis.delete(in_flight_key("asinscope"))
    clock.now_s += 60
    assert sweep.stuck() == 0
    redis.lpush(in_flight_key("asinscope"), b"quick")
    assert sweep.stuck() == 0, "its time begins anew"
    assert redis.exists("asinscope") == 0


def test_two_sweeps_put_back_once(redis: Redis, clock: Clock) -> None:
    sweeps = [Sweep(redis, LISTS, visibility_s=20, in_flight_s=5, clock=clock) for _ in range(2)]
    redis.lpush(in_flight_key("asinscope"), b"stuck")
    for sweep in sweeps:
        sweep.stuck()
    clock.now_s += 6
    assert [sweep.stuck() for sweep in sweeps] == [1, 0]
    assert redis.lrange("asinscope", 0, -1) == [b"stuck"]


def hold(redis: Redis, *tags: str, since_s: float, name: str = "asinscope") -> None:
    """Unacknowledged messages that were last renewed so many seconds ago, the first one the longest ago."""
    now_s = float(redis.time()[0])
    for number, tag in enumerate(tags):
        redis.hset(UNACKED, tag, f"{name}\0message {tag}")
        redis.zadd(UNACKED_INDEX, {tag: now_s - since_s + number / 1000})


def test_what_nobody_renews_lapses_in_order(redis: Redis, sweep: Sweep) -> None:
    redis.lpush("asinscope", b"queued")
    hold(redis, "a", "b", "c", since_s=25)
    assert sweep.lapsed() == 3
    assert redis.lrange("asinscope", 0, -1) == [b"queued", b"message c", b"message b", b"message a"]
    assert redis.exists(UNACKED, UNACKED_INDEX) == 0
    assert sweep.lapsed() == 0


def test_it_goes_back_to_the_list_it_came_from(redis: Redis, sweep: Sweep) -> None:
    hold(redis, "a", since_s=25, name=LISTS[1])
    sweep.lapsed()
    assert redis.lrange(LISTS[1], 0, -1) == [b"message a"]


def test_what_is_renewed_does_not_lapse(redis: Redis, sweep: Sweep) -> None:
    hold(redis, "old", "kept", since_s=25)
    sweep.renew(["kept"])
    assert sweep.lapsed() == 1
    assert redis.hkeys(UNACKED) == [b"kept"]
    hold(redis, "young", since_s=15)
    assert sweep.lapsed() == 0


def test_renewing_makes_nothing_of_what_is_gone(redis: Redis, sweep: Sweep) -> None:
    sweep.renew(["gone"])
    sweep.renew([])
    assert redis.exists(UNACKED_INDEX) == 0


def test_a_bare_index_entry_is_forgotten(redis: Redis, sweep: Sweep) -> None:
    hold(redis, "a", since_s=25)
    redis.hdel(UNACKED, "a")
    sweep.lapsed()
    assert redis.exists(UNACKED_INDEX, "asinscope") == 0
