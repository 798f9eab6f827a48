"""The result document and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from pydantic import ValidationError

import workers.documents
from providers import errors
from workers.documents import ErrorDocument, ResultDocument, Usage, now_text, schema

FILE = Path(workers.documents.__file__).with_name("result.schema.json")


def document(**changes: Any) -> ResultDocument:
    fields: dict[str, Any] = {
        "task_id": "m",
        "task": "asinscope.lookup",
        "provider": "asinscope",
        "account": "main",
        "status": "ok",
        "request": {"asin": ["B000000001"]},
        "data": {"items": []},
        "usage": Usage(unit="token", consumed=1),
        "finished_at": now_text(),
    }
    return ResultDocument(**{**fields, **changes})


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    assert FILE.read_text(encoding="utf-8") == schema(), f"write it anew: {FILE.name} holds workers.documents.schema()"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": "expired", "data": None},
        {"status": "cancelled", "data": None},
        {"status": "failed", "data": None, "error": ErrorDocument(kind="unavailable", message="x", retryable=True)},
        {"meta": {"a": [1, None]}, "started_at": now_text(), "enqueued_at": now_text(), "attempts": 4, "deferrals": 9},
    ],
)
def test_documents_fit_the_schema(changes: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(json.loads(schema())).validate(json.loads(document(**changes).text()))


@pytest.mark.parametrize(
    "broken",
    [{"status": "deferred"}, {"v": 2}, {"attempts": -1}, {"extra": 1}, {"usage": {"unit": "token", "consumed": -1}}],
)
def test_what_is_no_result_is_refused_by_model_and_schema(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        document(**broken)
    whole = {**json.loads(document().text()), **broken}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json.loads(schema())).validate(whole)


def test_the_entry_is_text_throughout() -> None:
    fields = document().fields()
    assert list(fields) == ["task_id", "task", "provider", "account", "status", "result"]
    assert all(isinstance(value, str) for value in fields.values())
    assert json.loads(fields["result"])["task_id"] == "m"


def test_half_a_surrogate_pair_comes_through() -> None:
    text = document(data={"items": [{"title": "cut \ud83d"}]}).text()
    assert json.loads(text)["data"] == {"items": [{"title": "cut \ud83d"}]}
    assert json.loads(text)["usage"] == {"unit": "token", "consumed": 1}
    text.encode()


def test_values_that_are_not_of_json_become_text() -> None:
    request = {"bytes": b"\xff", "id": UUID(int=1)}
    assert json.loads(document(request=request).text())["request"]["id"] == str(UUID(int=1))


@pytest.mark.parametrize("error", [errors.Transient, errors.BadResponse, errors.InvalidRequest, errors.NotFound])
def test_an_error_of_a_provider_as_a_document(error: type[errors.ProviderError]) -> None:
    found = ErrorDocument.of(error("what", code="c", http_status=503))
    assert (found.kind, found.code, found.message, found.http_status) == (error.kind, "c", "what", 503)
    assert found.retryable is error.retryable


def test_times_are_utc_with_milliseconds() -> None:
    assert len(now_text()) == len("2026-11-21T05:00:00.000Z")
    assert now_text().endswith("Z")
