"""The steward: asks seldom and once for all, renews whatever else goes wrong, and does not die."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from providers import errors
from providers.base import Call, Reply
from ratelimit import LimitView, Reason, Snapshot
from workers import steward as stewards
from workers.gate import GATE
from workers.node import Delivery, Desk, Node
from workers.steward import Steward
from workers.transport import UNACKED, UNACKED_INDEX

LOCK = "{tidegate:asinscope:main}:asked"
TOKENS = {
    "dailyTokensLeft": 5,
    "dailyTokensLimit": 100,
    "minutelyTokensLeft": 7,
    "minutelyBucketCapacity": 60,
    "tokensPerMinute": 10,
    "msBeforeNextDailyReset": 60_000,
}


class Vendor:
    """Answers the question what is left, or fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def send(self, call: Call) -> Reply:
        self.asked += 1
        assert self.go_on.wait(10)
        if self.failure is not None:
            raise self.failure
        return Reply(status=200, headers={}, body=json.dumps(TOKENS).encode())

    def close(self) -> None:
        return


@pytest.fixture
def vendor(node: Node) -> Iterator[Vendor]:
    vendor = Vendor()
    node.desks["asinscope"].http.close()
    node.desks["asinscope"].http = vendor  # type: ignore[assignment]
    yield vendor
    vendor.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "asking":
            thread.join()
    GATE.open("asinscope")


@pytest.fixture
def nudged() -> list[str]:
    return []


@pytest.fixture
def steward(node: Node, vendor: Vendor, nudged: list[str]) -> Steward:
    return Steward(node, nudged.append, lambda: {"held": len(node.held)})


@pytest.fixture
def desk(node: Node) -> Desk:
    return node.desks["asinscope"]


