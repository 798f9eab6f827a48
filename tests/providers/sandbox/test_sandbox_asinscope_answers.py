"""What ASINScope accepts, answers and refuses, row by row of its fact sheet."""

from __future__ import annotations

import pytest
from sandbox_calls import KEY, Clock, asins, lookup, tokens

from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.ledger import fingerprint
from providers.sandbox.vendor import KeyState

ITEM_FIELDS = {
    "asin": str,
    "ean": str,
    "upc": str,
    "mpn": str,
    "bsr": int,
    "category": str,
    "brand": str,
    "title": str,
    "productGroup": str,
    "lowestNewPrice": float,
    "lowestFormattedPrice": str,
    "soldByAmazon": bool,
    "packageDimensions": dict,
    "upcList": list,
    "eanList": list,
    "totalNew": int,
    "smallImage": str,
    "mediumImage": str,
    "images": list,
}
DOMAINS = ["com", "ca", "de", "fr", "it", "nl", "es", "in", "uk", "jp", "au", "mx"]


def test_as_b12_top_level_of_a_lookup(pro: AsinscopeSandbox) -> None:
    body = lookup(pro, asin="B088H39PXX").body
    assert {name: value for name, value in body.items() if name != "items"} == {
        "dailyTokensLeft": 9_999,
        "bucketSize": 119,
        "msBeforeNextDailyToken": 86_400_000,
        "consumedTokens": 1,
    }


def test_as_b19_to_b30_item_fields_and_types(pro: AsinscopeSandbox) -> None:
    (item,) = lookup(pro, asin="B088H39PXX").body["items"]
    assert {name: type(value) for name, value in item.items()} == ITEM_FIELDS
    assert item["asin"] == "B088H39PXX"
    assert (len(item["upc"]), item["ean"]) == (12, "0" + item["upc"])
    assert (item["upcList"], item["eanList"]) == ([item["upc"]], [item["ean"]])
    assert item["lowestFormattedPrice"] == f"${item['lowestNewPrice']:,.2f}"
    assert sorted(item["packageDimensions"]) == ["height", "length", "weight", "width"]
    assert item["smallImage"] == item["mediumImage"] == item["images"][0]


def test_items_depend_on_the_code_alone(pro: AsinscopeSandbox, basic: AsinscopeSandbox) -> None:
    assert lookup(pro, asin=asins(10)).body["items"] == lookup(basic, asin=asins(10)).body["items"]


def test_as_b20_b21_upc_lookup_keeps_leading_zeros(pro: AsinscopeSandbox) -> None:
    (item,) = lookup(pro, upc="012345678905").body["items"]
    assert (item["upc"], item["ean"]) == ("012345678905", "0012345678905")
    assert (item["upcList"], item["eanList"]) == (["012345678905"], ["0012345678905"])
    assert (len(item["asin"]), item["asin"][:2]) == (10, "B0")


def test_as_b20_b21_ean_lookup(pro: AsinscopeSandbox) -> None:
    (item,) = lookup(pro, ean="0793610399007").body["items"]
    assert (item["upc"], item["ean"], item["eanList"]) == ("793610399007", "0793610399007", ["0793610399007"])
    (item,) = lookup(pro, ean="4006381333931").body["items"]
    assert (item["upc"], item["upcList"], item["eanList"]) == (None, [], ["4006381333931"])


def test_as_q1_a_code_without_product_is_left_out_and_charged(pro: AsinscopeSandbox) -> None:
    body = lookup(pro, asin="B0MISS0001,B088H39PXX,B0MISS0002").body
    assert ([item["asin"] for item in body["items"]], body["consumedTokens"]) == (["B088H39PXX"], 3)
    assert lookup(pro, upc="000000123456").body["items"] == []
    assert lookup(pro, ean="0000001234567").body["items"] == []


def test_as_q1_codes_can_be_declared_unknown(clock: Clock) -> None:
    sandbox = AsinscopeSandbox(keys={KEY: "active"}, clock=clock, unknown={"B000000001"})
    assert [item["asin"] for item in lookup(sandbox, asin=asins(3)).body["items"]] == ["B000000000", "B000000002"]


