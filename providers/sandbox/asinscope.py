"""ASINScope, as far as its documentation goes. The numbers (AS-B.., AS-Q..) are those of its fact sheet.

Choices where the vendor says nothing, beyond those of section 6 of the fact sheet:

- order of checks: key, then parameters, then the day, then the bucket (so a 429 names the day if both are short)
- a key without subscription gets 403 on the lookup too (AS-Q13); a revoked or unknown one 401
- a repeated parameter (``asin=A&asin=B``) is a 400 (AS-B6); unknown parameters are ignored
- an ASIN is 10 capital letters or digits, a UPC or EAN 8 to 14 digits, anything else a 400 (AS-Q9)
- ``items`` are sorted by ASIN and hold a product asked for twice once (AS-Q11); both tokens are charged (AS-Q6)
- an EAN that is no zero-padded UPC has ``upc: null`` and ``upcList: []`` (AS-B20)
- an unknown path is a 404, another method than GET a 405
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from providers.sandbox import asinscope_catalog as catalog
from providers.sandbox.meters import PeriodQuota, TokenBucket, to_ns
from providers.sandbox.vendor import (
    Answer,
    Ask,
    Call,
    Json,
    KeyState,
    Latency,
    Reply,
    SandboxOptions,
    VendorSandbox,
)

NAME = "asinscope"
LOOKUP = "/products/lookup"
TOKENS = "/account/tokens"
DEFAULT_KEY = f"sandbox-key-{NAME}"
CODE_TYPES = ("asin", "upc", "ean")
_WELL_FORMED = {
    "asin": re.compile(r"[A-Z0-9]{10}"),
    "upc": re.compile(r"[0-9]{8,14}"),
    "ean": re.compile(r"[0-9]{8,14}"),
}
_UNKNOWN_PREFIX = {"asin": "B0MISS", "upc": "000000", "ean": "000000"}

_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AsinscopePlan:
    """What a subscription allows. Amounts are tokens, ``day_s`` is the length of the day in seconds."""

    bucket_capacity: _Count
    tokens_per_minute: _Count
    daily_tokens: _Count
    day_s: Annotated[float, Field(ge=0.001)] = 86400.0
    codes_per_request: Annotated[int, Field(ge=1)] = 10


PLANS: Mapping[str, AsinscopePlan] = {
    "basic": AsinscopePlan(bucket_capacity=60, tokens_per_minute=10, daily_tokens=1_000),
    "pro": AsinscopePlan(bucket_capacity=120, tokens_per_minute=60, daily_tokens=10_000),
}
"""The vendor's plans (AS-B41 to AS-B44)."""


def read_plan(plan: AsinscopePlan | Json) -> AsinscopePlan:
    """Return the plan of that name or of those fields. Raises ``ValueError`` if there is none such."""
    if isinstance(plan, AsinscopePlan):
        return plan
    if isinstance(plan, Mapping):
        return AsinscopePlan(**plan)
    if plan not in PLANS:
        raise ValueError(f"no plan {plan!r}; there are {', '.join(PLANS)}, or give its fields")
    return PLANS[plan]


def _refuse(status: int, text: str) -> Reply:
    """Refuse: every error body is ``{"error": text}`` (AS-B52, AS-B53, AS-Q3)."""
    return Reply(status, {"error": text})


