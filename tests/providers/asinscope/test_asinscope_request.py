"""What a lookup may be asked for: all of it is checked before anything is spent."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from asinscope_answers import LOOKUP, asins, by_asin
from pydantic import ValidationError

from providers.asinscope import Asinscope, Domain, LookupRequest
from ratelimit.limits import Claim

UPC = "012345678905"
DOMAINS = ["com", "ca", "de", "fr", "it", "nl", "es", "in", "uk", "jp", "au", "mx"]


def accepted(**arguments: Any) -> LookupRequest:
    """Read as Python values and as JSON, with the same result."""
    request = LookupRequest.model_validate(arguments)
    assert LookupRequest.model_validate_json(json.dumps(arguments)) == request
    return request


def refused(**arguments: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        LookupRequest.model_validate(arguments)
    return caught.value


# --- AS-B5: exactly one kind of identifier


@pytest.mark.parametrize("kind", ["asin", "upc", "ean"])
def test_as_b5_one_kind_of_identifier(kind: str) -> None:
    code = "B01NAL48FU" if kind == "asin" else UPC
    request = accepted(**{kind: [code]})
    assert (request.kind, request.codes) == (kind, [code])
    assert accepted(**{"asin": None, "upc": None, "ean": None, kind: [code]}) == request


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ({}, "none"),
        ({"domain": "de"}, "none"),
        ({"asin": None}, "none"),
        ({"asin": ["B01NAL48FU"], "upc": [UPC]}, "asin and upc"),
        ({"asin": ["B01NAL48FU"], "ean": [UPC]}, "asin and ean"),
        ({"upc": [UPC], "ean": [UPC]}, "upc and ean"),
        ({"asin": ["B01NAL48FU"], "upc": [UPC], "ean": [UPC]}, "asin and upc and ean"),
    ],
)
def test_as_b5_none_or_several_kinds_are_refused(arguments: dict[str, Any], got: str) -> None:
    assert f"give exactly one of asin, upc, ean; got {got} " in str(refused(**arguments)) + " "


# --- AS-B7, AS-B44: one to ten codes


@pytest.mark.parametrize("count", range(1, 11))
def test_as_b7_b44_one_to_ten_codes(count: int) -> None:
    assert accepted(asin=asins(count)).codes == asins(count)


@pytest.mark.parametrize("count", [0, 11, 12, 1000])
@pytest.mark.parametrize("kind", ["asin", "upc", "ean"])
def test_as_b7_b44_no_code_and_more_than_ten_are_refused(kind: str, count: int) -> None:
    codes = asins(count) if kind == "asin" else [f"{number:012d}" for number in range(count)]
    (error,) = refused(**{kind: codes}).errors()
    assert error["type"] == ("too_long" if count else "too_short")


def test_as_b7_eleven_times_the_same_code_is_eleven_codes() -> None:
    assert refused(asin=["B01NAL48FU"] * 11).errors()[0]["type"] == "too_long"


# --- AS-B8, AS-B9: the domain


def test_as_b8_the_domain_is_com_unless_said() -> None:
    assert accepted(asin=["B01NAL48FU"]).domain == "com"
    assert LOOKUP.build(by_asin("B01NAL48FU"), {}, 1).query == (("asin", "B01NAL48FU"), ("domain", "com"))


def test_as_b9_there_are_twelve_domains() -> None:
    assert list(get_args(Domain)) == DOMAINS


@pytest.mark.parametrize("domain", DOMAINS)
def test_as_b9_each_domain_is_sent_as_it_is(domain: str) -> None:
    request = accepted(asin=["B01NAL48FU"], domain=domain)
    assert dict(LOOKUP.build(request, {}, 1).query)["domain"] == domain


@pytest.mark.parametrize(
    "domain",
    ["co.uk", "co.jp", "com.au", "com.mx", "", "COM", "com ", " com", "com\n", ".com", "amazon.com", "us", "gb", "se",
     "com&key=x", "../com", None, 1, True, ["com"], b"com"],
)  # fmt: skip
def test_as_b9_q9_other_domains_are_refused(domain: Any) -> None:
    assert refused(asin=["B01NAL48FU"], domain=domain).errors()[0]["loc"] == ("domain",)


# --- AS-Q9: malformed codes, in every way that can travel in a query string

BAD_ANYWHERE = [
    "",
    " ",
    "\n",
    "\x00" * 10,
    "../../../x",
    "..%2f..%2f",
    "%2f%2f%2f%2",
    "%41%42%43%",
    "?key=abcde",
    "&key=abcde",
    "&domain=de",
    "#fragment0",
    "1234567890" * 1000,
    "ABCDEFGHIJ" * 1000,
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660",  # Arabic-Indic digits
    "\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e\u096f\u0966",  # Devanagari digits
    "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10",  # full-width digits
    "\u00b2\u00b3\u00b9\u2070\u2074\u2075\u2076\u2077\u2078\u2079",  # superscripts
    "\U0001d7cf" * 10,  # mathematical bold one
    None,
    1234567890,
    12345678.90,
    True,
    b"1234567890",
    ["1234567890"],
    {"code": "1234567890"},
]

BAD_ASINS = [
    "B01NAL48F",
    "B01NAL48FUX",
    "b01nal48fu",
    "B01NAL48Fu",
    "B01NAL48FU\n",
    "\nB01NAL48FU",
    "B01NAL48F\n",
    " B01NAL48FU",
    "B01NAL48FU ",
    "B01NAL 8FU",
    "B01NAL-8FU",
    "B01NAL_8FU",
    "B01NAL,8FU",
    "B01NAL48FU,B00NNUMI86",
    "B01%2f48FU",
    "B01/AL48FU",
    "B0?key=ABC",
    "\u0412\u041e1NAL48FU",  # Cyrillic letters that look like B and O
    "\uff2201NAL48FU",  # full-width B
    "B01NAL48F\u0663",
    "B01NAL48F\u00dc",
    "B01NAL48F\u200b",
    "B01NAL48F\x00",
]

BAD_BARCODES = [
    "1234567",
    "123456789012345",
    "12345678\n",
    "\n12345678",
    " 12345678",
    "12345678 ",
    "1234 5678",
    "-12345678",
    "+12345678",
    "1234567.8",
    "1234567e8",
    "0x12345678",
    "1_234_567",
    "12345678,87654321",
    "12345678%2f",
    "12345678?key=",
    "1234567X",
    "1234567\u0668",
    "12345678\u200b",
]


@pytest.mark.parametrize("code", BAD_ANYWHERE + BAD_ASINS)
def test_as_q9_malformed_asins_are_refused(code: Any) -> None:
    assert refused(asin=[code]).errors()[0]["loc"] == ("asin", 0)
    assert refused(asin=["B01NAL48FU", code]).errors()[0]["loc"] == ("asin", 1)


@pytest.mark.parametrize("kind", ["upc", "ean"])
@pytest.mark.parametrize("code", [code for code in BAD_ANYWHERE if code != "\n"] + BAD_BARCODES + ["B01NAL48FU"])
def test_as_q9_malformed_barcodes_are_refused(kind: str, code: Any) -> None:
    assert refused(**{kind: [code]}).errors()[0]["loc"] == (kind, 0)


@pytest.mark.parametrize("kind", ["asin", "upc", "ean"])
@pytest.mark.parametrize(
    "codes",
    ["B01NAL48FU", "012345678905", ("B01NAL48FU",), {"B01NAL48FU"}, {"B01NAL48FU": 1}, 1234567890, True, 1.5, b"x"],
)
def test_as_q9_codes_that_are_no_list_are_refused(kind: str, codes: Any) -> None:
    assert refused(**{kind: codes}).errors()[0]["type"] == "list_type"


@pytest.mark.parametrize("name", ["key", "api_key", "asins", "ASIN", "deadline_s", "page"])
def test_as_q9_arguments_that_do_not_exist_are_refused(name: str) -> None:
    assert refused(asin=["B01NAL48FU"], **{name: "x"}).errors()[0]["type"] == "extra_forbidden"


@pytest.mark.parametrize("code", ["B01NAL48FU", "0123456789", "0000000000", "ZZZZZZZZZZ"])
def test_as_q9_asins(code: str) -> None:
    assert accepted(asin=[code]).codes == [code]


@pytest.mark.parametrize("kind", ["upc", "ean"])
@pytest.mark.parametrize("code", ["12345678", "012345678905", "0793610399007", "00012345678905", "00000000000000"])
def test_as_b20_barcodes_are_text_with_their_zeros(kind: str, code: str) -> None:
    request = accepted(**{kind: [code]})
    assert LOOKUP.build(request, {}, 1).query[0] == (kind, code)


# --- AS-Q6: a code is paid for once


def test_as_q6_repeated_codes_are_asked_for_once_in_their_order() -> None:
    request = by_asin("B000000002", "B000000001", "B000000002", "B000000003", "B000000001")
    assert request.codes == ["B000000002", "B000000001", "B000000003"]
    assert LOOKUP.claim(request, {}) == Claim(costs={"day": 3, "bucket": 3}, at_least=1)
    assert LOOKUP.build(request, {}, 3).query[0] == ("asin", "B000000002,B000000001,B000000003")


def test_as_q6_ten_times_the_same_code_costs_one() -> None:
    assert LOOKUP.claim(by_asin(*["B01NAL48FU"] * 10), {}) == Claim(costs={"day": 1, "bucket": 1}, at_least=1)


# --- the request that is built


def test_as_b4_b6_b10_the_call() -> None:
    call = LOOKUP.build(by_asin("B01NAL48FU", "B00NNUMI86"), {}, 2)
    assert (call.method, call.path, call.json) == ("GET", "/products/lookup", None)
    assert call.query == (("asin", "B01NAL48FU,B00NNUMI86"), ("domain", "com"))


def test_as_b13_the_vendors_own_thirty_seconds() -> None:
    assert LOOKUP.build(by_asin("B01NAL48FU"), {}, 1).deadline_s == 30.0


@pytest.mark.parametrize("count", range(1, 11))
def test_as_b11_b45_b46_a_token_of_both_limits_for_each_code(count: int) -> None:
    assert LOOKUP.claim(by_asin(*asins(count)), {}) == Claim(costs={"day": count, "bucket": count}, at_least=1)


def test_as_b31_the_probe_has_no_parameter_of_its_own() -> None:
    call = Asinscope().probe()
    assert (call.method, call.path, call.query, call.json, call.deadline_s) == ("GET", "/account/tokens", (), None, 10)


def test_as_b1_b2_where_and_with_what() -> None:
    assert Asinscope.base_url == "https://api.asinscope.com"
    assert Asinscope.credential.parameter == "key"


@pytest.mark.parametrize(
    ("plan", "day", "capacity", "per_minute"), [("basic", 1_000, 60, 10), ("pro", 10_000, 120, 60)]
)
def test_as_b41_b42_b43_plans(plan: str, day: int, capacity: int, per_minute: int) -> None:
    limits = Asinscope().limits(plan)
    assert [limit.name for limit in limits.limits] == ["day", "bucket"]
    assert limits["day"].limit == day
    assert (limits["bucket"].capacity, limits["bucket"].refill_per_s) == (capacity, per_minute / 60)
    assert limits.max_age_s == 60


def test_as_b49_without_a_plan_the_vendor_is_asked() -> None:
    limits = Asinscope().limits(None)
    assert (limits["day"].limit, limits["bucket"].capacity, limits["bucket"].refill_per_s) == (None, None, None)
    assert limits.max_age_s == 60


def test_as_b55_a_first_attempt_and_three_more() -> None:
    assert Asinscope.max_attempts == 4
