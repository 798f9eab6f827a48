"""Answers as ASINScope gives them, and a way through all steps of a lookup without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.asinscope import Lookup, LookupRequest
from providers.base import Done, More, Reply
from ratelimit.limits import Observation

LOOKUP = Lookup()

EXAMPLE_ITEM: dict[str, Any] = {
    "asin": "B088H39PXX",
    "ean": "0793610399007",
    "upc": "793610399007",
    "mpn": "2143",
    "bsr": 95,
    "category": "Sports & Outdoors",
    "brand": "CUKU",
    "title": "Magnetic Dart Board",
    "productGroup": "Sports",
    "lowestNewPrice": 22.79,
    "lowestFormattedPrice": "$22.79",
    "soldByAmazon": False,
    "packageDimensions": {"height": 1.77, "width": 13.46, "length": 13.58, "weight": 2.07},
    "upcList": ["793610399007"],
    "eanList": ["0793610399007"],
    "totalNew": 2,
    "smallImage": "https://images.example/I/91we94LQPhL.jpg",
    "mediumImage": "https://images.example/I/91we94LQPhL.jpg",
    "images": ["https://images.example/I/91we94LQPhL.jpg", "https://images.example/I/91WKu.jpg"],
}
"""The vendor's own example, every field of it (AS-B19 to AS-B30)."""

USAGE = {"dailyTokensLeft": 9998, "bucketSize": 119, "msBeforeNextDailyToken": 82524143, "consumedTokens": 1}
"""The usage fields of the same example (AS-B15 to AS-B18)."""

TOKENS = {
    "dailyTokensLeft": 9812,
    "dailyTokensLimit": 10000,
    "minutelyTokensLeft": 119,
    "minutelyBucketCapacity": 120,
    "tokensPerMinute": 60,
    "msBeforeNextDailyReset": 82524143,
}
"""The vendor's example of ``/account/tokens``."""

SEEN = [Observation(limit="day", left=9998, reset_in_s=82524.143), Observation(limit="bucket", left=119)]
"""What ``USAGE`` says of the limits."""

DAY_TEXT = "The daily requests limit has been reached."
BUCKET_TEXT = "Not enough tokens in the bucket. Restore rate: 60 / min"
PAGE = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


def answer(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; ``retry_after`` as a keyword is the header ``retry-after``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status=status, headers={"content-type": "application/json", **named}, body=body)


def products(*items: Any, **usage: Any) -> Reply:
    """A lookup's 200; ``usage`` replaces fields of the example's."""
    return answer({"items": list(items), **USAGE, **usage})


def refusal(status: int, text: str = "no") -> Reply:
    return answer({"error": text}, status)


def asins(count: int) -> list[str]:
    return [f"B0{number:08d}" for number in range(count)]


def by_asin(*codes: str) -> LookupRequest:
    return LookupRequest(asin=list(codes))


def read(
    request: LookupRequest, reply: Reply, progress: Mapping[str, Any] | None = None, units: int = 0
) -> Done | More:
    """Read one answer to a request for all pending codes (or the first ``units``)."""
    progress = progress or {}
    return LOOKUP.read(request, progress, units or len(progress.get("pending", request.codes)), reply)


@dataclass
class Course:
    """A lookup from its first step to its last: what was asked for in each, and what came of it."""

    done: Done
    asked: list[list[str]] = field(default_factory=list)
    claimed: list[int] = field(default_factory=list)
    consumed: int = 0
    steps: list[More] = field(default_factory=list)


def run(
    request: LookupRequest, vendor: Callable[[list[str]], Reply], grant: Callable[[int], int] = lambda claimed: claimed
) -> Course:
    """Run all steps, the progress being written as JSON between them. ``grant`` says how many units are granted."""
    progress: Mapping[str, Any] = {}
    course = Course(done=Done(data={}))
    while True:
        claim = LOOKUP.claim(request, progress)
        claimed = claim.costs["day"]
        units = grant(claimed)
        asked = dict(LOOKUP.build(request, progress, units).query)[request.kind].split(",")
        course.claimed.append(claimed)
        course.asked.append(asked)
        reading = LOOKUP.read(request, progress, units, vendor(asked))
        course.consumed += reading.consumed["day"]
        assert reading.consumed["day"] == reading.consumed["bucket"]
        if isinstance(reading, Done):
            course.done = reading
            return course
        course.steps.append(reading)
        progress = json.loads(json.dumps(reading.progress))
