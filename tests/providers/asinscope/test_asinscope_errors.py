"""What a lookup's answer is when it is no good: every documented row, and what lies beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asinscope_answers import (
    BUCKET_TEXT,
    DAY_TEXT,
    EXAMPLE_ITEM,
    LOOKUP,
    PAGE,
    USAGE,
    answer,
    asins,
    by_asin,
    products,
    read,
    refusal,
)

from providers.asinscope import RATE_LIMIT_WAIT_S, LookupRequest
from providers.base import Reply
from providers.errors import (
    AccountError,
    BadResponse,
    Challenge,
    ProviderError,
    QuotaExhausted,
    ServerFault,
    Throttled,
    Transient,
)
from providers.secret import Secret
from ratelimit.limits import Observation

EXAMPLE = by_asin("B088H39PXX")


def failure(reply: Reply, request: LookupRequest = EXAMPLE, units: int = 1) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        LOOKUP.read(request, {}, units, reply)
    return caught.value


# --- AS-B51 to AS-B55, AS-B59, AS-Q13: the other rows of a lookup


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "the provider does not know this key: set ASINSCOPE_API_KEY to a valid one"),
        (403, "the key has no active subscription: subscribe or pay in the provider's dashboard"),
    ],
)
@pytest.mark.parametrize("body", [b'{"error": "Invalid API key."}', b"", b"<<<", b"[1]"])
def test_as_b51_q2_q3_q13_key_and_subscription_are_the_accounts(status: int, advice: str, body: bytes) -> None:
    error = failure(answer(body, status))
    assert type(error) is AccountError
    assert (error.message, error.code, error.http_status) == (advice, f"http_{status}", status)
    assert (error.consumed, error.observations) == ({}, ())


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500, 502, 503, 504])
@pytest.mark.parametrize("document", [PAGE, b"  <html>"])
def test_a_page_is_a_challenge_with_any_status(status: int, document: bytes) -> None:
    """Also with 401 or 403: what stands before the vendor says nothing about the key."""
    error = failure(answer(document, status))
    assert type(error) is Challenge
    assert (error.http_status, error.consumed, error.evidence) == (status, None, document.decode())


@pytest.mark.parametrize("text", [DAY_TEXT, DAY_TEXT.upper(), "the DAILY requests LIMIT has been reached"])
@pytest.mark.parametrize(("units", "at_most"), [(1, 0), (10, 9)])
def test_as_b52_b59_the_day_is_used_up(text: str, units: int, at_most: int) -> None:
    error = failure(refusal(429, text), by_asin(*asins(units)), units)
    assert type(error) is QuotaExhausted
    assert (error.message, error.code, error.http_status) == (text, "day", 429)
    assert (error.consumed, error.retry_in_s) == ({}, None)
    assert error.observations == (Observation(limit="day", at_most=at_most),)


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        (BUCKET_TEXT, 1.0),
        ("Not enough tokens in the bucket. Restore rate: 10 / min", 10 / 60),
        ("NOT ENOUGH TOKENS. restore RATE:7.5", 0.125),
        ("not enough tokens", None),
        ("not enough tokens. Restore rate: unknown", None),
        ("not enough tokens. Restore rate: -5 / min", None),
        ("not enough tokens. Restore rate: \u0666\u0660 / min", None),
        ("not enough tokens. Restore rate: " + "9" * 200, None),
        ("not enough tokens. Restore rate: 0 / min", 0.0),
    ],
)
@pytest.mark.parametrize(("units", "at_most"), [(1, 0), (10, 9)])
def test_as_b53_b59_q4_the_bucket_lacks_tokens(text: str, per_s: float | None, units: int, at_most: int) -> None:
    error = failure(refusal(429, text), by_asin(*asins(units)), units)
    assert type(error) is Throttled
    assert (error.message, error.code, error.http_status) == (text, "bucket", 429)
    assert (error.consumed, error.retry_in_s) == ({}, None)
    assert error.observations == (Observation(limit="bucket", at_most=at_most, refill_per_s=per_s),)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "Rate limit exceeded"}', "Rate limit exceeded"),
        (b'{"message": "slow down"}', "rate limit exceeded"),
        (b"", "rate limit exceeded"),
        (b"{", "rate limit exceeded"),
        (b'{"error": 5}', "rate limit exceeded"),
        (PAGE, "rate limit exceeded"),
    ],
)
def test_as_b54_any_other_429_waits_a_while(body: bytes, message: str) -> None:
    """It names no limit, so nothing but this wait keeps the message from coming straight back."""
    error = failure(answer(body, 429))
    assert type(error) is Throttled
    assert (error.message, error.code, error.http_status, error.consumed) == (message, "rate_limit", 429, {})
    assert (error.observations, error.retry_in_s, RATE_LIMIT_WAIT_S) == ((), 5.0, 5.0)


@pytest.mark.parametrize("text", [DAY_TEXT, BUCKET_TEXT, "Rate limit exceeded"])
def test_as_b48_b54_advice_when_to_come_back_is_passed_on_though_none_is_documented(text: str) -> None:
    assert failure(answer({"error": text}, 429, retry_after="7")).retry_in_s == 7.0
    assert failure(answer({"error": text}, 429, retry_after="0")).retry_in_s == (5.0 if "Rate" in text else 0.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize(
    ("body", "said"), [(b'{"error": "oops"}', " oops"), (b"", ""), (b"[]", ""), (b"Bad Gateway", "")]
)
def test_as_b55_q3_q6_a_server_fault_may_have_been_charged(status: int, body: bytes, said: str) -> None:
    error = failure(answer(body, status))
    assert type(error) is ServerFault
    assert (error.message, error.code, error.http_status) == (f"HTTP {status}{said}", f"http_{status}", status)
    assert (error.consumed, error.observations, error.retry_in_s) == (None, (), None)
    assert failure(answer(body, status, retry_after="30")).retry_in_s == 30.0


@pytest.mark.parametrize("status", [101, 201, 202, 204, 206, 301, 302, 304, 402, 404, 405, 408, 410, 418, 451, 999])
def test_a_status_nobody_documents_is_tried_again_a_bounded_number_of_times(status: int) -> None:
    error = failure(refusal(status, "odd"))
    if status >= 500:
        assert type(error) is ServerFault
    else:
        assert type(error) is Transient
        assert error.message == f"unexpected HTTP {status} odd"
    assert (error.code, error.http_status, error.consumed) == (f"http_{status}", status, None)


def test_the_vendors_text_is_bounded_and_holds_no_key() -> None:
    Secret("asinscope-key-58213")
    error = failure(refusal(500, "x" * 290 + "asinscope-key-58213" + "y" * 10_000))
    assert error.message == "HTTP 500 " + "x" * 290 + "[redacted]"
    page = failure(answer(b"<html>" + b"x" * 1985 + b"asinscope-key-58213</html>"))
    assert page.evidence == "<html>" + "x" * 1985 + "[redacted"[:9]


# --- answers that do not have the documented form


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"items": [{"asin": "B0', b"null", b"[]", b"[" * 1_000_000, b'"x"', b"gone fishing", b"\xff\xfe"],
)
def test_a_200_that_is_no_json_object_is_a_bad_response(body: bytes) -> None:
    error = failure(answer(body))
    assert type(error) is BadResponse
    assert (error.http_status, error.consumed, error.observations) == (200, None, ())
    assert error.evidence == body.decode("utf-8", "replace")[:2000]


@pytest.mark.parametrize("field", list(USAGE))
def test_as_b15_to_b18_a_missing_usage_field_is_a_bad_response(field: str) -> None:
    document = {"items": [EXAMPLE_ITEM], **USAGE}
    del document[field]
    error = failure(answer(document))
    assert (type(error), error.message, error.http_status) == (BadResponse, f"{field}: Field required", 200)
    assert error.evidence == json.dumps(document)[:2000]


NO_WHOLE_NUMBERS = [None, True, False, 1.0, 1.5, "1", "", [], {}, float("nan"), float("inf"), 1e300]


@pytest.mark.parametrize("field", list(USAGE))
@pytest.mark.parametrize("value", [*NO_WHOLE_NUMBERS, 10**10, -(10**10), 10**400])
def test_as_b15_to_b18_usage_that_is_no_possible_whole_number_is_a_bad_response(field: str, value: Any) -> None:
    error = failure(products(EXAMPLE_ITEM, **{field: value}))
    assert type(error) is BadResponse
    assert error.message.startswith(f"{field}: Input should be ")


@pytest.mark.parametrize("field", ["msBeforeNextDailyToken", "consumedTokens"])
def test_as_b17_b18_less_than_nothing_is_a_bad_response(field: str) -> None:
    assert failure(products(**{field: -1})).message == f"{field}: Input should be greater than or equal to 0"


@pytest.mark.parametrize(("field", "limit"), [("dailyTokensLeft", "day"), ("bucketSize", "bucket")])
def test_as_b15_b16_an_overdrawn_account_is_no_reason_to_throw_a_paid_answer_away(field: str, limit: str) -> None:
    observations = read(EXAMPLE, products(EXAMPLE_ITEM, **{field: -3})).observations
    assert [seen.left for seen in observations if seen.limit == limit] == [-3]


@pytest.mark.parametrize("items", ["missing", None, {}, "x", 1, True])
def test_as_b14_items_that_are_no_array_are_a_bad_response(items: Any) -> None:
    document = {**USAGE} if items == "missing" else {"items": items, **USAGE}
    error = failure(answer(document))
    assert (type(error), error.message) == (BadResponse, "field items is no array")
    assert (error.http_status, error.evidence) == (200, json.dumps(document))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "asin: Field required"),
        ({"asin": None}, "asin: Input should be a valid string"),
        ({"asin": 1}, "asin: Input should be a valid string"),
        ({"asin": "B088H39PXX", "upc": 793610399007}, "upc: Input should be a valid string"),
        ({"asin": "B088H39PXX", "ean": ["0793610399007"]}, "ean: Input should be a valid string"),
        ({"asin": "B088H39PXX", "upcList": "793610399007"}, "upcList: Input should be a valid list"),
        ({"asin": "B088H39PXX", "eanList": [793610399007]}, "eanList.0: Input should be a valid string"),
        ("B088H39PXX", "the answer: Input should be a valid dictionary or instance of Item"),
        ([], "the answer: Input should be a valid dictionary or instance of Item"),
    ],
)
def test_as_b19_b20_b21_items_whose_identity_cannot_be_read_are_a_bad_response(item: Any, message: str) -> None:
    error = failure(products(EXAMPLE_ITEM, item))
    assert (type(error), error.message, error.consumed) == (BadResponse, message, None)


def test_a_bad_response_does_not_repeat_values() -> None:
    error = failure(products({"asin": "B088H39PXX", "upc": 424242}))
    assert "424242" not in error.message
    assert (error.__cause__, error.__context__) == (None, None)


def test_half_an_emoji_in_a_title_can_be_written_again() -> None:
    body = json.dumps({"items": [{"asin": "B088H39PXX", "title": "cut \ud83d"}], **USAGE}).encode()
    done = read(EXAMPLE, answer(body))
    assert done.data["items"][0]["title"] == "cut \ufffd"