def test_as_q6_repeated_codes_are_charged_each_time(pro: AsinscopeSandbox) -> None:
    body = lookup(pro, asin="B088H39PXX,B088H39PXX,B088H39PXX").body
    assert (len(body["items"]), body["consumedTokens"], body["bucketSize"]) == (1, 3, 117)


def test_as_q11_one_code_with_two_products(clock: Clock) -> None:
    sandbox = AsinscopeSandbox("pro", keys={KEY: "active"}, clock=clock, multi={"012345678905"})
    body = lookup(sandbox, upc="012345678905,098765432109").body
    assert sorted(item["upcList"][0] for item in body["items"]) == ["012345678905"] * 2 + ["098765432109"]
    assert (len({item["asin"] for item in body["items"]}), body["consumedTokens"]) == (3, 2)


def test_as_q11_items_come_in_no_order_of_the_request(pro: AsinscopeSandbox) -> None:
    codes = asins(10).split(",")
    body = lookup(pro, asin=",".join(reversed(codes))).body
    assert [item["asin"] for item in body["items"]] == codes


def test_as_b19_q12_sparse_items_have_an_asin_only(clock: Clock) -> None:
    sandbox = AsinscopeSandbox(keys={KEY: "active"}, clock=clock, sparse={"B088H39PXX"})
    assert lookup(sandbox, asin="B088H39PXX").body["items"] == [{"asin": "B088H39PXX"}]


@pytest.mark.parametrize("domain", DOMAINS)
def test_as_b9_the_twelve_domains(pro: AsinscopeSandbox, domain: str) -> None:
    assert lookup(pro, asin="B088H39PXX", domain=domain).status == 200


def test_as_b8_domain_defaults_to_com(pro: AsinscopeSandbox) -> None:
    default, com, de = (lookup(pro, asin="B088H39PXX", **more) for more in ({}, {"domain": "com"}, {"domain": "de"}))
    assert default.body["items"] == com.body["items"]
    assert default.body["items"] != de.body["items"]


@pytest.mark.parametrize("count", [1, 10])
def test_as_b7_one_to_ten_codes(pro: AsinscopeSandbox, count: int) -> None:
    assert lookup(pro, asin=asins(count)).status == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"asin": asins(11)},  # AS-B7
        {},  # AS-B5
        {"domain": "com"},
        {"asin": "B088H39PXX", "upc": "012345678905"},  # AS-B5
        {"upc": "012345678905", "ean": "4006381333931"},
        {"asin": "B088H39PXX", "upc": ""},
        {"asin": ""},  # AS-Q9
        {"asin": "B088H39PXX,"},
        {"asin": "B088H39PX"},
        {"asin": "b088h39pxx"},
        {"asin": "B088H39PXX, B088H39PXX"},
        {"asin": asins(9) + ",nonsense"},  # AS-Q10
        {"upc": "B088H39PXX"},
        {"ean": "123"},
        {"asin": "B088H39PXX", "domain": ""},
        {"asin": "B088H39PXX", "domain": "co.uk"},  # AS-B9
        {"asin": "B088H39PXX", "domain": "com.au"},
    ],
)
def test_as_b50_malformed_is_400_and_free(pro: AsinscopeSandbox, parameters: dict[str, str]) -> None:
    reply = lookup(pro, **parameters)
    assert (reply.status, list(reply.body)) == (400, ["error"])
    assert (pro.left()["day"], pro.left()["bucket"], pro.ledger.consumed()) == (10_000, 120, 0)


@pytest.mark.parametrize("name", ["asin", "domain"])
def test_as_b6_a_repeated_parameter_is_400(pro: AsinscopeSandbox, name: str) -> None:
    query = {"key": [KEY], "asin": ["B088H39PXX"], "domain": ["com"]}
    query[name] = query[name] * 2
    assert pro.handle("GET", "/products/lookup", query).status == 400


