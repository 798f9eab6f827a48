"""ASINScope: Amazon product data by ASIN, UPC or EAN; a token per code, counted against a day and a minute bucket.

Numbers (AS-B…, AS-Q…) are the vendor's documented behaviours and our decisions on what it leaves open, as read on
2026-11-21 from its API page; ``tests/providers/asinscope/conformance.py`` names the test that shows each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator

from providers.base import Call, Done, More, Operation, Progress, Provider, QueryKey, Reply, Request
from providers.errors import (
    AccountError,
    BadResponse,
    Challenge,
    InvalidRequest,
    ProviderError,
    QuotaExhausted,
    ServerFault,
    Throttled,
    Transient,
)
from providers.secret import scrub
from ratelimit.limits import AccountLimits, Claim, Observation, Quota, TokenBucket

DAY: Final = "day"
BUCKET: Final = "bucket"

MAX_CODES: Final = 10  # AS-B7, AS-B44
CODE_KINDS: Final = ("asin", "upc", "ean")  # AS-B5

MOST: Final = 1_000_000_000  # the limiter's micro-tokens are exact to nine times that
NOTHING: Final = {DAY: 0, BUCKET: 0}

Count = Annotated[StrictInt, Field(ge=0, le=MOST)]
Left = Annotated[StrictInt, Field(ge=-MOST, le=MOST)]  # below zero: nobody says that an account cannot be overdrawn
Milliseconds = Annotated[StrictInt, Field(ge=0, le=31 * 86_400_000)]

Asin = Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]  # AS-Q9
Barcode = Annotated[str, Field(pattern=r"^[0-9]{8,14}$")]  # AS-B20: text, leading zeros kept
Domain = Literal["com", "ca", "de", "fr", "it", "nl", "es", "in", "uk", "jp", "au", "mx"]  # AS-B9


class LookupRequest(Request):
    """Keyword arguments of ``asinscope.lookup``: one of ``asin``, ``upc``, ``ean`` with 1 to 10 codes."""

    asin: Annotated[list[Asin], Field(min_length=1, max_length=MAX_CODES)] | None = None
    upc: Annotated[list[Barcode], Field(min_length=1, max_length=MAX_CODES)] | None = None
    ean: Annotated[list[Barcode], Field(min_length=1, max_length=MAX_CODES)] | None = None
    domain: Domain = "com"  # AS-B8

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> LookupRequest:
        given = [kind for kind in CODE_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of asin, upc, ean; got {' and '.join(given) or 'none'}")  # AS-B5
        return self

    @property
    def kind(self) -> str:
        """Which of the three identifier types was given."""
        return "asin" if self.asin is not None else "upc" if self.upc is not None else "ean"

    @property
    def codes(self) -> list[str]:
        """The codes, each once, in the order given (AS-Q6: a repeated code might be charged twice)."""
        return list(dict.fromkeys(getattr(self, self.kind)))


class Item(BaseModel):
    """A product as far as identity goes. All else is passed on as it came (AS-B19, AS-Q12)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    asin: str
    ean: str | None = None
    upc: str | None = None
    ean_list: list[str] | None = Field(default=None, alias="eanList")
    upc_list: list[str] | None = Field(default=None, alias="upcList")

    def answers(self, kind: str) -> set[str]:
        """The codes that this product is the answer to: its ASIN, or its barcodes, which are one space of numbers."""
        if kind == "asin":
            return {self.asin}
        listed = [*(self.upc_list or []), *(self.ean_list or [])]
        return {_padded(code) for code in [self.upc, self.ean, *listed] if code}


class LookupUsage(BaseModel):
    """The four usage fields of a lookup's answer (AS-B15 to AS-B18). ``bucketSize`` is what is LEFT (AS-B16)."""

    model_config = ConfigDict(extra="ignore")

    day_left: Annotated[Left, Field(alias="dailyTokensLeft")]
    bucket_left: Annotated[Left, Field(alias="bucketSize")]
    day_reset_in_ms: Annotated[Milliseconds, Field(alias="msBeforeNextDailyToken")]
    consumed: Annotated[Count, Field(alias="consumedTokens")]

    def observations(self) -> list[Observation]:
        """The same, for the limiter."""
        return [
            Observation(limit=DAY, left=self.day_left, reset_in_s=self.day_reset_in_ms / 1000),
            Observation(limit=BUCKET, left=self.bucket_left),
        ]


