"""What a producer may send, and what comes back: promises on single messages, on a fleet with tokens in plenty."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from fleet import FREE, AsinscopePlan, Fleet, MakeFleet, asins, until

REFUSED = [
    ({"asin": []}, ["asin", "at least 1"]),
    ({"asin": asins(11)}, ["asin", "at most 10"]),
    ({"asin": ["B000000001"], "ean": ["4006381333931"]}, ["exactly one of asin, upc, ean", "asin and ean"]),
    ({}, ["exactly one of asin, upc, ean", "none"]),
    ({"asin": ["B000000001"], "domain": "xx"}, ["domain", "'com'", "'xx'"]),
    ({"asin": "B000000001"}, ["asin", "valid list"]),
    ({"asin": [1000000001]}, ["asin.0", "valid string", "1000000001"]),
    ({"ean": [4006381333931]}, ["ean.0", "valid string"]),
    ({"asin": ["b000000001"]}, ["asin.0", "pattern", "b000000001"]),
    ({"upc": ["1234567"]}, ["upc.0", "pattern", "1234567"]),
    ({"asin": ["B000000001"], "marketplace": "de"}, ["marketplace", "not permitted"]),
    ({"asin": None}, ["exactly one of asin, upc, ean", "none"]),
    ({"asin": ["\ud800"]}, ["asin.0"]),
]


@pytest.mark.parametrize(("kwargs", "said"), REFUSED)
def test_a_request_that_cannot_be_right_costs_nothing(fleet: Fleet, kwargs: dict[str, object], said: list[str]) -> None:
    requests, spent = len(fleet.lookups()), fleet.sandbox.ledger.consumed()
    result = fleet.result_of(fleet.send(kwargs=kwargs))
    assert (result["status"], result["error"]["kind"], result["data"]) == ("failed", "invalid_request", None)
    for text in said:
        assert text in result["error"]["message"]
    assert result["usage"] == {"unit": "token", "consumed": 0}
    assert (result["attempts"], result["error"]["retryable"]) == (0, False)
    assert (len(fleet.lookups()), fleet.sandbox.ledger.consumed()) == (requests, spent)


def test_positional_arguments_are_refused(fleet: Fleet) -> None:
    requests = len(fleet.lookups())
    result = fleet.result_of(fleet.send(args=[["B000000001"]], kwargs={}))
    assert (result["status"], result["error"]["kind"]) == ("failed", "invalid_request")
    assert "keyword arguments only" in result["error"]["message"]
    assert len(fleet.lookups()) == requests


def test_codes_without_a_product_come_back_as_missing(fleet: Fleet) -> None:
    result = fleet.result_of(fleet.send(kwargs={"asin": ["B000000001", "B0MISS0001", "B000000002"]}))
    assert result["status"] == "ok"
    assert [item["asin"] for item in result["data"]["items"]] == ["B000000001", "B000000002"]
    assert result["data"]["missing"] == ["B0MISS0001"]
    assert result["usage"] == {"unit": "token", "consumed": 3}


def test_all_codes_missing_is_no_failure(fleet: Fleet) -> None:
    result = fleet.result_of(fleet.send(kwargs={"asin": ["B0MISS0001"]}))
    assert (result["status"], result["data"]) == ("ok", {"items": [], "missing": ["B0MISS0001"]})


def test_leading_zeros_stay(fleet: Fleet) -> None:
    codes = ["012345678905", "000000000017"]
    result = fleet.result_of(fleet.send(kwargs={"upc": codes}))
    assert result["request"]["upc"] == codes
    assert result["data"]["missing"] == ["000000000017"]
    assert result["data"]["items"][0]["upc"] == "012345678905"
    assert fleet.lookups()[-1].asked == ("012345678905", "000000000017")


def test_an_entry_holds_the_documented_fields(fleet: Fleet) -> None:
    task_id = fleet.send(kwargs={"asin": ["B000000001"], "domain": "de"})
    fleet.result_of(task_id)
    [entry] = [entry for entry in fleet.entries() if entry["task_id"].decode() == task_id]
    document = json.loads(entry.pop("result"))
    assert {name: value.decode() for name, value in entry.items()} == {
        "task_id": task_id,
        "task": "asinscope.lookup",
        "provider": "asinscope",
        "account": "main",
        "status": "ok",
    }
    assert document["request"] == {"asin": ["B000000001"], "domain": "de"}
    assert (document["v"], document["attempts"], document["deferrals"], document["meta"]) == (1, 1, 0, {})
    assert document["started_at"] <= document["finished_at"]


def test_every_result_so_far_fits_the_schema(fleet: Fleet) -> None:
    schema = json.loads((Path(__file__).parents[2] / "workers/result.schema.json").read_text())
    fleet.result_of(fleet.send(kwargs={"asin": asins(2)}))
    fleet.result_of(fleet.send(kwargs={"asin": []}))
    fleet.result_of(fleet.send(expires=datetime.now(UTC) - timedelta(minutes=1)))
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for result in fleet.results():
        validator.validate(result)


def test_the_same_id_is_the_same_message(fleet: Fleet) -> None:
    first = len(fleet.lookups())
    task_id = "chosen-by-the-caller"
    for _ in range(3):
        fleet.send(task_id=task_id, kwargs={"asin": ["B000000007"]})
    last = fleet.send()
    fleet.result_of(last)
    until(lambda: fleet.left_over() == {}, 20)
    assert [result["task_id"] for result in fleet.results()].count(task_id) == 1
    fleet.send(task_id=task_id)
    fleet.result_of(fleet.send())
    until(lambda: fleet.left_over() == {})
    assert [result["task_id"] for result in fleet.results()].count(task_id) == 1
    assert sum(entry.asked == ("B000000007",) for entry in fleet.lookups()[first:]) == 1


def test_an_expired_message_has_a_result_and_costs_nothing(fleet: Fleet) -> None:
    requests = len(fleet.lookups())
    result = fleet.result_of(fleet.send(expires=datetime.now(UTC) - timedelta(seconds=1)))
    assert (result["status"], result["data"], result["error"]) == ("expired", None, None)
    assert len(fleet.lookups()) == requests


def test_a_countdown_holds_a_message_back(fleet: Fleet) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    task_id = fleet.send(countdown=2)
    until(lambda: fleet.parked() == 1)
    assert fleet.unacked() == 0
    result = fleet.result_of(task_id)
    assert datetime.fromisoformat(result["started_at"]) >= soon.replace(microsecond=0)
    assert (result["status"], result["deferrals"]) == ("ok", 1)
    assert fleet.left_over() == {}


def test_a_parked_copy_does_not_come_back_once_its_id_has_a_result(fleet: Fleet) -> None:
    """However long it would have waited: longer, perhaps, than finished ids are remembered."""
    task_id = fleet.send(task_id=(parked := "parked-then-sent-again"), eta=datetime.now(UTC) + timedelta(days=30))
    until(lambda: fleet.parked() == 1)
    assert fleet.send(task_id=parked) == task_id
    assert fleet.result_of(task_id)["status"] == "ok"
    until(lambda: fleet.left_over() == {})


def test_an_eta_of_a_month_is_parked_and_held_by_nobody(fleet: Fleet) -> None:
    task_id = fleet.send(eta=datetime.now(UTC) + timedelta(days=30))
    until(lambda: fleet.parked() == 1)
    until(lambda: fleet.left_over() == {"parked": 1})
    [due_ms] = [
        due for _, due in fleet.redis.client.zrange("{tidegate:deferred:asinscope}:due", 0, -1, withscores=True)
    ]
    assert abs(due_ms / 1000 - (datetime.now(UTC) + timedelta(days=30)).timestamp()) < 60
    fleet.redis.client.zadd("{tidegate:deferred:asinscope}:due", {task_id: 0})  # brought back early: parked again
    until(
        lambda: fleet.redis.client.zscore("{tidegate:deferred:asinscope}:due", task_id) == pytest.approx(due_ms, abs=5)
    )
    assert task_id not in {result["task_id"] for result in fleet.results()}
    fleet.redis.client.delete("{tidegate:deferred:asinscope}:due", "{tidegate:deferred:asinscope}:messages")


def test_a_revoked_message_is_cancelled(make_fleet: MakeFleet) -> None:
    """Revoked while it is queued, while it waits for a token, and while it is parked."""
    plan = AsinscopePlan(bucket_capacity=2, tokens_per_minute=60, daily_tokens=1_000)
    fleet = make_fleet(plan)
    fleet.sandbox.set_left(bucket=0)
    ids = fleet.send_many(4)
    until(lambda: fleet.unacked() == 1, what="the first waits for a token")
    parked = fleet.send(countdown=3)
    for task_id in (ids[0], ids[2], parked):
        fleet.producer.control.revoke(task_id)
    results = fleet.all_results([*ids, parked])
    states = [results[task_id]["status"] for task_id in [*ids, parked]]
    assert states == ["cancelled", "ok", "cancelled", "ok", "cancelled"]
    assert len(fleet.lookups()) == 2


def test_expiry_outranks_a_later_eta(fleet: Fleet) -> None:
    now = datetime.now(UTC)
    result = fleet.result_of(fleet.send(eta=now + timedelta(days=1), expires=now + timedelta(seconds=1.5)))
    assert result["status"] == "expired"


def test_meta_comes_back_untouched(fleet: Fleet) -> None:
    meta = {"order": 17, "tags": ["a", "ü"], "deep": {"null": None}}
    assert fleet.result_of(fleet.send(headers={"tidegate_meta": meta}))["meta"] == meta


@pytest.mark.parametrize(("meta", "said"), [("text", "JSON object"), ([1], "JSON object"), ({"a": "x" * 4096}, "4096")])
def test_other_meta_is_refused(fleet: Fleet, meta: object, said: str) -> None:
    result = fleet.result_of(fleet.send(headers={"tidegate_meta": meta}))
    assert (result["status"], result["error"]["kind"], result["meta"]) == ("failed", "invalid_request", {})
    assert said in result["error"]["message"]


def test_a_metered_operation_on_the_free_queue_is_served(fleet: Fleet) -> None:
    assert fleet.result_of(fleet.send(queue=FREE))["status"] == "ok"
    until(lambda: fleet.left_over() == {})
