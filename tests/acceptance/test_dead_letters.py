"""What no task can be made of goes to the dead-letter stream as it was, and the node serves the next message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet import FREE, QUEUE, Fleet, until
from malformed import UNUSABLE, encoded, envelope


@pytest.mark.parametrize("queue", [QUEUE, FREE])
def test_unusable_messages_are_kept_as_they_were(fleet: Fleet, queue: str) -> None:
    before = len(fleet.dead_letters())
    messages = [make(envelope(number)) for number, (make, _) in enumerate(UNUSABLE.values())]
    for message in messages:
        fleet.push_raw(message, queue)
    last = fleet.send(queue=queue)
    assert fleet.result_of(last)["status"] == "ok"
    until(lambda: len(fleet.dead_letters()) == before + len(messages))
    letters = fleet.dead_letters()[before:]
    assert sorted(letter["message"] for letter in letters) == sorted(messages)
    by_message = {letter["message"]: letter for letter in letters}
    for name, message in zip(UNUSABLE, messages, strict=True):
        letter = by_message[message]
        assert UNUSABLE[name][1] in letter["reason"].decode(), name
        assert (letter["list"].decode(), bool(letter["node"]), bool(letter["at"])) == (queue, True, True)
    until(lambda: fleet.left_over() == {})
    assert all(node.process.poll() is None for node in fleet.nodes)


@pytest.mark.parametrize(
    "headers",
    [
        {"timelimit": "abc"},
        {"shadow": ["x"]},
        {"stamped_headers": 5, "stamps": 5},
        {"callbacks": 5, "chord": 5, "group": {}},
        {"retries": "x", "root_id": [], "argsrepr": {}},
        {"delivery_info": 5, "hostname": 5, "args": 5, "tidegate": 5},
        {"ignore_result": "x", "called_directly": True, "is_eager": True},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_that_mean_nothing_here_do_nothing(fleet: Fleet, headers: dict[str, Any]) -> None:
    message = envelope(1, f"odd-{next(iter(headers))}")
    message["headers"].update(headers)
    fleet.push_raw(json.dumps(message))
    assert fleet.result_of(message["headers"]["id"])["status"] == "ok"
    until(lambda: fleet.left_over() == {})


def test_two_messages_with_one_delivery_tag(fleet: Fleet) -> None:
    fleet.push_raw(json.dumps(envelope(7, "twin-1")))
    fleet.push_raw(json.dumps(envelope(7, "twin-2")))
    assert fleet.result_of("twin-1")["status"] == "ok"
    assert fleet.result_of("twin-2")["status"] == "ok"
    until(lambda: fleet.left_over() == {})


def test_typed_values_of_kombu_are_refused_as_arguments(fleet: Fleet) -> None:
    message = envelope(1, "typed")
    message["body"] = encoded([[], {"asin": [{"__type__": "base64", "__value__": "/w=="}]}, {}])
    fleet.push_raw(json.dumps(message))
    result = fleet.result_of("typed")
    assert (result["status"], result["error"]["kind"]) == ("failed", "invalid_request")


def test_a_producer_in_another_language_needs_only_the_documented_fields(fleet: Fleet) -> None:
    message = envelope(1, "plain")
    message["properties"] = {"delivery_tag": "tag-plain", "delivery_info": {}}
    message["headers"] = {"task": "asinscope.lookup", "id": "plain"}
    message["body"] = '[[], {"asin": ["B000000001"]}, null]'
    fleet.push_raw(json.dumps(message))
    assert fleet.result_of("plain")["status"] == "ok"
