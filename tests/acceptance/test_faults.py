"""What goes wrong at the provider, row by row: bounded attempts, one result, the right price."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet import KEY, LOOKUP, QUEUE, TOKENS, Fleet, MakeFleet, throughout, until

from providers.sandbox.asinscope import AsinscopePlan
from providers.sandbox.faults import Fault
from providers.sandbox.vendor import KeyState

ONE = {"asin": ["B000000001"]}
DAY_TEXT = "The daily requests limit has been reached."
PLENTY = AsinscopePlan(bucket_capacity=100, tokens_per_minute=6_000, daily_tokens=10_000)
BUCKET_TEXT = "Not enough tokens in the bucket. Restore rate: 600000 / min"


class Tally:
    """Requests and tokens since it was made."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._requests, self._tokens = len(fleet.lookups()), fleet.sandbox.ledger.consumed()

    @property
    def requests(self) -> int:
        return len(self._fleet.lookups()) - self._requests

    @property
    def tokens(self) -> int:
        return self._fleet.sandbox.ledger.consumed() - self._tokens


def outcome(fleet: Fleet, kwargs: dict[str, Any] = ONE, within_s: float = 25.0) -> dict[str, Any]:
    """The result of one message, when nothing is left of it."""
    result = fleet.result_of(fleet.send(kwargs=kwargs), within_s)
    until(lambda: fleet.left_over() == {})
    return result


@pytest.mark.parametrize("text", [DAY_TEXT, BUCKET_TEXT])
def test_a_429_costs_no_attempt(fleet: Fleet, text: str) -> None:
    tally = Tally(fleet)
    fleet.sandbox.faults.replace([Fault(kind="status", status=429, body={"error": text}, times=2)])
    result = outcome(fleet)
    assert (result["status"], result["attempts"], result["deferrals"] >= 2) == ("ok", 1, True)
    assert (tally.requests, tally.tokens, result["usage"]["consumed"]) == (3, 1, 1)


@pytest.mark.parametrize("body", [{"error": "Too many requests"}])
def test_a_429_of_unknown_meaning_is_not_answered_by_a_storm(fleet: Fleet, body: Any) -> None:
    tally = Tally(fleet)
    fleet.sandbox.faults.replace([Fault(kind="status", status=429, body=body, times=None)])
    task_id = fleet.send(kwargs=ONE)
    until(lambda: tally.requests >= 1)
    throughout(2, lambda: tally.requests <= 2, "it is not tried again at once and without end")
    fleet.sandbox.faults.replace([])
    result = fleet.result_of(task_id, 40)
    assert (result["status"], result["attempts"], tally.tokens) == ("ok", 1, 1)
    until(lambda: fleet.left_over() == {})


@pytest.mark.parametrize(
    ("fault", "tokens"),
    [
        (Fault(kind="status", status=500), 1),
        (Fault(kind="status", status=503, when="after"), 2),
        (Fault(kind="status", status=418), 1),
        (Fault(kind="reset"), 1),
        (Fault(kind="reset", when="after"), 2),
        (Fault(kind="close"), 1),
        (Fault(kind="truncated", when="after"), 2),
        (Fault(kind="html", status=200), 1),
        (Fault(kind="html", status=503), 1),
    ],
    ids=lambda value: f"{value.kind}-{value.when}-{value.status}" if isinstance(value, Fault) else str(value),
)
def test_a_passing_fault_costs_one_attempt(fleet: Fleet, fault: Fault, tokens: int) -> None:
    tally = Tally(fleet)
    fleet.sandbox.faults.replace([fault])
    result = outcome(fleet)
    assert (result["status"], result["attempts"], result["deferrals"]) == ("ok", 2, 1)
    assert (tally.requests, tally.tokens) == (2, tokens)


@pytest.mark.parametrize("fault", [Fault(kind="status", status=500, times=None), Fault(kind="reset", times=None)])
def test_a_lasting_fault_is_given_up_after_four_attempts(fleet: Fleet, fault: Fault) -> None:
    tally = Tally(fleet)
    fleet.sandbox.faults.replace([fault])
    result = outcome(fleet)
    assert (result["status"], result["attempts"], result["data"]) == ("failed", 4, None)
    assert (result["error"]["kind"], result["error"]["retryable"]) == ("unavailable", True)
    assert result["error"]["http_status"] == (500 if fault.kind == "status" else None)
    assert (tally.requests, tally.tokens) == (4, 0)
    fleet.sandbox.faults.replace([])
    assert outcome(fleet)["status"] == "ok", "and the next one is served"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="broken_json", when="after"), "bad_response"),
        (Fault(kind="nested", when="after"), "bad_response"),
        (Fault(kind="status", status=200, body=[]), "bad_response"),
        (Fault(kind="status", status=200, body={"items": "none"}), "bad_response"),
        (Fault(kind="huge", when="after", size_bytes=9_000_000), "response_too_large"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else value,
)
def test_an_answer_that_makes_no_sense_is_not_paid_for_again(fleet: Fleet, fault: Fault, kind: str) -> None:
    tally = Tally(fleet)
    fleet.sandbox.faults.replace([fault])
    result = outcome(fleet)
    assert (result["status"], result["error"]["kind"], result["attempts"]) == ("failed", kind, 1)
    assert tally.requests == 1


