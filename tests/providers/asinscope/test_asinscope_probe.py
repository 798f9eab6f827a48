"""Understanding the answers of ``/account/tokens``, without a network."""

from __future__ import annotations

from typing import Any

import pytest
from asinscope_answers import (
    PAGE,
    TOKENS,
    answer,
    refusal,
)

from providers.asinscope import Asinscope
from providers.base import Reply
from providers.errors import (
    AccountError,
    BadResponse,
    Challenge,
    ProviderError,
    ServerFault,
    Throttled,
    Transient,
)
from ratelimit.limits import Observation

PROVIDER = Asinscope()


def probe_failure(reply: Reply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        PROVIDER.read_probe(reply)
    return caught.value


# --- /account/tokens


def test_as_b34_to_b40_the_six_fields() -> None:
    assert PROVIDER.read_probe(answer(TOKENS)) == [
        Observation(limit="day", left=9812, capacity=10000, reset_in_s=82524.143),
        Observation(limit="bucket", left=119, capacity=120, refill_per_s=1.0),
    ]


def test_as_b34_other_fields_are_ignored_and_a_rate_may_have_a_fraction() -> None:
    day, bucket = PROVIDER.read_probe(answer({**TOKENS, "plan": "pro", "tokensPerMinute": 7.5}))
    assert (day.left, bucket.refill_per_s) == (9812, 0.125)


@pytest.mark.parametrize("field", list(TOKENS))
def test_as_b35_to_b40_a_missing_field_is_a_bad_response(field: str) -> None:
    document = {name: value for name, value in TOKENS.items() if name != field}
    error = probe_failure(answer(document))
    assert (type(error), error.message, error.http_status) == (BadResponse, f"{field}: Field required", 200)


@pytest.mark.parametrize("field", list(TOKENS))
@pytest.mark.parametrize("value", [None, True, "60", "", [], {}, float("nan"), float("inf"), 1e300, 10**10, 10**400])
def test_as_b35_to_b40_what_is_no_possible_number_is_a_bad_response(field: str, value: Any) -> None:
    error = probe_failure(answer({**TOKENS, field: value}))
    assert type(error) is BadResponse
    assert error.message.startswith(f"{field}: Input should be ")


@pytest.mark.parametrize("field", [field for field in TOKENS if not field.endswith("Left")])
def test_as_b35_to_b40_less_than_nothing_is_a_bad_response(field: str) -> None:
    error = probe_failure(answer({**TOKENS, field: -1}))
    assert error.message == f"{field}: Input should be greater than or equal to 0"


def test_as_b35_b37_b39_an_account_may_be_empty_overdrawn_and_without_refill() -> None:
    document = {**TOKENS, "dailyTokensLeft": -2, "minutelyTokensLeft": 0, "tokensPerMinute": 0}
    day, bucket = PROVIDER.read_probe(answer(document))
    assert (day.left, bucket.left, bucket.refill_per_s) == (-2, 0, 0.0)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "the provider says that the key is missing: set ASINSCOPE_API_KEY"),
        (401, "the provider does not know this key: set ASINSCOPE_API_KEY to a valid one"),
        (403, "the key has no active subscription: subscribe or pay in the provider's dashboard"),
    ],
)
@pytest.mark.parametrize("body", [b'{"error": "no"}', b"", b"[]"])
def test_as_b56_b57_b58_q2_q3_what_the_probe_says_about_the_key(status: int, advice: str, body: bytes) -> None:
    error = probe_failure(answer(body, status))
    assert type(error) is AccountError
    assert (error.message, error.code, error.http_status, error.consumed) == (advice, f"http_{status}", status, {})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 503])
def test_a_page_in_place_of_the_probes_answer_is_a_challenge(status: int) -> None:
    assert type(probe_failure(answer(PAGE, status))) is Challenge


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, Throttled), (500, ServerFault), (503, ServerFault), (404, Transient), (302, Transient)],
)
def test_other_answers_to_the_probe(status: int, expected: type[ProviderError]) -> None:
    assert type(probe_failure(refusal(status))) is expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 1_000_000])
def test_a_probes_answer_that_is_no_json_object_is_a_bad_response(body: bytes) -> None:
    assert type(probe_failure(answer(body))) is BadResponse
