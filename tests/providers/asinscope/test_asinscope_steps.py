"""Lookups in several steps: a claim that was divided, codes that are refused. Without a network."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from asinscope_answers import (
    LOOKUP,
    PAGE,
    SEEN,
    answer,
    asins,
    by_asin,
    products,
    read,
    refusal,
    run,
)

from providers.asinscope import LookupRequest
from providers.base import More, Reply
from providers.errors import (
    Challenge,
    InvalidRequest,
    ProviderError,
)
from ratelimit.limits import Claim

EXAMPLE = by_asin("B088H39PXX")


def failure(reply: Reply, request: LookupRequest = EXAMPLE, units: int = 1) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        LOOKUP.read(request, {}, units, reply)
    return caught.value


# --- AS-Q5: a claim that was divided


def test_as_q5_a_day_with_little_left_is_used_up_in_steps() -> None:
    """The claim may be granted in part; the codes that did not fit stay pending, and the items add up."""
    codes = asins(10)
    grants = iter([3, 1, 6])

    def vendor(asked: list[str]) -> Reply:
        found = [{"asin": code} for code in asked if code != codes[4]]
        return products(*found, consumedTokens=len(asked))

    course = run(by_asin(*codes), vendor, grant=lambda claimed: next(grants))
    assert course.asked == [codes[:3], codes[3:4], codes[4:]]
    assert course.claimed == [10, 7, 6]
    assert course.done.data == {
        "items": [{"asin": code} for code in codes if code != codes[4]],
        "missing": [codes[4]],
    }
    assert course.consumed == 10
    assert [(step.after_s, step.refresh) for step in course.steps] == [(0.0, False)] * 2
    assert all(list(step.observations) == SEEN for step in course.steps)


def test_as_q4_q5_a_claim_can_be_divided_down_to_one_code() -> None:
    assert LOOKUP.claim(by_asin(*asins(10)), {}) == Claim(costs={"day": 10, "bucket": 10}, at_least=1)
    assert LOOKUP.claim(by_asin(*asins(10)), {"pending": asins(2)}) == Claim(costs={"day": 2, "bucket": 2}, at_least=1)


def test_as_q5_progress_is_plain_json_and_not_changed_by_the_next_step() -> None:
    request = by_asin(*asins(4))
    first = read(request, products({"asin": asins(1)[0]}), units=2)
    assert isinstance(first, More)
    kept = json.dumps(first.progress)
    assert json.loads(kept) == first.progress
    second = read(request, products(), first.progress)
    assert json.dumps(first.progress) == kept
    assert second.data == {"items": [{"asin": asins(1)[0]}], "missing": asins(4)[1:]}


# --- AS-B50, AS-Q10: a 400 for several codes


def spoiled_by(*bad: str) -> Callable[[list[str]], Reply]:
    """A vendor that refuses any request with a bad code in it, whole and free."""

    def vendor(asked: list[str]) -> Reply:
        if set(asked) & set(bad):
            return refusal(400, "Malformed asin.")
        return products(*({"asin": code} for code in asked), consumedTokens=len(asked))

    return vendor


def test_as_q10_one_refused_code_is_found_by_asking_for_each_alone() -> None:
    codes = asins(4)
    course = run(by_asin(*codes), spoiled_by(codes[2]))
    assert course.asked == [codes, *([code] for code in codes)]
    assert course.claimed == [4, 1, 1, 1, 1]
    assert course.done.data == {
        "items": [{"asin": code} for code in codes if code != codes[2]],
        "missing": [codes[2]],
        "refused": [codes[2]],
    }
    assert course.consumed == 3


@pytest.mark.parametrize("bad", [0, 9])
def test_as_q10_the_first_or_the_last_of_ten_is_refused(bad: int) -> None:
    codes = asins(10)
    course = run(by_asin(*codes), spoiled_by(codes[bad]))
    assert len(course.asked) == 11
    assert course.done.data["refused"] == course.done.data["missing"] == [codes[bad]]
    assert [item["asin"] for item in course.done.data["items"]] == [code for code in codes if code != codes[bad]]
    assert course.consumed == 9


def test_as_q10_each_code_is_tried_alone_exactly_once_when_all_are_refused() -> None:
    codes, asked = asins(3), []

    def vendor(codes_asked: list[str]) -> Reply:
        asked.append(codes_asked)
        return refusal(400, "Malformed asin.")

    with pytest.raises(InvalidRequest) as caught:
        run(by_asin(*codes), vendor)
    assert asked == [codes, *([code] for code in codes)]
    assert caught.value.message == "the provider refused the request: Malformed asin."
    assert (caught.value.http_status, caught.value.consumed) == (400, {})


def test_as_q10_refused_and_missing_codes_are_both_missing() -> None:
    codes = asins(3)

    def vendor(asked: list[str]) -> Reply:
        return refusal(400) if codes[1] in asked else products(consumedTokens=len(asked))

    course = run(by_asin(*codes), vendor)
    assert course.done.data == {"items": [], "missing": [codes[0], codes[2], codes[1]], "refused": [codes[1]]}


def test_as_q10_with_q5_a_part_that_is_refused_is_divided_further() -> None:
    """Six of ten were granted and refused: they and the four others are asked for alone."""
    codes = asins(10)
    course = run(by_asin(*codes), spoiled_by(codes[0]), grant=lambda claimed: min(claimed, 6))
    assert course.asked == [codes[:6], *([code] for code in codes)]
    assert (course.consumed, course.done.data["refused"]) == (9, [codes[0]])


def test_as_q10_with_q5_what_was_found_before_the_refusal_is_kept() -> None:
    codes = asins(5)
    grants = iter([2, 3, 1, 1, 1])
    course = run(by_asin(*codes), spoiled_by(codes[4]), grant=lambda claimed: next(grants))
    assert course.asked == [codes[:2], codes[2:], *([code] for code in codes[2:])]
    assert [item["asin"] for item in course.done.data["items"]] == codes[:4]
    assert (course.done.data["refused"], course.consumed) == ([codes[4]], 4)


def test_as_q6_a_refused_request_spent_nothing_and_what_is_left_is_asked_for_again() -> None:
    more = read(by_asin(*asins(10)), refusal(400))
    assert isinstance(more, More)
    assert (more.consumed, more.refresh, list(more.observations)) == ({"day": 0, "bucket": 0}, True, [])
    assert more.progress == {"items": [], "missing": [], "refused": [], "alone": True, "pending": asins(10)}


def test_as_b50_one_code_that_is_refused_is_an_invalid_request() -> None:
    error = failure(refusal(400, "Malformed asin."))
    assert type(error) is InvalidRequest
    assert (error.message, error.http_status) == ("the provider refused the request: Malformed asin.", 400)
    assert (error.consumed, error.observations, error.retry_in_s) == ({}, (), None)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'"x"', b"{}", b'{"error": null}', b'{"error": 1}', b'{"error": {}}']
)
def test_as_b50_q3_the_body_of_a_400_is_never_relied_upon(body: bytes) -> None:
    error = failure(answer(body, 400))
    assert type(error) is InvalidRequest
    assert error.message == "the provider refused the request: missing or malformed parameter"


def test_a_challenge_page_with_status_400_refuses_no_code() -> None:
    for request in (EXAMPLE, by_asin(*asins(3))):
        error = failure(answer(PAGE, 400), request, 3)
        assert (type(error), error.http_status, error.consumed) == (Challenge, 400, None)
