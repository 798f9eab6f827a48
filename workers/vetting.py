"""Can a task be made of these bytes? Looked at before Celery sees them.

Celery drops what it cannot decode, and a header of an unexpected type ends its worker, and the next one after it. So
what passes here decodes as Celery will decode it, and Celery is handed no header but those that mean something here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.utils.json import loads as celery_loads

MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_ID_CHARACTERS: Final = 255
MAX_DEPTH: Final = 50
RESERVED: Final = "tidegate"
"""Key under which admission hands a message to its task."""
META_HEADER: Final = "tidegate_meta"

_TEXTS: Final = ("argsrepr", "kwargsrepr", "origin", "root_id", "parent_id")
_EMBEDDED: Final = frozenset({"callbacks", "errbacks", "chain", "chord"})


class Unusable(Exception):
    """No task can be made of a message. The text says why, for the dead-letter stream."""


def vet(message: bytes, known_tasks: frozenset[str]) -> dict[str, Any]:
    """The message's envelope, if everything in it is as Celery's protocol 2 has it. Raises :class:`Unusable`.

    What the *operation* makes of the arguments is not looked at: there is an id then, so a result can say it.
    """
    try:
        return _vet(message, known_tasks)
    except Unusable:
        raise
    except Exception as error:  # noqa: BLE001 - the message would come back to one node after the other
        raise Unusable(f"it cannot be read ({type(error).__name__})") from None


def _vet(message: bytes, known_tasks: frozenset[str]) -> dict[str, Any]:
    if len(message) > MAX_MESSAGE_BYTES:
        raise Unusable(f"{len(message)} bytes, more than {MAX_MESSAGE_BYTES}")
    payload = _object(_parsed(message, json.loads, "the message"), "the message")
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
    if headers.get("compression") is not None:
        raise Unusable("its body is compressed")
    _check_body(payload, properties)
    return {**payload, "headers": _meaningful(headers)}


def _meaningful(headers: dict[str, Any]) -> dict[str, Any]:
    texts = {name: headers[name] for name in _TEXTS if isinstance(headers.get(name), str)}
    return texts | {name: headers[name] for name in ("task", "id", "eta", "expires", META_HEADER) if name in headers}


def _check_body(payload: dict[str, Any], properties: dict[str, Any]) -> None:
    body, encoding, wrapping = payload.get("body"), payload.get("content-encoding"), properties.get("body_encoding")
    if not isinstance(body, str):
        raise Unusable("body is no text")
    if str(encoding).lower() not in {"utf-8", "utf8", "us-ascii", "ascii"}:
        raise Unusable(f"content-encoding {encoding!r}, expected 'utf-8'")
    if wrapping is not None and wrapping != "base64":
        raise Unusable(f"body_encoding {wrapping!r}, expected 'base64'")
    raw = body.encode()
    if wrapping == "base64":
        try:
            raw = base64.b64decode(raw, validate=True)
        except binascii.Error:
            raise Unusable("body is no base64") from None
    parts = _parsed(raw, celery_loads, "the body")
    if not isinstance(parts, list) or len(parts) != 3:
        raise Unusable("the body is not [arguments, keyword arguments, embedded]")
    if not isinstance(parts[0], list) or not isinstance(parts[1], dict):
        raise Unusable("the body's arguments are no list and JSON object")
    if parts[2] is not None and not _EMBEDDED.issuperset(_object(parts[2], "the body's embedded part")):
        raise Unusable(f"the body's embedded part has other fields than {', '.join(sorted(_EMBEDDED))}")


def _parsed(raw: bytes, loads: Callable[[str], Any], what: str) -> Any:
    try:
        value = loads(raw.decode())
    except Exception as error:  # noqa: BLE001 - kombu's typed values raise whatever their types do
        raise Unusable(f"{what} is no JSON ({type(error).__name__})") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer)]
    if level:
        raise Unusable(f"{what} is nested deeper than {MAX_DEPTH}")
    return value


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"{what} is no JSON object")
    return value


def _time(value: Any, what: str) -> None:
    if value is None:
        return
    try:
        moment = maybe_make_aware(maybe_iso8601(_word(value, what)), UTC)
        moment - datetime.now(UTC)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise Unusable(f"{what} is no ISO 8601 time") from None


def _word(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_ID_CHARACTERS or not value.isprintable():
        raise Unusable(f"{what} is no text of 1 to {MAX_ID_CHARACTERS} printable characters")
    return value
