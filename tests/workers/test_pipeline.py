"""One run of one message against each thing that can happen: its outcome, its result, what it carries on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from providers import errors
from providers.asinscope import BUCKET, DAY, Lookup, LookupRequest
from providers.base import Call, Reply
from providers.registry import PROVIDERS
from ratelimit import Claim, Granted, Observation
from workers import pipeline
from workers.inbox import FINISHED, Carried
from workers.node import Delivery, Desk, Node
from workers.pipeline import Parked, Published, Requeued, backoff_s
from workers.transport import UNACKED

ITEM = {"asin": "B000000001"}
USAGE = {"dailyTokensLeft": 90, "bucketSize": 50, "msBeforeNextDailyToken": 60_000, "consumedTokens": 1}
RECORD = b"asinscope\0the message"


class Vendor:
    """Stands where the HTTP client stands: answers, or fails, as told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    def send(self, call: Call) -> Reply:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        status, body = answer
        return Reply(status=status, headers={}, body=json.dumps(body).encode())

    def close(self) -> None:
        return


@pytest.fixture
def desk(node: Node) -> Desk:
    desk = node.desks["asinscope"]
    desk.limiter.observe(
        desk.limiter.mark(),
        [
            Observation(limit=DAY, left=100, capacity=100, reset_in_s=60),
            Observation(limit=BUCKET, left=60, capacity=60, refill_per_s=1),
        ],
    )
    return desk


def delivered(node: Node, desk: Desk, vendor: Vendor, codes: int = 1) -> Delivery:
    """A message as admission hands it over: taken, held, granted."""
    desk.http.close()
    desk.http = vendor  # type: ignore[assignment]
    request = LookupRequest(asin=[f"B{number:09d}" for number in range(1, codes + 1)])
    delivery = Delivery(
        id="m",
        tag="tag",
        task="asinscope.lookup",
        owner=node.new_owner(),
        provider=PROVIDERS["asinscope"],
        account="main",
        operation=Lookup(),
        arguments=request.model_dump(),
        meta={"mine": 1},
        meta_problem=None,
        celery_request=None,
        request=request,
    )
    assert node.inbox.open(delivery.id, delivery.owner) == Carried()
    node.hold(delivery)
    node.broker.hset(UNACKED, "tag", RECORD)
    granted = desk.limiter.reserve(Claim(costs={DAY: codes, BUCKET: codes}), "m")
    assert isinstance(granted, Granted)
    delivery.granted = granted
    return delivery


def results(redis: Redis) -> list[dict[str, Any]]:
    return [json.loads(fields[b"result"]) for _, fields in redis.xrange("tidegate:results")]


def left(desk: Desk) -> dict[str, Any]:
    return {name: view.left for name, view in desk.limiter.peek().limits.items()}


@pytest.mark.parametrize(
    ("faults", "chance", "seconds"),
    [(1, 1.0, 1.0), (2, 1.0, 2.0), (3, 1.0, 4.0), (3, 0.5, 2.0), (6, 1.0, 30.0), (60, 1.0, 30.0), (4, 0.0, 0.0)],
)
def test_backoff(faults: int, chance: float, seconds: float) -> None:
    assert backoff_s(faults, chance) == seconds


def test_an_answer_is_published_and_settled(redis: Redis, node: Node, desk: Desk) -> None:
    delivery = delivered(node, desk, Vendor((200, {"items": [ITEM], **USAGE})))
    outcome = pipeline.run(node, desk, delivery)
    assert isinstance(outcome, Published)
    [result] = results(redis)
    assert (result["status"], result["attempts"], result["meta"], result["usage"]["consumed"]) == (
        "ok",
        1,
        {"mine": 1},
        1,
    )
    assert result["data"] == {"items": [ITEM], "missing": []}
    assert (node.held, desk.limiter.peek().in_flight, left(desk)[DAY]) == ({}, 0, 90)
    assert node.inbox.open("m", "again") == FINISHED


