"""The transport alone, without Celery: fetch, record, acknowledge, give back, on a real Redis."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from malformed import envelope
from redis import Redis

from workers.gate import GATE
from workers.transport import UNACKED, UNACKED_INDEX, WAIT_S, Channel, Transport, in_flight_key, list_key_of

PAID, FREE = "asinscope", "asinscope.free"


def at(step: int, queue: str = PAID) -> str:
    return f"{queue}\x06\x16{step}" if step else queue


def raw(number: int, task_id: str | None = None) -> bytes:
    return json.dumps(envelope(number, task_id or f"m{number}")).encode()


class Taker:
    """A consumer of both queues that keeps what it gets."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url, transport=Transport)
        self.channel: Channel = self.connection.default_channel
        self.messages: list[Any] = []
        consumer = Consumer(self.channel, [Queue(PAID, routing_key=PAID), Queue(FREE, routing_key=FREE)])
        consumer.on_message = self.messages.append
        consumer.consume()

    @property
    def ids(self) -> list[str]:
        return [message.headers["id"] for message in self.messages]

    def take(self, count: int, within_s: float = 5.0) -> list[str]:
        """Wait until so many messages are there in all; returns their ids."""
        deadline = time.monotonic() + within_s
        while len(self.messages) < count and time.monotonic() < deadline:
            self.turn()
        assert len(self.messages) == count
        return self.ids

    def turn(self) -> None:
        try:
            self.connection.drain_events(timeout=0.05)
        except TimeoutError:
            return


@pytest.fixture
def aside() -> Iterator[list[tuple[str, bytes, str]]]:
    """What was put aside; set up as a node does."""
    found: list[tuple[str, bytes, str]] = []
    Channel.on_unusable = lambda *what: found.append(what)  # type: ignore[assignment]
    Channel.known_tasks = frozenset({"asinscope.lookup"})
    yield found
    Channel.on_unusable, Channel.known_tasks = None, frozenset()


@pytest.fixture
def taker(redis: Redis, redis_url: str, aside: list[tuple[str, bytes, str]]) -> Iterator[Taker]:
    taker = Taker(redis_url)
    yield taker
    taker.connection.close()
    GATE.open(PAID)
    GATE.open(FREE)
    GATE.on_open = None


def left(redis: Redis) -> dict[bytes, int]:
    """Everything that holds a message."""
    keys = [key for key in redis.keys("*") if not key.startswith(b"_kombu")]
    return {key: redis.hlen(key) if key == UNACKED.encode() else -1 for key in keys}


