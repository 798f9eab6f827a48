"""Messages that no task can be made of, each with a part of the reason that is given for it."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

Envelope = dict[str, Any]


def envelope(number: int, task_id: str = "unusable") -> Envelope:
    """What kombu writes for a lookup."""
    body = [[], {"asin": ["B000000001"]}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    return {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "asinscope.lookup", "id": task_id, "eta": None, "expires": None},
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "asinscope"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": f"tag-{number}",
        },
    }


def encoded(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


def changed(**changes: Any) -> Callable[[Envelope], bytes]:
    """The envelope with fields replaced: ``headers__id`` is ``["headers"]["id"]``, ``...`` removes."""

    def change(message: Envelope) -> bytes:
        message = copy.deepcopy(message)
        for path, value in changes.items():
            *outer, last = path.split("__")
            place = message
            for name in outer:
                place = place[name]
            last = last.replace("_", "-") if last.startswith("content") else last
            if value is ...:
                del place[last]
            else:
                place[last] = value
        return json.dumps(message).encode()

    return change


UNUSABLE: dict[str, tuple[Callable[[Envelope], bytes], str]] = {
    "no JSON": (lambda message: b"\x80\x04not JSON", "no JSON"),
    "empty": (lambda message: b"", "no JSON"),
    "not UTF-8, in a text": (lambda message: json.dumps(message).encode().replace(b"py", b"\xff\xfe"), "no JSON"),
    "UTF-16": (lambda message: json.dumps(message).encode("utf-16"), "no JSON"),
    "too large": (changed(headers__lang="x" * 1_100_000), "more than 1048576"),
    "nested": (lambda message: b"[" * 100_000 + b"]" * 100_000, "no JSON"),
    "nested headers": (changed(headers__argsrepr=json.loads("[" * 60 + "]" * 60)), "nested deeper than 50"),
    "nested arguments": (changed(body=encoded([[], json.loads('{"a":' * 70 + "1" + "}" * 70), {}])), "nested deeper"),
    "a list": (lambda message: b"[]", "no JSON object"),
    "no properties": (changed(properties=...), "properties is no JSON object"),
    "no delivery tag": (changed(properties__delivery_tag=...), "delivery_tag"),
    "delivery tag is a number": (changed(properties__delivery_tag=17), "delivery_tag"),
    "delivery info is a text": (changed(properties__delivery_info="x"), "delivery_info"),
    "no task": (changed(headers__task=...), "no task"),
    "unknown task": (changed(headers__task="asinscope.nonsense"), "unknown task 'asinscope.nonsense'"),
    "another provider's task": (changed(headers__task="somebody.lookup"), "unknown task"),
    "no id": (changed(headers__id=...), "headers.id"),
    "id is half a character": (changed(headers__id="\ud800"), "headers.id"),
    "id with a line break": (changed(headers__id="a\nb"), "headers.id"),
    "a time that is none": (changed(headers__eta="soon"), "headers.eta"),
    "an empty time": (changed(headers__expires=""), "headers.expires"),
    "pickle": (changed(content_type="application/x-python-serialize"), "content-type"),
    "YAML": (changed(content_type="application/x-yaml"), "content-type"),
    "latin-1": (changed(content_encoding="latin-1"), "content-encoding"),
    "compressed": (changed(headers__compression="application/x-gzip"), "compressed"),
    "body is no base64": (changed(body="&&&"), "base64"),
    "body encoding is a list": (changed(properties__body_encoding=[]), "body_encoding"),
    "body is no text": (changed(body=17), "no text"),
    "body is half a character": (changed(body="\ud800", properties__body_encoding=None), ""),
    "body is no JSON": (changed(body=encoded(b"{")), "no JSON"),
    "body with a byte order mark": (changed(body=encoded(b"\xef\xbb\xbf[[], {}, {}]")), "no JSON"),
    "body is an object": (changed(body=encoded({"asin": []})), "[arguments, keyword arguments, embedded]"),
    "keyword arguments are a list": (changed(body=encoded([[], [], {}])), "no list and JSON object"),
    "arguments are a text": (changed(body=encoded(["x", {}, {}])), "no list and JSON object"),
    "embedded is a list": (changed(body=encoded([[], {}, []])), "embedded"),
    "embedded names our key": (changed(body=encoded([[], {}, {"tidegate": 1}])), "embedded"),
    "embedded overrides the request": (changed(body=encoded([[], {}, {"delivery_info": 1}])), "embedded"),
    "a typed value that is none": (
        changed(body=encoded([[], {"asin": {"__type__": "datetime", "__value__": 5}}, {}])),
        "no JSON",
    ),
}
