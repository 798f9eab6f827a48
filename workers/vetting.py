"""Can a task be made of these bytes? Looked at before Celery sees them: Celery drops what it cannot decode."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_ID_CHARACTERS: Final = 255
RESERVED: Final = "tidegate"
"""Key under which admission hands a message to its task."""


class Unusable(Exception):
    """No task can be made of a message. The text says why, for the dead-letter stream."""


def vet(message: bytes, known_tasks: frozenset[str]) -> dict[str, Any]:
    """The message's envelope, if everything in it is as Celery's protocol 2 has it. Raises :class:`Unusable`.

    What the *operation* makes of the arguments is not looked at: there is an id then, so a result can say it.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise Unusable(f"{len(message)} bytes, more than {MAX_MESSAGE_BYTES}")
    payload = _object(_json(message, "the message"), "the message")
    properties = _object(payload.get("properties"), "properties")
    headers = _object(payload.get("headers"), "headers")
    _object(properties.get("delivery_info"), "properties.delivery_info")
    _word(properties.get("delivery_tag"), "properties.delivery_tag")
    if "task" not in headers:
        raise Unusable("headers name no task: not a message of Celery's protocol 2")
    task = _word(headers["task"], "headers.task")
    _word(headers.get("id"), "headers.id")
    if task not in known_tasks:
        raise Unusable(f"unknown task {task!r}; known: {', '.join(sorted(known_tasks))}")
    for name in ("eta", "expires"):
        _time(headers.get(name), f"headers.{name}")
    if payload.get("content-type") != "application/json":
        raise Unusable(f"content-type {payload.get('content-type')!r}, expected 'application/json'")
    _check_body(payload, properties)
    return payload


def _check_body(payload: dict[str, Any], properties: dict[str, Any]) -> None:
    body, encoding = payload.get("body"), payload.get("content-encoding")
    if not isinstance(body, str):
        raise Unusable("body is no text")
    if str(encoding).lower() not in {"utf-8", "utf8", "us-ascii", "ascii"}:
        raise Unusable(f"content-encoding {encoding!r}, expected 'utf-8'")
    if properties.get("body_encoding") not in {"base64", None}:
        raise Unusable(f"body_encoding {properties.get('body_encoding')!r}, expected 'base64'")
    raw = body.encode()
    if properties.get("body_encoding") == "base64":
        try:
            raw = base64.b64decode(raw, validate=True)
        except binascii.Error:
            raise Unusable("body is no base64") from None
    parts = _json(raw, "the body")
    if not isinstance(parts, list) or len(parts) != 3:
        raise Unusable("the body is not [arguments, keyword arguments, embedded]")
    if not isinstance(parts[0], list) or not isinstance(parts[1], dict):
        raise Unusable("the body's arguments are no list and JSON object")
    if parts[2] is not None and (not isinstance(parts[2], dict) or RESERVED in parts[2]):
        raise Unusable(f"the body's embedded part is no JSON object without {RESERVED!r}")


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{what} is no JSON ({type(error).__name__})") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"{what} is no JSON object")
    return value


def _time(value: Any, what: str) -> None:
    if value is None:
        return
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unusable(f"{what} is no ISO 8601 time") from None


def _word(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_ID_CHARACTERS:
        raise Unusable(f"{what} is no text of 1 to {MAX_ID_CHARACTERS} characters")
    return value
