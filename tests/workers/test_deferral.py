"""Parked messages come back when they are due, to the head of their list, and none is lost on the way."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from workers.deferral import DeferralStore

LIST = "asinscope\x06\x163"
DUE, MESSAGES = "{tidegate:deferred:asinscope}:due", "{tidegate:deferred:asinscope}:messages"


@pytest.fixture
def store(redis: Redis) -> DeferralStore:
    return DeferralStore(redis, "asinscope")


def message(text: str) -> bytes:
    return json.dumps({"body": text, "properties": {"delivery_tag": "as parked", "priority": 3}}).encode()


def record(text: str) -> bytes:
    return LIST.encode() + b"\0" + message(text)


def in_list(redis: Redis) -> list[str]:
    return [json.loads(item)["body"] for item in redis.lrange(LIST, 0, -1)]


def test_what_is_not_due_stays(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record("later"), 60)
    assert store.bring_back(redis) == 0
    assert (store.count(), redis.exists(LIST)) == (1, 0)
    seconds, _ = redis.time()
    assert abs(redis.zscore(DUE, "m") / 1000 - seconds - 60) < 2


def test_what_is_due_goes_to_the_head_of_its_list(redis: Redis, store: DeferralStore) -> None:
    redis.lpush(LIST, message("queued"))
    store.park("m", record("due, with \u0000 in it"), 0)
    assert store.bring_back(redis) == 1
    assert in_list(redis) == ["queued", "due, with \u0000 in it"]
    assert redis.exists(DUE, MESSAGES) == 0


def test_parking_again_replaces(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record("first"), 0)
    store.park("m", record("second"), 60)
    assert store.bring_back(redis) == 0
    store.park("m", record("third"), -5)
    assert store.bring_back(redis) == 1
    assert in_list(redis) == ["third"]


class DyingBroker:
    """A broker that takes the message, and the pump dies before it has forgotten it."""

    def __init__(self, broker: Redis) -> None:
        self._broker = broker

    def rpush(self, name: str, message: bytes) -> None:
        self._broker.rpush(name, message)
        raise KeyboardInterrupt


def test_a_pump_that_dies_after_the_push_brings_it_back_twice_not_never(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record("due"), 0)
    with pytest.raises(KeyboardInterrupt):
        store.bring_back(DyingBroker(redis))  # type: ignore[arg-type]
    assert store.bring_back(redis) == 0, "another pump waits for the first one's lease"
    redis.zadd(DUE, {"m": 0})
    assert store.bring_back(redis) == 1
    assert in_list(redis) == ["due", "due"], "the inbox drops the second"


def test_a_message_parked_anew_while_it_is_handed_out_stays_parked(redis: Redis, store: DeferralStore) -> None:
    class Quick:
        def rpush(self, name: str, message: bytes) -> None:
            redis.rpush(name, message)
            store.park("m", record("its next step"), 60)

    store.park("m", record("due"), 0)
    assert store.bring_back(Quick()) == 1  # type: ignore[arg-type]
    assert in_list(redis) == ["due"]
    assert (store.count(), redis.hget(MESSAGES, "m")) == (1, record("its next step"))


def test_so_many_at_a_time_the_oldest_first(redis: Redis, store: DeferralStore) -> None:
    for number in range(25):
        store.park(f"m{number}", record(str(number)), -number)
    redis.zadd(DUE, {f"m{number}": 1_000 + number for number in range(25)})
    assert [store.bring_back(redis, 10) for _ in range(4)] == [10, 10, 5, 0]
    assert in_list(redis) == [str(number) for number in range(25)]


def test_an_entry_without_its_message_is_dropped(redis: Redis, store: DeferralStore) -> None:
    redis.zadd(DUE, {"ghost": 1})
    assert store.bring_back(redis) == 0
    assert store.count() == 0


def test_a_month_is_a_month(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record("x"), 30 * 86_400)
    seconds, _ = redis.time()
    assert abs(redis.zscore(DUE, "m") / 1000 - seconds - 30 * 86_400) < 2


def test_it_comes_back_under_a_tag_of_its_own(redis: Redis, store: DeferralStore) -> None:
    """The node that parked it acknowledges the old tag a moment later: it must not take this delivery's record."""
    store.park("m", record("due"), 0)
    store.bring_back(redis)
    [back] = [json.loads(item)["properties"] for item in redis.lrange(LIST, 0, -1)]
    assert back["priority"] == 3
    assert back["delivery_tag"] not in {"as parked", ""}


def test_a_copy_of_a_finished_message_is_forgotten(redis: Redis, store: DeferralStore) -> None:
    store.park("m", record("x"), 60)
    store.park("other", record("y"), 60)
    store.forget("m")
    store.forget("unknown")
    assert (redis.zrange(DUE, 0, -1), redis.hkeys(MESSAGES)) == ([b"other"], [b"other"])
