"""A client with a key that is easy to look for, and short ways to use it."""

from __future__ import annotations

from typing import Any

import pytest
from loopback import Listener, say

from providers.base import Call, QueryKey, Reply
from providers.errors import ProviderError
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopePlan
from providers.secret import Secret

KEY = "Zq7Xk9Wm+/=&?#%~é"
CORE = "Zq7Xk9Wm"
"""The part of the key that looks the same in every encoding."""

LOOKUP = "/products/lookup"
PATIENT = Call(method="GET", path=LOOKUP, query=(("asin", "B000000001,B000000002"), ("domain", "com")), deadline_s=60.0)
HASTY = Call(method="GET", path=LOOKUP, query=PATIENT.query, deadline_s=0.4)
WIDE = AsinscopePlan(bucket_capacity=100_000, tokens_per_minute=0, daily_tokens=100_000)


def client_of(url: str, **options: Any) -> HttpClient:
    return HttpClient(url, QueryKey("key"), Secret(KEY), **options)


def failure_of(client: HttpClient, call: Call) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.send(call)
    return caught.value


def answered(text: bytes, call: Call = PATIENT) -> Reply:
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        return client.send(call)