def test_the_second_run_publishes_nothing(redis: Redis, node: Node, desk: Desk) -> None:
    answer = (200, {"items": [ITEM], **USAGE})
    delivery = delivered(node, desk, Vendor(answer, answer))
    for _ in range(2):
        assert isinstance(pipeline.run(node, desk, delivery), Published)
    assert len(results(redis)) == 1


FAILED_AT_ONCE = [
    (errors.InvalidRequest("no", consumed={}), 0),
    (errors.NotFound("none", consumed={}), 0),
    (errors.BadResponse("what", http_status=200), 1),
    (errors.ResponseTooLarge("more", http_status=200), 1),
]


@pytest.mark.parametrize(("error", "spent"), FAILED_AT_ONCE, ids=str)
def test_failed_at_once(redis: Redis, node: Node, desk: Desk, error: errors.ProviderError, spent: int) -> None:
    outcome = pipeline.run(node, desk, delivered(node, desk, Vendor(error)))
    assert isinstance(outcome, Published)
    [result] = results(redis)
    assert (result["status"], result["error"]["kind"], result["attempts"]) == ("failed", error.kind, 1)
    assert left(desk)[DAY] == 100 - spent, "what nobody knows counts as spent"
    assert node.held == {}


TRANSIENT = [errors.NotSent("x", consumed={}), errors.NoAnswer("x"), errors.ServerFault("x"), errors.Challenge("x")]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_a_passing_fault_parks_the_message_with_what_it_carries(
    redis: Redis, node: Node, desk: Desk, error: errors.Transient
) -> None:
    outcome = pipeline.run(node, desk, delivered(node, desk, Vendor(error)))
    assert isinstance(outcome, Parked)
    assert 0 <= outcome.in_s <= 1
    assert redis.hget("{tidegate:deferred:asinscope}:messages", "m") == RECORD
    carried = node.inbox.open("m", "next")
    assert isinstance(carried, Carried)
    assert (carried.attempts, carried.faults, carried.deferrals) == (1, 1, 1)
    assert (results(redis), node.held) == ([], {})


def test_the_providers_advice_outranks_the_backoff(node: Node, desk: Desk) -> None:
    error = errors.ServerFault("busy", retry_in_s=17.0)
    assert pipeline.run(node, desk, delivered(node, desk, Vendor(error))) == Parked("busy", 17.0)


def test_the_fourth_fault_in_a_row_is_the_last(redis: Redis, node: Node, desk: Desk) -> None:
    delivery = delivered(node, desk, Vendor(errors.ServerFault("down", http_status=503)))
    delivery.carried = Carried(attempts=5, faults=3)
    assert isinstance(pipeline.run(node, desk, delivery), Published)
    [result] = results(redis)
    assert (result["error"]["kind"], result["attempts"], result["error"]["http_status"]) == ("unavailable", 6, 503)


@pytest.mark.parametrize("kind", [errors.Throttled, errors.QuotaExhausted])
def test_a_429_goes_back_without_an_attempt(
    redis: Redis, node: Node, desk: Desk, kind: type[errors.ProviderError]
) -> None:
    error = kind("429", http_status=429, consumed={}, observations=[Observation(limit=DAY, at_most=0)])
    assert isinstance(pipeline.run(node, desk, delivered(node, desk, Vendor(error))), Requeued)
    carried = node.inbox.open("m", "next")
    assert isinstance(carried, Carried)
    assert (carried.attempts, carried.faults, carried.deferrals) == (0, 0, 1)
    assert (left(desk)[DAY], results(redis), node.held) == (0, [], {})
    assert desk.wants_probe.is_set()


def test_a_429_that_names_a_time_holds_the_whole_fleet(node: Node, desk: Desk) -> None:
    error = errors.Throttled("429", consumed={}, retry_in_s=20.0)
    pipeline.run(node, desk, delivered(node, desk, Vendor(error)))
    snapshot = desk.limiter.peek()
    assert (snapshot.paused_kind, snapshot.blocked_by) == ("retry_after", "account")
    assert snapshot.paused_for_s == pytest.approx(20, abs=1)


