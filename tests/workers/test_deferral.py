"""Parked messages come back when they are due, to the head of their list, and none is lost on the way."""

from __future__ import annotations

import pytest
from redis import Redis

from workers.deferral import DeferralStore

LIST = "asinscope\x06\x163"
DUE, MESSAGES = "{tidegate:deferred:asinscope}:due", "{tidegate:deferred:asinscope}:messages"


@pytest.fixture
def store(redis: Redis) -> DeferralStore:
    return DeferralStore(redis, "asinscope")


def record(text: bytes) -> bytes:
    return LIST.encode() + b"\0" + text


def test_what_is_not_due_stays(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record(b"later"), 60)
    assert store.bring_back(redis) == 0
    assert (store.count(), redis.exists(LIST)) == (1, 0)
    seconds, _ = redis.time()
    assert abs(redis.zscore(DUE, "m") / 1000 - seconds - 60) < 2


def test_what_is_due_goes_to_the_head_of_its_list(redis: Redis, store: DeferralStore) -> None:
    redis.lpush(LIST, b"queued")
    store.park("m", record(b"due, with \0 in it"), 0)
    assert store.bring_back(redis) == 1
    assert redis.lrange(LIST, 0, -1) == [b"queued", b"due, with \0 in it"]
    assert redis.exists(DUE, MESSAGES) == 0


def test_parking_again_replaces(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record(b"first"), 0)
    store.park("m", record(b"second"), 60)
    assert store.bring_back(redis) == 0
    store.park("m", record(b"third"), -5)
    assert store.bring_back(redis) == 1
    assert redis.lrange(LIST, 0, -1) == [b"third"]


class DyingBroker:
    """A broker that takes the message, and the pump dies before it has forgotten it."""

    def __init__(self, broker: Redis) -> None:
        self._broker = broker

    def rpush(self, name: str, message: bytes) -> None:
        self._broker.rpush(name, message)
        raise KeyboardInterrupt


def test_a_pump_that_dies_after_the_push_brings_it_back_twice_not_never(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record(b"due"), 0)
    with pytest.raises(KeyboardInterrupt):
        store.bring_back(DyingBroker(redis))  # type: ignore[arg-type]
    assert store.bring_back(redis) == 0, "another pump waits for the first one's lease"
    redis.zadd(DUE, {"m": 0})
    assert store.bring_back(redis) == 1
    assert redis.lrange(LIST, 0, -1) == [b"due", b"due"], "the inbox drops the second"


def test_a_message_parked_anew_while_it_is_handed_out_stays_parked(redis: Redis, store: DeferralStore) -> None:
    class Quick:
        def rpush(self, name: str, message: bytes) -> None:
            redis.rpush(name, message)
            store.park("m", record(b"its next step"), 60)

    store.park("m", record(b"due"), 0)
    assert store.bring_back(Quick()) == 1  # type: ignore[arg-type]
    assert redis.lrange(LIST, 0, -1) == [b"due"]
    assert (store.count(), redis.hget(MESSAGES, "m")) == (1, record(b"its next step"))


def test_so_many_at_a_time_the_oldest_first(redis: Redis, store: DeferralStore) -> None:
    for number in range(25):
        store.park(f"m{number}", record(b"%d" % number), -number)
    redis.zadd(DUE, {f"m{number}": 1_000 + number for number in range(25)})
    assert [store.bring_back(redis, 10) for _ in range(4)] == [10, 10, 5, 0]
    assert redis.lrange(LIST, 0, -1) == [b"%d" % number for number in range(25)]


def test_an_entry_without_its_message_is_dropped(redis: Redis, store: DeferralStore) -> None:
    redis.zadd(DUE, {"ghost": 1})
    assert store.bring_back(redis) == 0
    assert store.count() == 0


def test_a_month_is_a_month(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record(b"x"), 30 * 86_400)
    seconds, _ = redis.time()
    assert abs(redis.zscore(DUE, "m") / 1000 - seconds - 30 * 86_400) < 2
