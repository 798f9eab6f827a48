"""Understanding a lookup's 200, without a network."""

from __future__ import annotations

from typing import Any

import pytest
from asinscope_answers import (
    EXAMPLE_ITEM,
    SEEN,
    USAGE,
    answer,
    asins,
    by_asin,
    products,
    read,
)

from providers.asinscope import LookupRequest
from providers.base import Done
from ratelimit.limits import Observation

EXAMPLE = by_asin("B088H39PXX")


# --- a lookup's 200


def test_as_b12_b14_b19_to_b30_every_field_of_an_item_is_passed_on_as_it_came() -> None:
    done = read(EXAMPLE, products(EXAMPLE_ITEM))
    assert done == Done(
        data={"items": [EXAMPLE_ITEM], "missing": []}, consumed={"day": 1, "bucket": 1}, observations=SEEN
    )


def test_as_b15_b16_b17_b18_the_usage_fields() -> None:
    """``bucketSize`` is what is left, not what fits; the reset is in milliseconds (22 h 55 min 24 s)."""
    usage = {"dailyTokensLeft": 17, "bucketSize": 3, "msBeforeNextDailyToken": 82524143, "consumedTokens": 2}
    reading = read(by_asin("B088H39PXX", "B01NAL48FU"), products(EXAMPLE_ITEM, **usage))
    assert reading.consumed == {"day": 2, "bucket": 2}
    assert reading.observations == [
        Observation(limit="day", left=17, capacity=None, reset_in_s=82524.143),
        Observation(limit="bucket", left=3, capacity=None, refill_per_s=None),
    ]


def test_as_b48_the_limits_are_read_from_the_body_alone() -> None:
    headers = {"x_ratelimit_remaining": "0", "ratelimit_reset": "9", "retry_after": "9"}
    assert read(EXAMPLE, answer({"items": [EXAMPLE_ITEM], **USAGE}, **headers)).observations == SEEN


def test_as_b18_what_was_charged_counts_not_what_was_claimed() -> None:
    assert read(by_asin(*asins(10)), products(consumedTokens=7)).consumed == {"day": 7, "bucket": 7}
    assert read(by_asin(*asins(10)), products(consumedTokens=0)).consumed == {"day": 0, "bucket": 0}


def test_as_q12_unknown_fields_and_other_numbers_are_kept() -> None:
    item = {**EXAMPLE_ITEM, "newField": {"deep": [1, None]}, "lowestNewPrice": 23, "bsr": None}
    assert read(EXAMPLE, products(item, brandNewUsage=1)).data["items"] == [item]


def test_as_b19_q12_an_item_of_an_asin_alone_is_an_item() -> None:
    assert read(EXAMPLE, products({"asin": "B088H39PXX"})).data == {"items": [{"asin": "B088H39PXX"}], "missing": []}


def test_as_b19_b20_b21_q12_every_field_but_the_asin_may_be_null() -> None:
    item = {**dict.fromkeys(EXAMPLE_ITEM), "asin": "B088H39PXX"}
    assert read(EXAMPLE, products(item)).data == {"items": [item], "missing": []}


# --- AS-Q1: codes without a product


def test_as_q1_a_code_that_is_not_among_the_items_is_missing_and_paid_for() -> None:
    request = by_asin("B000000001", "B088H39PXX", "B000000002")
    done = read(request, products(EXAMPLE_ITEM, consumedTokens=3))
    assert done.data == {"items": [EXAMPLE_ITEM], "missing": ["B000000001", "B000000002"]}
    assert done.consumed == {"day": 3, "bucket": 3}


def test_as_q1_no_item_at_all_is_a_result() -> None:
    assert read(EXAMPLE, products()).data == {"items": [], "missing": ["B088H39PXX"]}


@pytest.mark.parametrize("items", [[None], [None, EXAMPLE_ITEM, None]])
def test_as_q1_null_in_place_of_an_item_is_none(items: list[Any]) -> None:
    found = [item for item in items if item]
    assert read(EXAMPLE, products(*items)).data == {"items": found, "missing": [] if found else ["B088H39PXX"]}


# --- AS-Q11: barcodes


@pytest.mark.parametrize("kind", ["upc", "ean"])
@pytest.mark.parametrize("code", ["793610399007", "0793610399007", "00793610399007"])
@pytest.mark.parametrize(
    "fields",
    [
        {"upc": "793610399007"},
        {"ean": "0793610399007"},
        {"upcList": ["111111111111", "793610399007"], "upc": "111111111111"},
        {"eanList": ["0793610399007"], "ean": None},
        {"eanList": ["00793610399007"]},
        {"upcList": ["0793610399007"], "eanList": []},
    ],
)
def test_as_q11_barcodes_match_after_padding_wherever_they_stand(kind: str, code: str, fields: dict[str, Any]) -> None:
    request = LookupRequest.model_validate({kind: [code, "40063813"]})
    assert read(request, products({"asin": "B088H39PXX", **fields})).data["missing"] == ["40063813"]


def test_as_q11_an_asin_is_matched_by_asin_alone() -> None:
    request = by_asin("0793610399")
    item = {"asin": "B088H39PXX", "upc": "0793610399", "eanList": ["0793610399"]}
    assert read(request, products(item)).data["missing"] == ["0793610399"]


def test_as_q11_a_barcode_is_not_matched_by_asin() -> None:
    request = LookupRequest(upc=["0793610399"])
    assert read(request, products({"asin": "0793610399"})).data["missing"] == ["0793610399"]


def test_as_q11_several_items_for_a_code_and_several_codes_for_an_item_in_any_order() -> None:
    request = LookupRequest(upc=["793610399007", "012345678905", "098765432109", "111111111117"])
    items = [
        {"asin": "B000000009", "upcList": ["098765432109", "012345678905"]},
        {"asin": "B000000001", "upc": "793610399007"},
        {"asin": "B000000002", "upc": "793610399007"},
    ]
    assert read(request, products(*items)).data == {"items": items, "missing": ["111111111117"]}


def test_as_q11_empty_codes_in_an_item_match_nothing() -> None:
    request = LookupRequest(ean=["00000000"])
    item = {"asin": "B088H39PXX", "upc": "", "ean": "", "upcList": ["", ""], "eanList": []}
    assert read(request, products(item)).data["missing"] == ["00000000"]