def wait_for(wanted: Callable[[], Any], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def held(node: Node, redis: Redis, number: int = 1) -> Delivery:
    """A message this node holds, last renewed long ago."""
    delivery = object.__new__(Delivery)
    delivery.id, delivery.tag, delivery.owner = f"m{number}", f"tag{number}", node.new_owner()
    delivery.provider = node.desks["asinscope"].provider
    node.inbox.open(delivery.id, delivery.owner)
    node.hold(delivery)
    redis.hset(UNACKED, delivery.tag, "asinscope\0x")
    redis.zadd(UNACKED_INDEX, {delivery.tag: 1.0})
    return delivery


def test_the_answer_is_folded_in_and_the_room_told(
    steward: Steward, desk: Desk, vendor: Vendor, nudged: list[str]
) -> None:
    desk.ask_provider()
    steward.tick()
    wait_for(lambda: nudged)
    limits = desk.limiter.peek().limits
    assert (limits["day"].left, limits["day"].capacity, limits["bucket"].capacity) == (5, 100, 60)
    assert (vendor.asked, nudged, desk.wants_probe.is_set()) == (1, ["asinscope"], False)


def test_the_fleet_asks_once(redis: Redis, node: Node, desk: Desk, vendor: Vendor, steward: Steward) -> None:
    for _ in range(5):
        desk.ask_provider()
        steward.tick()
    wait_for(lambda: 4_000 < redis.pttl(LOCK) <= 5_000)
    assert vendor.asked == 1
    desk.ask_provider()
    steward.tick()
    assert (vendor.asked, desk.wants_probe.is_set()) == (1, True), "the wish stays until it is allowed"
    redis.delete(LOCK)
    steward.tick()
    wait_for(lambda: vendor.asked == 2)


def test_what_another_node_has_asked_meanwhile_is_not_asked_again(
    redis: Redis, desk: Desk, vendor: Vendor, steward: Steward
) -> None:
    redis.set(LOCK, "another node", px=5_000)
    desk.ask_provider()
    steward.tick()
    assert desk.wants_probe.is_set()
    desk.limiter.observe(desk.limiter.mark(), desk.provider.read_probe(vendor.send(Call(method="GET", path="/"))))
    redis.delete(LOCK)
    steward.tick()
    assert (vendor.asked, desk.wants_probe.is_set(), redis.exists(LOCK)) == (1, False, 0)


def test_the_time_between_two_questions_begins_at_the_answer(
    redis: Redis, desk: Desk, vendor: Vendor, steward: Steward
) -> None:
    vendor.go_on.clear()
    desk.ask_provider()
    steward.tick()
    wait_for(lambda: vendor.asked)
    assert redis.pttl(LOCK) > 10_000, "as long as the question may take, and then some"
    vendor.go_on.set()
    wait_for(lambda: redis.pttl(LOCK) <= 5_000)


def test_a_provider_that_hangs_does_not_keep_the_node_from_renewing(
    redis: Redis, node: Node, desk: Desk, vendor: Vendor, steward: Steward
) -> None:
    vendor.go_on.clear()
    delivery = held(node, redis)
    desk.ask_provider()
    steward.tick()
    wait_for(lambda: vendor.asked)
    redis.zadd(UNACKED_INDEX, {delivery.tag: 1.0})
    steward._due.clear()
    steward.tick()
    assert redis.zscore(UNACKED_INDEX, delivery.tag) > 1.0


def test_renewing_covers_record_and_ownership(redis: Redis, node: Node, steward: Steward) -> None:
    delivery = held(node, redis)
    record = "{tidegate:results}:message:m1"
    redis.hset(record, "until", 1)
    steward.tick()
    assert redis.zscore(UNACKED_INDEX, delivery.tag) > 1.0
    assert int(redis.hget(record, "until")) > 1
    assert redis.exists("asinscope") == 0, "and the sweep leaves it alone"


def test_a_bad_key_parks_the_account_until_the_question_is_answered(
    redis: Redis, desk: Desk, vendor: Vendor, steward: Steward
) -> None:
    vendor.failure = errors.AccountError("bad key", consumed={})
    desk.ask_provider()
    steward.tick()
    wait_for(lambda: 9_000 < redis.pttl(LOCK) <= 10_000)
    assert (desk.parked, desk.limiter.peek().paused_kind) == (True, "account")
    vendor.failure = None
    redis.delete(LOCK)
    desk.ask_provider()
    steward.tick()
    wait_for(lambda: not desk.parked)
    wait_for(lambda: desk.limiter.peek().paused_kind is None)


@pytest.mark.parametrize("failure", [errors.NoAnswer("x"), errors.BadResponse("x"), KeyError("a fault of ours")])
def test_whatever_comes_of_a_question_the_next_one_is_asked(
    redis: Redis, desk: Desk, vendor: Vendor, steward: Steward, failure: Exception
) -> None:
    for number in (1, 2):
        vendor.failure = failure
        desk.ask_provider()
        redis.delete(LOCK)
        steward.tick()
        wait_for(lambda number=number: vendor.asked == number)
    assert desk.limiter.peek().observed_ago_s is None


def test_a_closed_gate_with_a_backlog_has_the_provider_asked(
    redis: Redis, node: Node, desk: Desk, steward: Steward, nudged: list[str]
) -> None:
    GATE.close("asinscope", "day: empty")
    steward.tick()
    assert not desk.wants_probe.is_set(), "nobody waits"
    redis.lpush("asinscope\x06\x166", b"x")
    steward._due.clear()
    steward.tick()
    assert desk.wants_probe.is_set()
    assert nudged.count("asinscope") == 2
    [key] = redis.keys("tidegate:node:asinscope:*")
    assert json.loads(redis.get(key)) == {"node": node.name, "closed": "day: empty", "held": 0}
    assert redis.pttl(key) <= 10_000


def test_it_survives_what_it_does_not_expect(
    node: Node, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    steward = Steward(node, lambda _: None, dict)
    tick, failures = steward.tick, [KeyError("x"), ValueError("y")]

    def faulty() -> None:
        if failures:
            raise failures.pop()
        tick()
        done.set()

    monkeypatch.setattr(steward, "tick", faulty)
    monkeypatch.setattr(stewards, "TICK_S", 0.01)
    steward.start()
    assert done.wait(10)
    steward.stop()
    assert not steward.is_alive()
    assert sum("goes on" in record.getMessage() for record in caplog.records) == 2


VIEW = LimitView(name="day", kind="quota", capacity=10, left=0, outstanding=0, reset_in_s=3_600.0)
WAITING = Snapshot(
    limits={"day": VIEW},
    observed_ago_s=10.0,
    paused_for_s=None,
    paused_kind=None,
    paused_because=None,
    half_open=False,
    waiting=0,
    in_flight=0,
    blocked_reason=Reason.EMPTY,
    blocked_by="day",
    next_in_s=3_600.0,
)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, False),
        ({"observed_ago_s": 54.0}, False),
        ({"observed_ago_s": 56.0}, True),
        ({"observed_ago_s": None}, True),
        ({"blocked_reason": Reason.UNOBSERVED}, True),
        ({"paused_kind": "account"}, True),
        ({"paused_kind": "operator", "observed_ago_s": None}, False),
        ({"observed_ago_s": 56.0, "limits": {"day": replace(VIEW, reset_in_s=5.0)}}, False),
        ({"blocked_reason": Reason.UNOBSERVED, "limits": {"day": replace(VIEW, reset_in_s=5.0)}}, False),
        ({"blocked_reason": Reason.UNOBSERVED, "limits": {"day": replace(VIEW, reset_in_s=0.0)}}, True),
        ({"blocked_reason": Reason.UNOBSERVED, "limits": {"day": replace(VIEW, reset_in_s=None)}}, True),
    ],
    ids=str,
)
def test_when_a_waiting_fleet_asks(changes: dict[str, Any], due: bool) -> None:
    assert stewards._asking_is_due(replace(WAITING, **changes)) is due


def test_a_node_with_work_asks_now_and_then_though_its_gate_is_open(redis: Redis, desk: Desk, steward: Steward) -> None:
    """A larger plan is told by no other answer."""
    redis.lpush("asinscope", b"x")
    steward.tick()
    assert not desk.wants_probe.is_set()
    steward._due = dict.fromkeys(steward._due, 0.0)
    steward.tick()
    assert desk.wants_probe.is_set()