class AsinscopeSandbox(VendorSandbox):
    """One ASINScope subscription; all its keys share the limits (AS-Q14). Starts with a full bucket and a full day.

    ``day_left_s`` is how far the first daily reset is, in seconds (default: a whole day). Codes in ``unknown``, and
    those that begin with ``B0MISS`` or, as UPC or EAN, with ``000000``, have no product (AS-Q1). Codes in ``multi``
    have two (AS-Q11). Items for codes in ``sparse`` have no field but ``asin`` (AS-B19).
    """

    name = NAME
    metered_paths = (LOOKUP,)

    def __init__(
        self,
        plan: AsinscopePlan | str = "basic",
        *,
        keys: Mapping[str, KeyState | str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        day_left_s: float | None = None,
        unknown: Collection[str] = (),
        multi: Collection[str] = (),
        sparse: Collection[str] = (),
        latency: Latency | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            keys={DEFAULT_KEY: KeyState.ACTIVE} if keys is None else keys, clock=clock, latency=latency, seed=seed
        )
        self._plan = plan = read_plan(plan)
        self._unknown, self._multi, self._sparse = frozenset(unknown), frozenset(multi), frozenset(sparse)
        self._spent_elsewhere = 0
        now_ns = to_ns(clock())
        self._bucket = TokenBucket(
            capacity=plan.bucket_capacity, tokens_per_minute=plan.tokens_per_minute, now_ns=now_ns
        )
        first_day_ns = to_ns(plan.day_s if day_left_s is None else day_left_s)
        self._day = PeriodQuota(limit=plan.daily_tokens, period_ns=to_ns(plan.day_s), ends_ns=now_ns + first_day_ns)

    # --- what tests and the control API may do to the account

    def spend(self, tokens: int) -> int:
        """Spend like another program with the same subscription: at most what is left. Returns the tokens taken."""
        if tokens < 0:
            raise ValueError(f"tokens must be 0 or more, got {tokens}")
        with self.lock:
            self._advance(self._clock())
            taken = min(tokens, self._day.left, self._bucket.left)
            self._take(taken)
            self._spent_elsewhere += taken
            return taken

    def set_plan(self, plan: AsinscopePlan | Json) -> None:
        """Change the plan: what was used today stays used, the bucket keeps its tokens up to the new capacity."""
        plan = read_plan(plan)
        with self.lock:
            self._advance(self._clock())
            self._plan = plan
            self._bucket.change(capacity=plan.bucket_capacity, tokens_per_minute=plan.tokens_per_minute)
            self._day.change(limit=plan.daily_tokens, period_ns=to_ns(plan.day_s))

    def set_left(self, *, day: int | None = None, bucket: int | None = None) -> None:
        """Set the whole tokens left of the day and in the bucket (at most its capacity); ``None`` leaves one alone."""
        if min(day or 0, bucket or 0) < 0:
            raise ValueError(f"tokens left must be 0 or more, got day={day}, bucket={bucket}")
        with self.lock:
            self._advance(self._clock())
            if day is not None:
                self._day.left = day
            if bucket is not None:
                self._bucket.set_left(bucket)

    def left(self) -> dict[str, Json]:
        """Return the tokens left of the day and in the bucket, and milliseconds to the daily reset."""
        with self.lock:
            now_s = self._clock()
            self._advance(now_s)
            return {
                "day": self._day.left,
                "bucket": self._bucket.left,
                "ms_to_reset": self._day.ms_to_reset(to_ns(now_s)),
            }

    def summary(self) -> dict[str, Json]:
        """Return the counts so far, what :meth:`spend` took, and what is left in tokens."""
        with self.lock:
            return {**super().summary(), "spent_elsewhere_tokens": self._spent_elsewhere}

    def controls(self) -> Mapping[str, Callable[[Json], Json]]:
        """Return what may be POSTed: also ``{"tokens": n}``, a plan, and ``{"day": n, "bucket": n}``."""
        return {
            **super().controls(),
            "spend": lambda wanted: {"taken": self.spend(int(wanted["tokens"]))},
            "plan": self._control_plan,
            "left": self._control_left,
        }

    def _control_plan(self, wanted: Json) -> Json:
        self.set_plan(wanted)
        return self.left()

    def _control_left(self, wanted: Json) -> Json:
        self.set_left(**{name: int(tokens) for name, tokens in wanted.items()})
        return self.left()

    # --- the vendor

    def _advance(self, now_s: float) -> None:
        now_ns = to_ns(now_s)
        self._bucket.advance(now_ns)
        self._day.advance(now_ns)

    def _left(self) -> tuple[int | None, int | None]:
        return self._day.left, self._bucket.left

    def _take(self, tokens: int) -> None:
        self._day.left -= tokens
        self._bucket.take(tokens)

    def _read(self, call: Call) -> Ask:
        key = call.query.get("key", [""])[0]
        if call.path != LOOKUP:
            return Ask((), 0, key)
        lists = [value for code_type in CODE_TYPES for value in call.query.get(code_type, [])]
        codes = tuple(code for value in lists for code in value.split(","))
        return Ask(codes, len(codes), key)

    def _answer(self, call: Call, ask: Ask, now_s: float) -> Answer:
        if call.path not in (LOOKUP, TOKENS):
            return Answer(_refuse(404, "Not found."))
        if call.method != "GET":
            return Answer(_refuse(405, "Method not allowed."))
        if call.path == TOKENS:
            return Answer(self._refused_key(ask.key, missing_status=400) or self._account(now_s))
        refused = self._refused_key(ask.key, missing_status=401) or self._malformed(call) or self._short(ask.cost)
        if refused is not None:
            return Answer(refused)
        self._take(ask.cost)
        return Answer(self._products(call, ask, now_s), counted=True)

    def _refused_key(self, key: str, *, missing_status: int) -> Reply | None:
        """AS-B51, AS-B56 to AS-B58, AS-Q2, AS-Q13."""
        if not key:
            return _refuse(missing_status, "Missing API key.")
        state = self._key_state(key)
        if state is KeyState.NO_SUBSCRIPTION:
            return _refuse(403, "No active subscription.")
        return None if state is KeyState.ACTIVE else _refuse(401, "Invalid API key.")

    def _malformed(self, call: Call) -> Reply | None:
        """AS-B50, AS-Q9, AS-Q10: one bad code refuses the whole request."""
        given = [code_type for code_type in CODE_TYPES if code_type in call.query]
        if len(given) != 1:
            return _refuse(400, "Give exactly one of asin, upc, ean.")
        values, domains = call.query[given[0]], call.query.get("domain", ["com"])
        if len(values) != 1 or len(domains) != 1:
            return _refuse(400, "A parameter is given more than once.")
        codes = values[0].split(",")
        if len(codes) > self._plan.codes_per_request:
            return _refuse(400, f"At most {self._plan.codes_per_request} codes per request.")
        if domains[0] not in catalog.CURRENCY:
            return _refuse(400, "Unknown domain.")
        if not all(_WELL_FORMED[given[0]].fullmatch(code) for code in codes):
            return _refuse(400, f"Malformed {given[0]}.")
        return None

    def _short(self, cost: int) -> Reply | None:
        """Refuse what the day or the bucket cannot pay in full (AS-B45, AS-Q4, AS-Q5)."""
        if self._day.left < cost:
            return _refuse(429, "The daily requests limit has been reached.")
        if self._bucket.left < cost:
            rate = self._plan.tokens_per_minute
            return _refuse(429, f"Not enough tokens in the bucket. Restore rate: {rate} / min")
        return None

    def _products(self, call: Call, ask: Ask, now_s: float) -> Reply:
        """AS-B14 to AS-B18; ``bucketSize`` is what is left in the bucket."""
        code_type = next(code_type for code_type in CODE_TYPES if code_type in call.query)
        domain = call.query.get("domain", ["com"])[0]
        items = [
            catalog.item(code_type, code, domain, variant, sparse=code in self._sparse)
            for code in dict.fromkeys(ask.codes)
            if not self._is_unknown(code_type, code)
            for variant in range(2 if code in self._multi else 1)
        ]
        body = {
            "items": sorted(items, key=lambda item: str(item["asin"])),
            "dailyTokensLeft": self._day.left,
            "bucketSize": self._bucket.left,
            "msBeforeNextDailyToken": self._day.ms_to_reset(to_ns(now_s)),
            "consumedTokens": ask.cost,
        }
        return Reply(200, body)

    def _is_unknown(self, code_type: str, code: str) -> bool:
        return code in self._unknown or code.startswith(_UNKNOWN_PREFIX[code_type])

    def _account(self, now_s: float) -> Reply:
        """AS-B34 to AS-B40; consumes nothing (AS-B32) and answers while exhausted (AS-Q8)."""
        body = {
            "dailyTokensLeft": self._day.left,
            "dailyTokensLimit": self._plan.daily_tokens,
            "minutelyTokensLeft": self._bucket.left,
            "minutelyBucketCapacity": self._plan.bucket_capacity,
            "tokensPerMinute": self._plan.tokens_per_minute,
            "msBeforeNextDailyReset": self._day.ms_to_reset(to_ns(now_s)),
        }
        return Reply(200, body)


def from_options(options: SandboxOptions) -> AsinscopeSandbox:
    """Make the sandbox that the command line describes; the default plan is ``basic``."""
    plan = read_plan("basic" if options.plan is None else options.plan)
    return AsinscopeSandbox(
        plan if options.day_s is None else replace(plan, day_s=options.day_s),
        keys=dict.fromkeys(options.keys, KeyState.ACTIVE),
        day_left_s=options.day_left_s,
        latency=options.latency,
    )
