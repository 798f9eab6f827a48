"""What every adapter stands on: requests, replies, steps."""

from __future__ import annotations

import codecs
import dataclasses
import json
from typing import Any

import pytest
from pydantic import ValidationError

from providers.base import MAX_DEPTH, Call, Done, More, Operation, Provider, Reply, Request
from providers.errors import BadResponse, Challenge
from providers.secret import Secret

PAGES = [
    b"<!DOCTYPE html><html></html>",
    b"<!doctype HTML>",
    b"\r\n\t <html lang='en'>",
    b"<HTML>",
    codecs.BOM_UTF8 + b"<!DOCTYPE html>",
]


def reply(body: bytes, status: int = 200, **headers: str) -> Reply:
    return Reply(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [1, 2.5, null, true, "x"]}',
        b' \n{"a": [1, 2.5, null, true, "x"]}\n',
        codecs.BOM_UTF8 + b'{"a": [1, 2.5, null, true, "x"]}',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-8", ""])
def test_an_object_is_read_whatever_its_type_says(body: bytes, content_type: str) -> None:
    assert reply(body, content_type=content_type).json_object() == {"a": [1, 2.5, None, True, "x"]}
    assert reply(b"{}").json_object() == {}


@pytest.mark.parametrize("body", PAGES)
@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_page_is_a_challenge_by_its_first_characters(body: bytes, status: int) -> None:
    page = reply(body, status, content_type="application/json")
    with pytest.raises(Challenge, match=r"^a page for people came instead of JSON$") as caught:
        page.json_object()
    assert page.is_page
    assert (caught.value.http_status, caught.value.consumed) == (status, None)
    assert caught.value.evidence == body.decode("utf-8")


@pytest.mark.parametrize("content_type", ["text/html", "text/html; charset=utf-8", "Text/HTML"])
def test_a_page_is_a_challenge_by_its_type(content_type: str) -> None:
    with pytest.raises(Challenge):
        reply(b"Just a moment", content_type=content_type).json_object()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a": 1',
        b'{"items": [{"asin": "B0',
        b"{'a': 1}",
        b'{"a": 1} {"b": 2}',
        b'{"a": 1,}',
        b"gone fishing",
        b"\xff\xfe\xfd",
        b'{"a": "\xff"}',
        b"\x00",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse, match=r"^the answer is no JSON \(\w+\)$") as caught:
        reply(body, 200).json_object()
    assert (type(caught.value), caught.value.http_status, caught.value.consumed) == (BadResponse, 200, None)
    assert caught.value.evidence == body.decode("utf-8", "replace")[:2000]
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("body", [b"[]", b'[{"a": 1}]', b'"text"', b"1", b"1.5", b"true", b"null"])
def test_what_is_no_object_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse, match=r"^the answer is no JSON object$") as caught:
        reply(body).json_object()
    assert caught.value.evidence == body.decode()


def nested(depth: int) -> bytes:
    """An object whose innermost value lies ``depth`` levels down."""
    return b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000 + b"]" * 1_000_000, b"[" * 1_000_000, nested(1_000_000), nested(300), nested(MAX_DEPTH + 1)],
)
def test_nested_brackets_are_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse, match=r"^the answer is no JSON \((RecursionError|ValueError)\)$"):
        reply(body).json_object()


def test_nesting_as_deep_as_allowed_is_read() -> None:
    assert reply(nested(MAX_DEPTH)).json_object() == json.loads(nested(MAX_DEPTH))


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    """A title cut in the middle of an emoji could be read, but never be written again."""
    document = reply(
        b'{"a": ["cut \\ud83d", "\\ude00", "\\ud83d\\ude00", "x\\ud83dy"], "\\ud83d": "\xc3\xa9"}'
    ).json_object()
    assert document == {"a": ["cut \ufffd", "\ufffd", "\U0001f600", "x\ufffdy"], "\ufffd": "é"}
    assert json.dumps(document, ensure_ascii=False).encode()


def test_evidence_is_bounded_and_scrubbed_before_it_is_cut() -> None:
    Secret("echoed-key-31")
    assert reply(b"x" * 50_000).evidence == "x" * 2000
    assert reply("é".encode() * 50_000).evidence == "é" * 2000
    assert reply(b"x" * 1993 + b"echoed-key-31 tail").evidence == "x" * 1993 + "[redact"
    assert reply(b"Cannot GET /?key=echoed-key-31").evidence == "Cannot GET /?key=[redacted]"


def test_a_reply_shows_its_status_alone() -> None:
    assert repr(reply(b"secret body", 404, x_secret="header")) == "Reply(status=404)"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("999999999", 3600.0), ("9" * 5000, 3600.0)],
)
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert reply(b"", retry_after=text).retry_after_s == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "1.5", "1e3", "\u0667", "\u00b2", "Wed, 21 Oct 2026 07:28:00 GMT", "7, 8"]
)
def test_retry_after_that_is_no_number_of_seconds(text: str) -> None:
    assert reply(b"", retry_after=text).retry_after_s is None
    assert reply(b"").retry_after_s is None


class Example(Request):
    name: str
    count: int = 1


@pytest.mark.parametrize("arguments", [{"name": 1}, {"name": "x", "count": "1"}, {"name": "x", "other": 1}, {}])
def test_request_models_take_json_types_as_they_are_and_nothing_else(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(arguments)


def test_requests_are_frozen() -> None:
    request = Example(name="x")
    with pytest.raises(ValidationError, match="frozen"):
        request.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    "value", [Call(method="GET", path="/"), Reply(status=200, headers={}, body=b""), Done(data={}), More(progress={})]
)
def test_calls_replies_and_readings_are_frozen(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


def test_defaults() -> None:
    call = Call(method="GET", path="/")
    assert (call.query, call.json, call.deadline_s, call.max_bytes) == ((), None, 30.0, 8 * 1024 * 1024)
    done = Done(data={})
    assert (done.consumed, done.observations) == ({}, ())
    more = More(progress={})
    assert (more.after_s, more.consumed, more.observations, more.refresh) == (0.0, {}, (), False)


def test_an_operation_and_a_provider_must_say_everything() -> None:
    assert Operation.__abstractmethods__ == {"claim", "build", "read"}
    assert Provider.__abstractmethods__ == {"limits"}


def test_a_provider_without_probe_has_nothing_to_read() -> None:
    class Plain(Provider):
        name = "plain"

        def limits(self, plan: str | None) -> Any:
            raise NotImplementedError

    assert Plain().probe() is None
    with pytest.raises(NotImplementedError, match=r"^plain has no probe$"):
        Plain().read_probe(reply(b""))