def test_a_closed_account_parks_the_account_and_not_the_message(redis: Redis, node: Node, desk: Desk) -> None:
    error = errors.AccountError("bad key", http_status=401, consumed={})
    assert isinstance(pipeline.run(node, desk, delivered(node, desk, Vendor(error))), Requeued)
    snapshot = desk.limiter.peek()
    assert (snapshot.paused_kind, snapshot.paused_because) == ("account", "bad key")
    assert results(redis) == []
    assert left(desk)[DAY] == 100


def test_the_next_step_is_due_at_once(redis: Redis, node: Node, desk: Desk) -> None:
    """Ten codes of which the provider refuses some: each is asked for alone, and nothing found is forgotten."""
    delivery = delivered(node, desk, Vendor((400, {"error": "Malformed asin."})), codes=3)
    assert isinstance(pipeline.run(node, desk, delivery), Requeued)
    carried = node.inbox.open("m", "next")
    assert isinstance(carried, Carried)
    assert (carried.attempts, carried.deferrals, carried.progress["alone"]) == (1, 0, True)
    assert len(carried.progress["pending"]) == 3
    assert left(desk)[DAY] == 100


def test_a_fault_of_ours_has_a_result_too(
    redis: Redis, node: Node, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = pipeline.run(node, desk, delivered(node, desk, Vendor(KeyError("nonsense"))))
    assert isinstance(outcome, Published)
    [result] = results(redis)
    assert (result["status"], result["error"]["kind"], result["error"]["retryable"]) == ("failed", "internal", True)
    assert "KeyError" in result["error"]["message"]
    assert (node.held, desk.limiter.peek().in_flight) == ({}, 0)
    assert any(record.exc_info for record in caplog.records)


def test_an_error_that_nobody_mapped_is_a_fault_of_ours(redis: Redis, node: Node, desk: Desk) -> None:
    class Novel(errors.ProviderError):
        """A class that the table of outcomes does not know."""

    pipeline.run(node, desk, delivered(node, desk, Vendor(Novel("new"))))
    assert results(redis)[0]["error"]["kind"] == "internal"


def test_redis_away_in_the_middle_sends_the_message_back(
    redis: Redis, node: Node, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise RedisAway("gone")

    delivery = delivered(node, desk, Vendor(errors.AccountError("bad key", consumed={})))
    monkeypatch.setattr(desk.limiter, "pause", away)
    with pytest.raises(pipeline.Unpublished):
        pipeline.run(node, desk, delivery)
    assert results(redis) == []


def test_a_paid_answer_waits_for_redis(redis: Redis, node: Node, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = delivered(node, desk, Vendor((200, {"items": [ITEM], **USAGE})))
    publish, times = node.inbox.publish, []

    def flaky(document: Any) -> bool:
        times.append(1)
        if len(times) < 3:
            raise RedisAway("gone")
        return publish(document)

    monkeypatch.setattr(pipeline, "PUBLISH_RETRY_S", 0.01)
    monkeypatch.setattr(node.inbox, "publish", flaky)
    assert isinstance(pipeline.run(node, desk, delivery), Published)
    assert len(results(redis)) == 1


def test_a_node_that_stops_waits_for_redis_no_longer(node: Node, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> bool:
        raise RedisAway("gone")

    delivery = delivered(node, desk, Vendor((200, {"items": [ITEM], **USAGE})))
    monkeypatch.setattr(node.inbox, "publish", away)
    node.stopping.set()
    with pytest.raises(pipeline.Unpublished, match="not published"):
        pipeline.run(node, desk, delivery)


def test_a_lapsed_reservation_is_no_obstacle(redis: Redis, node: Node, desk: Desk) -> None:
    delivery = delivered(node, desk, Vendor((200, {"items": [ITEM], **USAGE})))
    redis.delete("{tidegate:asinscope:main}:leases")
    assert isinstance(pipeline.run(node, desk, delivery), Published)


def test_a_message_that_is_back_in_its_queue_already_is_not_parked_as_well(
    redis: Redis, node: Node, desk: Desk
) -> None:
    delivery = delivered(node, desk, Vendor(errors.ServerFault("down")))
    redis.hdel(UNACKED, "tag")
    assert isinstance(pipeline.run(node, desk, delivery), Parked)
    assert desk.deferred.count() == 0
