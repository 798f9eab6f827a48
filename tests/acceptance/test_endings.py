"""Nodes that stop, die or lose their Redis: every message keeps its place or gets its one result."""

from __future__ import annotations

import random
import signal
import time

import pytest
from fleet import AMPLE, QUEUE, QUICK, AsinscopePlan, MakeFleet, asins, until

from providers.sandbox.faults import Fault
from providers.sandbox.vendor import Latency

SLOW_TRICKLE = AsinscopePlan(bucket_capacity=6, tokens_per_minute=12, daily_tokens=1_000)
STEADY = AsinscopePlan(bucket_capacity=400, tokens_per_minute=6_000, daily_tokens=100_000)


def test_a_stop_gives_back_what_waits_and_ends_what_runs(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(SLOW_TRICKLE, latency=Latency(1.5), nodes=0)
    ids = fleet.send_many(20)
    [node] = fleet.add(1)
    until(lambda: len(fleet.asked()) == 1 and fleet.unacked() == 6, what="five run, the sixth waits for a token")
    late = fleet.send(kwargs={"asin": asins(1, 900)})
    assert node.terminate() == 0
    done = [result["task_id"] for result in fleet.results()]
    assert sorted(done) == sorted(ids[:5])
    assert {result["status"] for result in fleet.results()} == {"ok"}
    assert fleet.queued_ids() == [*ids[5:], late], "in order"
    assert fleet.left_over() == {QUEUE: 16}
    assert len(fleet.lookups()) == 5
    fleet.sandbox.set_plan(AMPLE)
    fleet.sandbox.set_latency(Latency())
    fleet.sandbox.set_left(bucket=100)
    fleet.redis.client.delete("{tidegate:asinscope:main}:limits")
    fleet.add(1)
    results = fleet.all_results([*ids, late])
    assert {result["attempts"] for result in results.values()} == {1}


@pytest.mark.parametrize("wait_s", [0.0, 0.2])
def test_a_message_that_comes_while_a_node_stops_stays_in_the_queue(make_fleet: MakeFleet, wait_s: float) -> None:
    fleet = make_fleet(latency=Latency(1.0))
    [node] = fleet.nodes
    running = fleet.send()
    until(fleet.lookups)
    node.process.terminate()
    time.sleep(wait_s)  # a fetch is under way, and ends at one of these moments
    late = fleet.send_many(3)
    assert node.process.wait(20) == 0
    done = [result["task_id"] for result in fleet.results()]
    assert done[:1] == [running]
    assert done[1:] + fleet.queued_ids() == late
    assert fleet.in_flight() + fleet.unacked() == 0


def test_nodes_that_are_killed_lose_nothing_and_answer_nothing_twice(make_fleet: MakeFleet) -> None:
    chance = random.Random(20261121)
    fleet = make_fleet(STEADY, latency=Latency(0.15, 0.1), timing=QUICK, nodes=2)
    ids = []
    for round_number in range(5):
        ids += fleet.send_many(120, first=1_000 * round_number)
        time.sleep(chance.uniform(0.2, 0.8))  # the moment of the kill is what is tried out
        victim = chance.choice([node for node in fleet.nodes if node.process.poll() is None])
        victim.kill()
        fleet.add(1)
    results = fleet.all_results(ids, 60)
    assert {result["status"] for result in results.values()} == {"ok"}
    again = len(fleet.lookups()) - len(ids)
    assert 0 <= again <= 5 * 8, "sent again: at most what the killed nodes had on their way"
    assert fleet.breaches() == 0


def test_redis_dies_and_comes_back(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(STEADY, latency=Latency(0.3, 0.2), timing=QUICK, nodes=2, appendonly=True)
    ids = fleet.send_many(150)
    until(lambda: len(fleet.entries()) > 20)
    fleet.redis.kill()
    time.sleep(1.5)  # answers arrive while nobody can take them down
    fleet.redis.start()
    ids += fleet.send_many(50, first=1_000)
    results = fleet.all_results(ids, 60)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert all(node.process.poll() is None for node in fleet.nodes), "no node had to be started anew"
    assert fleet.breaches() == 0


def test_broker_and_results_may_be_two_servers(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(STEADY, apart=True, timing=QUICK)
    ids = fleet.send_many(30)
    ids.append(fleet.send(countdown=1))
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert fleet.broker.client.exists("tidegate:results") == 0
    assert fleet.redis.client.exists(QUEUE, "tidegate:unacked") == 0
    fleet.redis.kill()
    late = fleet.send_many(5, first=100)
    until(lambda: "Redis is away" in fleet.nodes[0].text)
    until(lambda: fleet.lists().get(QUEUE) == 5 and fleet.unacked() == 0, what="back in the queue")
    fleet.redis.start()
    until(lambda: len(fleet.entries()) == 5, 40)
    assert {entry["task_id"].decode() for entry in fleet.entries()} == set(late)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_day(make_fleet: MakeFleet, seed: int) -> None:
    """Nodes killed, stopped and frozen for longer than a message is held, the provider stumbling, tokens scarce."""
    chance = random.Random(seed)
    plan = AsinscopePlan(bucket_capacity=60, tokens_per_minute=2_400, daily_tokens=100_000)
    fleet = make_fleet(plan, latency=Latency(0.15, 0.1), timing=QUICK, nodes=3, appendonly=True)
    fleet.sandbox.faults.replace(
        [
            Fault(kind="status", status=503, times=None, probability=0.02, seed=seed),
            Fault(kind="reset", when="after", times=None, probability=0.02, seed=seed),
        ]
    )
    ids: list[str] = []
    for round_number in range(12):
        ids += fleet.send_many(60, first=1_000 * round_number, priority=chance.randrange(10))
        ids.append(fleet.send(countdown=chance.uniform(0, 3)))
        time.sleep(chance.uniform(0.5, 1.5))  # the moment is what is tried out
        victim = chance.choice([node for node in fleet.nodes if node.process.poll() is None])
        how = chance.choice(["kill", "stop", "freeze", "redis"])
        if how == "kill":
            victim.kill()
            fleet.add(1)
        elif how == "stop":
            assert victim.terminate() == 0
            fleet.add(1)
        elif how == "freeze":
            victim.process.send_signal(signal.SIGSTOP)
            time.sleep(6)  # longer than visibility_s: others take over what it holds
            victim.process.send_signal(signal.SIGCONT)
        else:
            fleet.redis.kill()
            time.sleep(chance.uniform(0.1, 2.0))
            fleet.redis.start()
    results = fleet.all_results(ids, 150)
    assert {result["status"] for result in results.values()} == {"ok"}


def test_a_quick_stop_gives_back_what_runs_and_answers_it_once(make_fleet: MakeFleet) -> None:
    """SIGTERM, then SIGQUIT: Celery gives running messages back and lets their threads end all the same."""
    fleet = make_fleet(STEADY, latency=Latency(1.5), timing=QUICK)
    ids = fleet.send_many(12)
    until(lambda: len(fleet.lookups()) == 8)
    [node] = fleet.nodes
    node.process.terminate()
    until(lambda: "Warm shutdown" in node.text)
    node.process.send_signal(signal.SIGQUIT)
    fleet.expected_statuses = {node.process.wait(20)}  # Celery's thread pool knows no quick stop, and fails in it
    fleet.add(1)
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
