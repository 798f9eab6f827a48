"""Each kind of message that no task can be made of, by its reason; and what gets through, decoded as Celery does."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from kombu.utils.json import dumps
from malformed import UNUSABLE, encoded, envelope

from workers.vetting import MAX_DEPTH, MAX_ID_CHARACTERS, Unusable, vet

TASKS = frozenset({"asinscope.lookup"})


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable(name: str) -> None:
    make, said = UNUSABLE[name]
    with pytest.raises(Unusable) as caught:
        vet(make(envelope(1)), TASKS)
    assert said in str(caught.value)


def vetted(message: dict[str, Any]) -> dict[str, Any]:
    return vet(json.dumps(message).encode(), TASKS)


def test_celery_is_handed_the_headers_that_mean_something_and_no_others() -> None:
    message = envelope(1, "an-id")
    meant = {"argsrepr": "()", "kwargsrepr": "{}", "origin": "me", "root_id": "r", "parent_id": "p"}
    message["headers"].update(meant, tidegate_meta=[1], timelimit="x", shadow=["x"], stamps=5, group={}, tidegate=1)
    assert vetted(message)["headers"] == {
        **meant,
        "task": "asinscope.lookup",
        "id": "an-id",
        "eta": None,
        "expires": None,
        "tidegate_meta": [1],
    }


def test_a_describing_header_that_is_no_text_is_left_out() -> None:
    message = envelope(1)
    message["headers"].update(argsrepr=5, root_id=None, parent_id=[], origin={})
    assert vetted(message)["headers"].keys() == {"task", "id", "eta", "expires"}


@pytest.mark.parametrize("field", ["body", "properties", "content-type", "content-encoding"])
def test_everything_else_stays_as_it_was(field: str) -> None:
    assert vetted(envelope(1))[field] == envelope(1)[field]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "us-ascii"])
def test_encodings_that_mean_utf_8(encoding: str) -> None:
    vetted({**envelope(1), "content-encoding": encoding})


def test_a_body_may_stand_there_as_text() -> None:
    message = envelope(1)
    message["body"], message["properties"]["body_encoding"] = '[[], {"asin": ["ü"]}, null]', None
    vetted(message)


@pytest.mark.parametrize("task_id", ["1", "x" * MAX_ID_CHARACTERS, "order 17 / süß"])
def test_ids_of_the_callers_choice(task_id: str) -> None:
    assert vetted(envelope(1, task_id))["headers"]["id"] == task_id


@pytest.mark.parametrize("task_id", ["", "x" * (MAX_ID_CHARACTERS + 1), "a\tb", "\x00", "\u2028"])
def test_ids_that_would_spoil_a_log_or_a_key(task_id: str) -> None:
    with pytest.raises(Unusable, match=r"headers\.id"):
        vetted(envelope(1, task_id))


@pytest.mark.parametrize("time", ["2026-11-21T05:00:00", "2026-11-21T05:00:00.123456+00:00", "2026-11-21", None])
def test_times(time: str | None) -> None:
    for name in ("eta", "expires"):
        message = envelope(1)
        message["headers"][name] = time
        vetted(message)


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-21T05:00:00.1234567"]
)
def test_times_at_the_edge_end_in_a_verdict(time: str) -> None:
    message = envelope(1)
    message["headers"]["eta"] = time
    try:
        vetted(message)
    except Unusable as unusable:
        assert "headers.eta" in str(unusable)


def test_arguments_may_be_nested_but_not_without_bound() -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels):
            value = {"a": value}
        return {**envelope(1), "body": encoded([[], {"a": value}, {}])}

    vetted(nested(MAX_DEPTH - 3))
    with pytest.raises(Unusable, match="nested deeper"):
        vetted(nested(MAX_DEPTH))


def test_typed_values_of_kombu_are_decoded() -> None:
    vetted({**envelope(1), "body": encoded(dumps([[], {"asin": [b"\xff"]}, {}]).encode())})


def test_whatever_the_bytes_the_verdict_is_one_of_two() -> None:
    """Five thousand messages with something replaced, removed or turned over."""
    chance = random.Random(5)
    raw = json.dumps(envelope(1)).encode()
    values = [None, True, 0, -1, 1e400, "", "x", "\ud800", [], [[]], {}, {"a": []}, "9" * 5_000]
    for _ in range(2_500):
        message = bytearray(raw)
        for _ in range(chance.randrange(1, 6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        _verdict(bytes(message))
    for _ in range(2_500):
        changed = envelope(1)
        place = chance.choice([changed, changed["headers"], changed["properties"]])
        place[chance.choice([*place, "compression", "priority"])] = chance.choice(values)
        _verdict(json.dumps(changed).encode())


def _verdict(message: bytes) -> None:
    try:
        assert isinstance(vet(message, TASKS), dict)
    except Unusable as unusable:
        assert len(str(unusable)) > 5