def wait_for(wanted: Callable[[], Any], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_fetched_message_is_recorded_with_its_list(redis: Redis, taker: Taker) -> None:
    redis.lpush(at(3), raw(1))
    assert taker.take(1) == ["m1"]
    assert redis.hgetall(UNACKED) == {b"tag-1": at(3).encode() + b"\0" + raw(1)}
    assert list_key_of(redis.hget(UNACKED, "tag-1")) == (at(3), raw(1))
    seconds, _ = redis.time()
    assert abs(redis.zscore(UNACKED_INDEX, "tag-1") - seconds) < 2
    assert redis.exists(at(3), in_flight_key(at(3))) == 0


def test_a_message_that_was_waited_for_is_recorded_too(redis: Redis, taker: Taker) -> None:
    waiting = threading.Timer(0.15, redis.lpush, [PAID, raw(1)])
    waiting.start()
    assert taker.take(1) == ["m1"]
    assert redis.hget(UNACKED, "tag-1") == PAID.encode() + b"\0" + raw(1)
    assert redis.exists(PAID, in_flight_key(PAID)) == 0


@pytest.mark.parametrize("queue", [PAID, FREE])
@pytest.mark.parametrize("step", [0, 3, 6, 9])
def test_no_list_is_left_lying(redis: Redis, taker: Taker, queue: str, step: int) -> None:
    taker.turn()
    redis.lpush(at(step, queue), raw(1))
    assert taker.take(1) == ["m1"]


def test_lower_priorities_first_and_each_in_order(redis: Redis, taker: Taker) -> None:
    for number, (step, queue) in enumerate([(9, PAID), (0, FREE), (3, PAID), (0, PAID), (3, PAID), (6, FREE)]):
        redis.lpush(at(step, queue), raw(number))
    assert taker.take(6) == ["m3", "m1", "m2", "m4", "m5", "m0"]


def test_an_acknowledgement_forgets_the_message(redis: Redis, taker: Taker) -> None:
    redis.lpush(PAID, raw(1), raw(2))
    taker.take(2)
    taker.messages[0].ack()
    taker.turn()
    assert redis.hkeys(UNACKED) == [b"tag-2"]
    taker.messages[1].ack()
    taker.connection.close()
    assert left(redis) == {}


def test_what_is_rejected_goes_back_to_the_head(redis: Redis, taker: Taker) -> None:
    redis.lpush(PAID, raw(1), raw(2))
    taker.channel.basic_qos(0, 1)
    taker.take(1)
    taker.messages[0].reject(requeue=True)
    assert redis.lrange(PAID, 0, -1) == [raw(2), raw(1)]
    assert redis.exists(UNACKED, UNACKED_INDEX) == 0
    assert taker.take(2) == ["m1", "m1"], "and its slot is free again"


def test_closing_gives_everything_back_in_order(redis: Redis, taker: Taker) -> None:
    for number in range(20):
        redis.lpush(PAID if number % 3 else at(6), raw(number))
    before = {name: redis.lrange(name, 0, -1) for name in (PAID, at(6))}
    taker.take(20)
    taker.connection.close()
    assert {name: redis.lrange(name, 0, -1) for name in before} == before
    assert redis.exists(UNACKED, UNACKED_INDEX) == 0


def test_closing_while_a_fetch_waits_loses_nothing(redis: Redis, redis_url: str, taker: Taker) -> None:
    taker.turn()
    redis.lpush(PAID, raw(1))
    taker.connection.close()
    assert redis.lrange(PAID, 0, -1) == [raw(1)]
    assert left(redis) == {PAID.encode(): -1}


def test_no_more_than_the_prefetch_count(redis: Redis, taker: Taker) -> None:
    taker.channel.basic_qos(0, 3)
    redis.lpush(PAID, *(raw(number) for number in range(10)))
    taker.take(3)
    for _ in range(5):
        taker.turn()
    assert (len(taker.messages), redis.llen(PAID), redis.hlen(UNACKED)) == (3, 7, 3)


def test_a_closed_gate_lets_nothing_through_and_opens_at_once(redis: Redis, taker: Taker) -> None:
    GATE.close(PAID, "day: empty")
    redis.lpush(PAID, raw(1))
    redis.lpush(FREE, raw(2))
    assert taker.take(1) == ["m2"]
    taker.turn()
    assert redis.llen(PAID) == 1
    wait_for(lambda: waits(redis))
    GATE.open(PAID)
    wait_for(lambda: not waits(redis), within_s=WAIT_S / 2)
    assert taker.take(2) == ["m2", "m1"]


def waits(redis: Redis) -> bool:
    """Whether a client waits for a message."""
    return any(client["cmd"] == "blmove" and "b" in client["flags"] for client in redis.client_list())


def test_all_gates_closed(redis: Redis, taker: Taker) -> None:
    GATE.close(PAID, "x")
    GATE.close(FREE, "x")
    redis.lpush(PAID, raw(1))
    for _ in range(5):
        taker.turn()
    assert (taker.messages, redis.llen(PAID)) == ([], 1)
    GATE.open(PAID)
    assert taker.take(1) == ["m1"]


def test_a_redis_that_has_forgotten_the_scripts(redis: Redis, taker: Taker) -> None:
    redis.lpush(PAID, raw(1))
    taker.take(1)
    redis.script_flush()
    taker.messages[0].ack()
    redis.lpush(PAID, raw(2))
    assert taker.take(2) == ["m1", "m2"]
    wait_for(lambda: taker.turn() or redis.hkeys(UNACKED) == [b"tag-2"])


@pytest.mark.parametrize("waited_for", [False, True])
@pytest.mark.parametrize("message", [b"\xff", b"[]", raw(1).replace(b"asinscope.lookup", b"nonsense")])
def test_an_unusable_message_is_put_aside(
    redis: Redis, taker: Taker, aside: list[tuple[str, bytes, str]], message: bytes, waited_for: bool
) -> None:
    if waited_for:
        taker.turn()
    redis.lpush(PAID, message)
    redis.lpush(PAID, raw(2))
    assert taker.take(1) == ["m2"]
    assert [what[:2] for what in aside] == [(PAID, message)]
    taker.messages[0].ack()
    taker.connection.close()
    assert left(redis) == {}


def test_an_unusable_message_whose_tag_the_server_could_read(
    redis: Redis, taker: Taker, aside: list[tuple[str, bytes, str]]
) -> None:
    """Redis reads JSON with bytes that are no UTF-8, and records it; Python does not."""
    message = raw(1).replace(b'"py"', b'"\xff"')
    redis.lpush(PAID, message)
    redis.lpush(PAID, raw(2))
    assert taker.take(1) == ["m2"]
    assert [what[:2] for what in aside] == [(PAID, message)]
    taker.turn()
    assert redis.hkeys(UNACKED) == [b"tag-2"]


def test_two_messages_with_one_tag_are_not_confused(redis: Redis, taker: Taker) -> None:
    redis.lpush(PAID, raw(1, "one"))
    redis.lpush(PAID, raw(1, "two"))
    assert taker.take(1) == ["one"]
    taker.turn()
    assert redis.lrange(in_flight_key(PAID), 0, -1) == [raw(1, "two")]
    assert redis.hget(UNACKED, "tag-1").endswith(raw(1, "one"))


def test_the_routing_key_is_the_queue_it_came_from(redis: Redis, taker: Taker) -> None:
    redis.lpush(at(9, FREE), raw(1))
    taker.take(1)
    assert taker.messages[0].delivery_info["routing_key"] == FREE


@pytest.mark.parametrize("step", [0, 6])
def test_a_message_is_handed_over_to_the_end_of_another_queue(redis: Redis, taker: Taker, step: int) -> None:
    GATE.close(PAID, "x")
    redis.lpush(at(step), raw(8), raw(9))
    redis.lpush(at(step, FREE), raw(1))
    taker.take(1)
    taker.channel.qos.hand_over("tag-1", PAID)
    assert redis.lrange(at(step), 0, -1) == [raw(1), raw(9), raw(8)]
    assert redis.exists(UNACKED, UNACKED_INDEX) == 0
    taker.channel.qos.hand_over("tag-1", PAID)
    assert redis.llen(at(step)) == 3


def test_giving_back_twice_gives_back_once(redis: Redis, taker: Taker) -> None:
    GATE.close(PAID, "x")
    redis.lpush(FREE, raw(1))
    taker.take(1)
    GATE.close(FREE, "x")
    for _ in range(2):
        taker.channel.qos.restore_by_tag("tag-1")
    assert redis.lrange(FREE, 0, -1) == [raw(1)]


@pytest.mark.parametrize("requeue", [True, False])
def test_a_thread_that_ends_after_its_connection_does_no_harm(redis: Redis, taker: Taker, requeue: bool) -> None:
    """Closing has given its message back; another delivery may be at work already."""
    redis.lpush(PAID, raw(1), raw(2))
    taker.take(2)
    taker.connection.close()
    taker.messages[0].reject(requeue=requeue)
    taker.messages[1].ack()
    assert redis.lrange(PAID, 0, -1) == [raw(2), raw(1)]
    assert redis.exists(UNACKED, UNACKED_INDEX) == 0
