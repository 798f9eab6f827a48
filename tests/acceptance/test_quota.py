"""Tokens that run out: nothing fails, nothing is fetched, nothing is asked for in vain, and all goes on by itself."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from fleet import FREE, QUEUE, TOKENS, AsinscopePlan, Fleet, MakeFleet, asins, throughout, until

from providers.sandbox.faults import Fault

TENTH = AsinscopePlan(bucket_capacity=20, tokens_per_minute=600, daily_tokens=100_000)
"""Ten tokens a second."""


def assert_only_a_handful_is_held(fleet: Fleet, messages: int, per_node: int = 8) -> None:
    """Until all have their results, no node holds more than a message per slot."""
    while len(fleet.entries()) < messages:
        assert fleet.unacked() + fleet.in_flight() <= per_node * len(fleet.nodes)
        time.sleep(0.01)


def reset_at_s(fleet: Fleet) -> float:
    """When the vendor's day ends, by the clock of its ledger."""
    return time.monotonic() + fleet.sandbox.left()["ms_to_reset"] / 1000


def test_an_empty_bucket_leaves_messages_in_the_queue_in_order(make_fleet: MakeFleet) -> None:
    """With room for two tokens no two messages are ever sent at once, so their order is seen in the results."""
    plan = AsinscopePlan(bucket_capacity=2, tokens_per_minute=600, daily_tokens=100_000)
    fleet = make_fleet(plan, nodes=0)
    ids = fleet.send_many(40)
    fleet.add(1)
    assert_only_a_handful_is_held(fleet, 40)
    results = fleet.all_results(ids)
    assert [result["task_id"] for result in fleet.results()] == ids
    assert {result["status"] for result in results.values()} == {"ok"}
    assert (fleet.breaches(), fleet.sandbox.ledger.consumed()) == (0, 40)


def test_a_fleet_shares_what_trickles_in(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(TENTH, nodes=0)
    fleet.sandbox.set_left(bucket=0)
    ids = fleet.send_many(40)
    fleet.add(3)
    assert_only_a_handful_is_held(fleet, 40)
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert (fleet.breaches(), fleet.sandbox.ledger.consumed()) == (0, 40)


def test_ten_codes_are_not_overtaken_by_single_ones(make_fleet: MakeFleet) -> None:
    """They need more than ``hold_s``: back at the head of the queue they keep their place, and nobody churns."""
    plan = AsinscopePlan(bucket_capacity=12, tokens_per_minute=240, daily_tokens=1_000)
    fleet = make_fleet(plan, nodes=0, timing="hold_s=1")
    fleet.sandbox.set_left(bucket=0)
    ten = fleet.send(kwargs={"asin": asins(10)})
    singles = fleet.send_many(6, first=100)
    fleet.add(2)
    results = fleet.all_results([ten, *singles])
    overtakers = [result["task_id"] for result in fleet.results()].index(ten)
    assert overtakers < len(singles), "who looks first when all nodes look again is a race; but it is not starved"
    assert results[ten]["deferrals"] <= 4, "once or twice per node, not once a second"
    assert fleet.breaches() == 0


@pytest.mark.parametrize("queue", [QUEUE, FREE])
def test_every_priority_is_consumed_lower_first(make_fleet: MakeFleet, queue: str) -> None:
    fleet = make_fleet(TENTH, nodes=0)
    fleet.sandbox.set_left(bucket=0)
    order = [9, 4, 7, 0, 2, 5, 8, 1, 3, 6]
    ids = {priority: fleet.send(queue=queue, priority=priority) for priority in order}
    fleet.add(1, concurrency=1)
    fleet.all_results(list(ids.values()))
    steps = {0: 0, 1: 0, 2: 0, 3: 3, 4: 3, 5: 3, 6: 6, 7: 6, 8: 6, 9: 9}  # kombu's four lists
    by_step = sorted(order, key=lambda priority: (steps[priority], order.index(priority)))
    assert [result["task_id"] for result in fleet.results()] == [ids[priority] for priority in by_step]


def test_an_empty_day_closes_the_gate_and_opens_by_itself(make_fleet: MakeFleet) -> None:
    day = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=30, day_s=11.0)
    fleet = make_fleet(day, nodes=0, timing="hold_s=1")
    ids = fleet.send_many(60)
    fleet.add(3)
    until(lambda: len(fleet.entries()) == 30, 10, "the day's 30 are done")
    until(lambda: fleet.unacked() + fleet.in_flight() == 0, 5, "the rest is in the queue")
    until(lambda: fleet.closed() == ["day: empty"] * 3, 5, "each node says why it waits")
    reset_s = reset_at_s(fleet)
    done = {result["task_id"] for result in fleet.results()}
    waiting = [task_id for task_id in ids if task_id not in done]
    assert sorted(fleet.queued_ids()) == sorted(waiting)
    assert fleet.queued_ids()[3 * 8 :] == waiting[3 * 8 :], "in order, but for what the nodes had taken between them"

    def waits() -> bool:
        return (fleet.unacked(), fleet.in_flight(), len(fleet.lookups())) == (0, 0, 30)

    throughout(reset_s - time.monotonic() - 0.3, waits, "nothing is fetched or sent before the reset")
    results = fleet.all_results(ids)
    assert 0 <= fleet.lookups()[30].at_s - reset_s < 1
    assert {result["status"] for result in results.values()} == {"ok"}
    assert (fleet.breaches(), fleet.sandbox.ledger.consumed()) == (0, 60)
    assert len(fleet.asked()) == 2, "before the first lookup, and after the reset"