class AccountTokens(BaseModel):
    """The answer of ``/account/tokens`` (AS-B34 to AS-B40)."""

    model_config = ConfigDict(extra="ignore")

    day_left: Annotated[Left, Field(alias="dailyTokensLeft")]
    day_limit: Annotated[Count, Field(alias="dailyTokensLimit")]
    bucket_left: Annotated[Left, Field(alias="minutelyTokensLeft")]
    bucket_capacity: Annotated[Count, Field(alias="minutelyBucketCapacity")]
    per_minute: Annotated[float, Field(alias="tokensPerMinute", strict=True, ge=0, le=MOST, allow_inf_nan=False)]
    day_reset_in_ms: Annotated[Milliseconds, Field(alias="msBeforeNextDailyReset")]

    def observations(self) -> list[Observation]:
        """The same, for the limiter."""
        return [
            Observation(limit=DAY, left=self.day_left, capacity=self.day_limit, reset_in_s=self.day_reset_in_ms / 1000),
            Observation(
                limit=BUCKET,
                left=self.bucket_left,
                capacity=self.bucket_capacity,
                refill_per_s=self.per_minute / 60,
            ),
        ]


class Lookup(Operation[LookupRequest]):
    """``GET /products/lookup``: one token a code asked for, found or not (AS-B4, AS-B11, AS-Q1).

    Progress: ``items`` found and ``missing`` codes so far, ``pending`` codes still to ask for, ``refused`` codes,
    ``alone``: the provider refused several at once, so each is asked for by itself (AS-Q10).
    """

    name = "lookup"
    request_model = LookupRequest

    def claim(self, request: LookupRequest, progress: Progress) -> Claim:
        """As many tokens as codes go into the next request; fewer where the day has fewer left (AS-Q5)."""
        count = 1 if progress.get("alone") else len(_pending(request, progress))
        return Claim(costs={DAY: count, BUCKET: count}, at_least=1)

    def build(self, request: LookupRequest, progress: Progress, units: int) -> Call:
        """The codes as one comma list (AS-B6); the key is added where it is sent (AS-B2)."""
        codes = ",".join(_pending(request, progress)[:units])
        return Call(method="GET", path="/products/lookup", query=((request.kind, codes), ("domain", request.domain)))

    def read(self, request: LookupRequest, progress: Progress, units: int, reply: Reply) -> Done | More:
        """Items by code, and which codes had none."""
        pending = _pending(request, progress)
        asked, rest = pending[:units], pending[units:]
        if reply.status == 400 and not reply.is_page:
            return _refused(progress, asked, rest, reply)
        if reply.status != 200:
            raise _error(reply, units)
        document = reply.json_object()
        usage = _parse(LookupUsage, document, reply)
        raw_items, items = _items(document, reply)
        kind = request.kind
        found = set().union(*(item.answers(kind) for item in items)) if items else set()
        missing = [code for code in asked if (code if kind == "asin" else _padded(code)) not in found]
        state = _state(progress)
        state["items"] += raw_items
        state["missing"] += missing
        consumed = {DAY: usage.consumed, BUCKET: usage.consumed}
        return _next(state, rest, consumed, usage.observations())

    def pack(self, arguments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Ten codes a request (AS-B7, AS-B44), each code once; kinds and domains apart."""
        groups: dict[tuple[str, str], dict[str, None]] = {}
        rest: dict[str, dict[str, Any]] = {}
        for entry in arguments:
            others = {name: value for name, value in entry.items() if name not in CODE_KINDS}
            settings = json.dumps(others, sort_keys=True)
            rest[settings] = others
            for kind in (kind for kind in CODE_KINDS if entry.get(kind) is not None):
                codes = entry[kind] if isinstance(entry[kind], list) else [entry[kind]]
                groups.setdefault((kind, settings), {}).update(dict.fromkeys(codes))
        return [
            {kind: codes[start : start + MAX_CODES], **rest[settings]}
            for (kind, settings), found in groups.items()
            for codes in [list(found)]
            for start in range(0, len(codes), MAX_CODES)
        ]


class Asinscope(Provider):
    """Two operations on one host: the metered lookup, and the free question what is left."""

    name: ClassVar[str] = "asinscope"
    unit: ClassVar[str] = "token"
    base_url: ClassVar[str] = "https://api.asinscope.com"  # AS-B1
    credential: ClassVar[QueryKey] = QueryKey("key")  # AS-B2
    operations: ClassVar[Mapping[str, Operation[Any]]] = {"lookup": Lookup()}
    max_attempts: ClassVar[int] = 4  # AS-B55: a first one and three more

    PLANS: ClassVar[Mapping[str, tuple[int, int, int]]] = {
        "basic": (1_000, 60, 10),  # tokens a day, bucket, refill a minute: AS-B41 to AS-B43
        "pro": (10_000, 120, 60),
    }

    def limits(self, plan: str | None) -> AccountLimits:
        """A day and a bucket (AS-B45). The provider is asked for the numbers; a plan only fills the time before."""
        if plan is None:
            return AccountLimits(limits=(Quota(name=DAY), TokenBucket(name=BUCKET)), max_age_s=60)
        if plan not in self.PLANS:
            raise ValueError(f"asinscope has no plan {plan!r}; known: {', '.join(self.PLANS)}")
        day, capacity, per_minute = self.PLANS[plan]
        bucket = TokenBucket(name=BUCKET, capacity=capacity, refill_per_s=per_minute / 60)
        return AccountLimits(limits=(Quota(name=DAY, limit=day), bucket), max_age_s=60)

    def probe(self) -> Call:
        """``GET /account/tokens``: costs nothing (AS-B31, AS-B32, AS-B49)."""
        return Call(method="GET", path="/account/tokens", deadline_s=10)

    def read_probe(self, reply: Reply) -> Sequence[Observation]:
        """Both limits with their plan's numbers (AS-B35 to AS-B40)."""
        if reply.status in {400, 401, 403} and not reply.is_page:
            raise _account_error(reply)  # AS-B56 to AS-B58
        if reply.status != 200:
            raise _error(reply, 0)
        return _parse(AccountTokens, reply.json_object(), reply).observations()


ModelT = TypeVar("ModelT", bound=BaseModel)

_RATE: Final = re.compile(r"Restore rate:\s*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)

RATE_LIMIT_WAIT_S: Final = 5.0
"""For a 429 that names neither limit nor time (AS-B54): as long as lies between two probes (AS-Q8)."""

_ACCOUNT_ADVICE: Final = {
    400: "the provider says that the key is missing: set ASINSCOPE_API_KEY",
    401: "the provider does not know this key: set ASINSCOPE_API_KEY to a valid one",
    403: "the key has no active subscription: subscribe or pay in the provider's dashboard",
}


def _padded(code: str) -> str:
    return code.zfill(14)  # AS-Q11


def _pending(request: LookupRequest, progress: Progress) -> list[str]:
    return list(progress["pending"]) if "pending" in progress else request.codes


def _state(progress: Progress) -> dict[str, Any]:
    """A copy of the progress to add to."""
    return {
        "items": list(progress.get("items", [])),
        "missing": list(progress.get("missing", [])),
        "refused": list(progress.get("refused", [])),
        "alone": bool(progress.get("alone", False)),
    }


def _next(
    state: dict[str, Any],
    rest: list[str],
    consumed: Mapping[str, int],
    observations: Sequence[Observation] = (),
    refresh: bool = False,
) -> Done | More:
    if rest:
        progress = {**state, "pending": rest}
        return More(progress=progress, consumed=consumed, observations=observations, refresh=refresh)
    data = {"items": state["items"], "missing": state["missing"] + state["refused"]}
    if state["refused"]:
        data["refused"] = state["refused"]
    return Done(data=data, consumed=consumed, observations=observations)


def _refused(progress: Progress, asked: list[str], rest: list[str], reply: Reply) -> Done | More:
    """AS-B50, AS-Q10: one bad code may spoil the request, so each is tried alone before any is failed."""
    state = _state(progress)
    if len(asked) > 1:
        state["alone"] = True
        return _next(state, asked + rest, NOTHING, refresh=True)
    if not rest and not state["items"] and not state["missing"]:
        message = _said(reply) or "missing or malformed parameter"
        raise InvalidRequest(f"the provider refused the request: {message}", http_status=400, consumed={})
    state["refused"] += asked
    return _next(state, rest, NOTHING, refresh=True)


def _items(document: Mapping[str, Any], reply: Reply) -> tuple[list[dict[str, Any]], list[Item]]:
    raw = document.get("items")
    if not isinstance(raw, list):
        raise BadResponse("field items is no array", http_status=reply.status, evidence=reply.evidence)
    raw = [entry for entry in raw if entry is not None]  # AS-Q1: a code without a product may show as null
    return raw, [_parse(Item, entry, reply) for entry in raw]


def _parse(model: type[ModelT], document: object, reply: Reply) -> ModelT:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        message = f"{where}: {first['msg']}"
    raise BadResponse(message, http_status=reply.status, evidence=reply.evidence)


def _said(reply: Reply) -> str:
    """The text under ``error``, where the body has one (AS-Q3: never relied upon but for the 429s)."""
    try:
        text = reply.json_object().get("error")
    except (BadResponse, Challenge):
        return ""
    return scrub(text)[:300] if isinstance(text, str) else ""


def _account_error(reply: Reply) -> AccountError:
    advice = _ACCOUNT_ADVICE[reply.status]
    return AccountError(advice, code=f"http_{reply.status}", http_status=reply.status, consumed={})


def _error(reply: Reply, units: int) -> ProviderError:
    """Section 4 of the fact sheet, a row each."""
    status, said = reply.status, _said(reply)
    if status == 429:
        return _limited(said, units, reply.retry_after_s)
    if reply.is_page:
        return Challenge("a page for people came instead of JSON", http_status=status, evidence=reply.evidence)
    if status in {401, 403}:
        return _account_error(reply)  # AS-B51, AS-Q13
    if status >= 500:
        text = f"HTTP {status} {said}".strip()
        return ServerFault(text, code=f"http_{status}", http_status=status, retry_in_s=reply.retry_after_s)  # AS-B55
    return Transient(f"unexpected HTTP {status} {said}".strip(), code=f"http_{status}", http_status=status)


def _limited(said: str, units: int, retry_in_s: float | None) -> ProviderError:
    """AS-B59: both limits answer 429, only the text tells them apart."""
    lacking = max(0, units - 1)
    text = said.lower()
    if "daily requests limit" in text:  # AS-B52
        seen = Observation(limit=DAY, at_most=lacking)
        return QuotaExhausted(said, code=DAY, http_status=429, consumed={}, observations=[seen], retry_in_s=retry_in_s)
    if "not enough tokens" in text:  # AS-B53
        seen = Observation(limit=BUCKET, at_most=lacking, refill_per_s=_told_refill_per_s(said))
        return Throttled(said, code=BUCKET, http_status=429, consumed={}, observations=[seen], retry_in_s=retry_in_s)
    wait_s = retry_in_s or RATE_LIMIT_WAIT_S  # AS-B54: no limit of ours is too high, so nothing else would wait
    return Throttled(said or "rate limit exceeded", code="rate_limit", http_status=429, consumed={}, retry_in_s=wait_s)


def _told_refill_per_s(said: str) -> float | None:
    rate = _RATE.search(said)
    per_minute = float(rate.group(1)) if rate else None
    return None if per_minute is None or per_minute > MOST else per_minute / 60