def test_as_b50_is_told_before_an_empty_bucket(pro: AsinscopeSandbox) -> None:
    pro.set_left(day=0, bucket=0)
    assert lookup(pro, asin=asins(11)).status == 400


@pytest.mark.parametrize(
    ("key", "on_lookup", "on_tokens"),
    [
        (None, (401, "Missing API key."), (400, "Missing API key.")),  # AS-B51, AS-B56, AS-Q2
        ("", (401, "Missing API key."), (400, "Missing API key.")),
        ("never-issued", (401, "Invalid API key."), (401, "Invalid API key.")),  # AS-B51, AS-B57
        ("was-revoked", (401, "Invalid API key."), (401, "Invalid API key.")),
        ("unpaid", (403, "No active subscription."), (403, "No active subscription.")),  # AS-Q13, AS-B58
    ],
)
def test_as_b51_b56_b57_b58_keys(
    pro: AsinscopeSandbox, key: str | None, on_lookup: tuple[int, str], on_tokens: tuple[int, str]
) -> None:
    pro.set_key("was-revoked", "revoked")
    pro.set_key("unpaid", KeyState.NO_SUBSCRIPTION)
    replies = (lookup(pro, key=key, asin=asins(1)), tokens(pro, key=key))
    assert [(reply.status, reply.body) for reply in replies] == [
        (status, {"error": text}) for status, text in (on_lookup, on_tokens)
    ]
    assert (pro.left()["day"], pro.left()["bucket"]) == (10_000, 120)


def test_keys_change_at_run_time(pro: AsinscopeSandbox) -> None:
    statuses = []
    for state in ("no_subscription", "revoked", "active"):
        pro.set_key(KEY, state)
        statuses.append(lookup(pro, asin=asins(1)).status)
    assert statuses == [403, 401, 200]
    with pytest.raises(ValueError, match="'asleep' is not a valid KeyState"):
        pro.set_key(KEY, "asleep")


def test_unknown_path_and_method(pro: AsinscopeSandbox) -> None:
    assert pro.handle("GET", "/v1/products/lookup", {"key": [KEY]}).status == 404  # AS-B1: no version segment
    assert pro.handle("POST", "/products/lookup", {"key": [KEY]}).status == 405  # AS-B4
    assert pro.handle("POST", "/account/tokens", {"key": [KEY]}).status == 405  # AS-B31


def test_ledger_records_every_request(pro: AsinscopeSandbox, clock: Clock) -> None:
    lookup(pro, asin="B088H39PXX,B0MISS0001")
    clock.step(2.5)
    pro.set_left(bucket=0)
    lookup(pro, upc="012345678905")
    tokens(pro)
    granted, refused, asked = pro.ledger.entries()
    assert (granted.at_s, granted.status, granted.vendor_status, granted.cost, granted.counted) == (
        1000.0,
        200,
        200,
        2,
        True,
    )
    assert (granted.asked, granted.day_left, granted.bucket_left) == (("B088H39PXX", "B0MISS0001"), 9_998, 118)
    assert (refused.at_s, refused.status, refused.asked, refused.cost) == (1002.5, 429, ("012345678905",), 1)
    assert (refused.counted, refused.day_left, refused.bucket_left) == (False, 9_998, 0)
    assert (asked.path, asked.status, asked.asked, asked.cost) == ("/account/tokens", 200, (), 0)
    assert {entry.key_fingerprint for entry in pro.ledger.entries()} == {fingerprint(KEY)}
    assert pro.ledger.broken_limits() == [refused]
    assert pro.ledger.by_status() == {200: 2, 429: 1}
    assert pro.ledger.by_status("/products/lookup") == {200: 1, 429: 1}
    assert pro.ledger.consumed() == 2
    assert pro.ledger.entries(since=2) == (asked,)


def test_as_b2_the_key_is_kept_nowhere(pro: AsinscopeSandbox) -> None:
    lookup(pro, asin=asins(1))
    seen = f"{pro.ledger.entries()} {pro.summary()} {vars(pro)}"
    assert KEY not in seen