def test_a_new_subscription_opens_the_gate_before_the_reset(make_fleet: MakeFleet) -> None:
    """A top-up is seen when the fleet asks again, at the latest after a minute: here one node's turn is hastened."""
    day = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=5)
    fleet = make_fleet(day)
    ids = fleet.send_many(10)
    until(lambda: fleet.closed() == ["day: empty"])
    fleet.sandbox.set_plan(AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=100))
    fleet.redis.client.hincrby("{tidegate:asinscope:main}:limits", "seen", -56_000_000)
    assert {result["status"] for result in fleet.all_results(ids).values()} == {"ok"}
    assert fleet.breaches() == 0


def test_a_long_backlog_does_not_change_a_nodes_memory(make_fleet: MakeFleet) -> None:
    day = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=5)
    fleet = make_fleet(day)
    fleet.send_many(10)
    until(lambda: fleet.closed() == ["day: empty"])
    [node] = fleet.nodes
    before_kb = node.rss_kb
    template = fleet.broker.client.lindex(QUEUE, 0)
    tag = json.loads(template)["properties"]["delivery_tag"].encode()
    for start in range(0, 100_000, 10_000):
        copies = [template.replace(tag, f"copy-{number}".encode()) for number in range(start, start + 10_000)]
        fleet.broker.client.lpush(QUEUE, *copies)
    assert fleet.lists()[QUEUE] >= 100_000

    def waits() -> bool:
        return (fleet.unacked(), fleet.in_flight()) == (0, 0)

    throughout(3, waits, "nothing is fetched")
    assert node.rss_kb - before_kb < 4_096
    assert len(fleet.lookups()) == 5


def test_the_provider_is_asked_before_the_first_lookup_and_not_while_idle(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(nodes=3)
    throughout(1.5, lambda: not fleet.asked(), "an idle fleet leaves the provider alone")
    ids = fleet.send_many(60)
    fleet.all_results(ids)
    paths = [entry.path for entry in fleet.sandbox.ledger.entries()]
    assert (paths[0], paths.count(TOKENS)) == (TOKENS, 1)
    assert fleet.breaches() == 0


def test_while_the_provider_does_not_say_what_is_left_nothing_is_sent(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(TENTH, nodes=0, timing="hold_s=2")
    fleet.sandbox.faults.replace([Fault(kind="status", status=500, on=TOKENS, times=None)])
    ids = fleet.send_many(30)
    fleet.add(3)
    until(lambda: len(fleet.asked()) == 2, 15)
    assert (fleet.lookups(), fleet.entries()) == ([], [])
    until(lambda: fleet.lists() == {QUEUE: 30} and fleet.unacked() == 0, 5, "all are back in the queue")
    fleet.sandbox.faults.replace([])
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
    times = [entry.at_s for entry in fleet.asked()]
    assert all(later - earlier >= 5 for earlier, later in pairwise(times))
    assert fleet.breaches() == 0


@pytest.mark.slow
def test_the_provider_is_asked_every_minute_while_messages_wait(make_fleet: MakeFleet) -> None:
    day = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=5)
    fleet = make_fleet(day, nodes=3)
    fleet.send_many(10)
    until(lambda: len(fleet.entries()) == 5)
    until(lambda: len(fleet.asked()) == 3, 140, "asked twice more")
    first, second, third = (entry.at_s for entry in fleet.asked())
    assert 50 <= second - first <= 62
    assert 50 <= third - second <= 62
    assert len(fleet.lookups()) == 5


def test_another_program_spends_from_the_same_key(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(AsinscopePlan(bucket_capacity=30, tokens_per_minute=600, daily_tokens=1_000), nodes=2)
    ids = fleet.send_many(60)
    until(lambda: len(fleet.entries()) >= 5)
    taken = 0
    for _ in range(4):
        taken += fleet.sandbox.spend(8)
        done = len(fleet.entries())
        until(lambda done=done: len(fleet.entries()) >= min(60, done + 8))
    results = fleet.all_results(ids)
    assert taken > 0
    assert {result["status"] for result in results.values()} == {"ok"}
    assert fleet.sandbox.ledger.consumed() == 60
    assert fleet.breaches() <= 8, "noticed at the next response, not found out by being refused again and again"


def test_another_program_uses_up_the_day(make_fleet: MakeFleet) -> None:
    plan = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=60, day_s=5.0)
    fleet = make_fleet(plan, nodes=2)
    ids = fleet.send_many(20)
    until(lambda: len(fleet.entries()) == 20)
    fleet.sandbox.spend(1_000)
    ids += fleet.send_many(20, first=100)
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert fleet.breaches() <= 16, "at most what both nodes had sent before the first refusal came back"
    assert fleet.sandbox.ledger.consumed() == 40


@pytest.mark.parametrize("queue", [QUEUE, FREE])
def test_metered_messages_in_the_free_queue_wait_in_the_other_one(make_fleet: MakeFleet, queue: str) -> None:
    plan = AsinscopePlan(bucket_capacity=100, tokens_per_minute=6_000, daily_tokens=1, day_s=4.0)
    fleet = make_fleet(plan, timing="hold_s=1")
    fleet.sandbox.set_left(day=0)
    first = fleet.send(queue=queue)
    until(lambda: fleet.closed() == ["day: empty"])
    last = fleet.send(queue=queue, priority=9, kwargs={"asin": []})
    if queue == FREE:
        assert fleet.result_of(last)["status"] == "failed", "what needs no token is not kept waiting"
    commands = fleet.redis.client.info("stats")["total_commands_processed"]
    throughout(1, lambda: sum(fleet.lists().values()) >= 1 and fleet.unacked() == 0, "it waits in the queue")
    assert fleet.redis.client.info("stats")["total_commands_processed"] - commands < 2_000, "and nobody spins"
    fleet.all_results([first, last])