def test_half_a_character_in_a_title_does_not_lose_a_paid_answer(fleet: Fleet) -> None:
    usage = {"dailyTokensLeft": 9_000, "bucketSize": 9_000, "msBeforeNextDailyToken": 80_000_000, "consumedTokens": 1}
    body = json.dumps({"items": [{"asin": "B000000001", "title": "cut \ud83d"}], **usage})
    fleet.sandbox.faults.replace([Fault(kind="status", status=200, body=body)])
    result = outcome(fleet)
    assert (result["status"], result["data"]["items"][0]["title"]) == ("ok", "cut \ufffd")


def test_a_code_the_provider_refuses_does_not_spoil_the_others(fleet: Fleet) -> None:
    fleet.sandbox.faults.replace(
        [
            Fault(kind="status", status=400, body={"error": "Malformed asin."}, skip=0, times=1),
            Fault(kind="status", status=400, body={"error": "Malformed asin."}, skip=1, times=1),
        ]
    )
    result = outcome(fleet, {"asin": ["B000000001", "B000000002", "B000000003"]})
    assert (result["status"], result["attempts"]) == ("ok", 4)
    assert (len(result["data"]["items"]), len(result["data"]["refused"])) == (2, 1)


def test_a_code_refused_alone_is_an_invalid_request(fleet: Fleet) -> None:
    fleet.sandbox.faults.replace([Fault(kind="status", status=400, body={"error": "Malformed asin."})])
    result = outcome(fleet)
    assert (result["status"], result["error"]["kind"]) == ("failed", "invalid_request")
    assert "Malformed asin." in result["error"]["message"]


def paused(fleet: Fleet) -> str | None:
    """What kind of pause the limiter keeps for the account."""
    kind = fleet.redis.client.hget("{tidegate:asinscope:main}:limits", "paused_kind")
    return None if kind is None else kind.decode()


@pytest.mark.parametrize("state", [KeyState.REVOKED, KeyState.NO_SUBSCRIPTION])
def test_a_closed_account_keeps_its_messages_and_goes_on_by_itself(make_fleet: MakeFleet, state: KeyState) -> None:
    fleet = make_fleet(PLENTY, nodes=2, timing="probe_min_s=1,parked_ask_s=1")
    first = fleet.send_many(5)
    fleet.all_results(first)
    fleet.sandbox.set_key(KEY, state)
    ids = fleet.send_many(30, first=100)
    until(lambda: paused(fleet) == "account")
    until(lambda: fleet.closed() == ["account: paused"] * 2, what="each node says why it waits")
    until(lambda: fleet.lists() == {QUEUE: 30} and fleet.unacked() == 0, what="all messages stay queued")
    refused = len(fleet.lookups())
    assert refused <= 5 + 16, "no more than were on their way"
    until(lambda: len(fleet.asked()) >= 4, 8, "the key is tried again")
    assert (len(fleet.entries()), len(fleet.lookups())) == (5, refused)
    fleet.sandbox.set_key(KEY, KeyState.ACTIVE)
    results = fleet.all_results(ids)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert {result["attempts"] for result in results.values()} == {1}
    assert fleet.sandbox.ledger.consumed() == 35
    assert any("parked" in node.text for node in fleet.nodes)
    assert any("works again" in node.text for node in fleet.nodes)


def test_a_key_missing_from_the_first_question_on_parks_the_account(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(nodes=0, timing="probe_min_s=1,parked_ask_s=1")
    body = {"error": "Missing API key."}
    fleet.sandbox.faults.replace([Fault(kind="status", status=400, body=body, on=TOKENS, times=2)])
    ids = fleet.send_many(5)
    fleet.add(1)
    until(lambda: paused(fleet) == "account")
    until(lambda: fleet.lists() == {QUEUE: 5} and fleet.unacked() == 0)
    assert (fleet.lookups(), fleet.entries(), fleet.queued_ids()) == ([], [], ids)
    fleet.all_results(ids)
    assert "ASINSCOPE_API_KEY" in fleet.nodes[0].text, "the operator is told what to do"


def test_many_faults_in_a_row_slow_the_fleet_down_and_lose_nothing(make_fleet: MakeFleet) -> None:
    """The breaker: while the provider is down the gate half-opens now and then, and waiting costs no attempt."""
    fleet = make_fleet(PLENTY)
    fleet.sandbox.faults.replace([Fault(kind="status", status=502, on=LOOKUP, times=7)])
    ids = fleet.send_many(20)
    results = fleet.all_results(ids, 60)
    assert {result["status"] for result in results.values()} == {"ok"}
    assert len(fleet.lookups()) == 27
