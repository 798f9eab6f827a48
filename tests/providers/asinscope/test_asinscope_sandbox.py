"""The adapter and the client together against the sandboxed vendor, over HTTP on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asinscope_answers import LOOKUP, asins, by_asin
from loopback import Listener, response, say, shown, within

from providers.asinscope import Asinscope, LookupRequest
from providers.base import Call, Done, More
from providers.errors import (
    AccountError,
    BadResponse,
    Challenge,
    NoAnswer,
    NotSent,
    ProviderError,
    QuotaExhausted,
    ResponseTooLarge,
    ServerFault,
    Throttled,
)
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopePlan, AsinscopeSandbox
from providers.sandbox.faults import KINDS, Fault
from providers.sandbox.server import SandboxServer
from providers.secret import Secret
from ratelimit.limits import Observation

KEY = "asinscope-sandbox-key+7/="
CORE = "asinscope-sandbox-key"
PROVIDER = Asinscope()


class Clock:
    """Stands still, so that every figure is exact."""

    def __call__(self) -> float:
        return 1000.0


@pytest.fixture
def sandbox() -> AsinscopeSandbox:
    return AsinscopeSandbox(
        "pro", keys={KEY: "active"}, clock=Clock(), multi={"793610399007"}, sparse={"B0SPARSE01"}, day_left_s=5000.5
    )


@pytest.fixture
def server(sandbox: AsinscopeSandbox) -> Iterator[SandboxServer]:
    with SandboxServer(sandbox) as running:
        yield running


def client_of(url: str, key: str = KEY) -> HttpClient:
    return HttpClient(url, Asinscope.credential, Secret(key))


@pytest.fixture
def client(server: SandboxServer) -> Iterator[HttpClient]:
    with client_of(server.url) as http_client:
        yield http_client


def hasty(call: Call, deadline_s: float | None) -> Call:
    if deadline_s is None:
        return call
    return Call(method=call.method, path=call.path, query=call.query, deadline_s=deadline_s)


def lookup(
    client: HttpClient, request: LookupRequest, progress: Any = None, units: int = 0, deadline_s: float | None = None
) -> Done | More:
    progress = progress or {}
    units = units or LOOKUP.claim(request, progress).costs["day"]
    reply = client.send(hasty(LOOKUP.build(request, progress, units), deadline_s))
    return LOOKUP.read(request, progress, units, reply)


def probe(client: HttpClient, deadline_s: float | None = None) -> Any:
    return PROVIDER.read_probe(client.send(hasty(PROVIDER.probe(), deadline_s)))


def failure(step: Callable[..., Any], *arguments: Any, **named: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        step(*arguments, **named)
    return caught.value


# --- answers


def test_as_b4_b11_b12_b14_b15_b16_b17_b18_a_lookup_by_asin(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    codes = asins(3)
    done = lookup(client, by_asin(*codes))
    assert isinstance(done, Done)
    assert [item["asin"] for item in done.data["items"]] == codes
    assert done.data["missing"] == []
    assert done.consumed == {"day": 3, "bucket": 3}
    assert done.observations == [
        Observation(limit="day", left=9997, reset_in_s=5000.5),
        Observation(limit="bucket", left=117),
    ]
    (entry,) = sandbox.ledger.entries()
    assert (entry.path, entry.asked, entry.cost, entry.counted) == ("/products/lookup", tuple(codes), 3, True)


@pytest.mark.parametrize("kind", ["upc", "ean"])
@pytest.mark.parametrize("code", ["012345678905", "4006381333931", "12345678", "00793610399014"])
def test_as_b5_b6_b20_b21_a_lookup_by_barcode(
    client: HttpClient, sandbox: AsinscopeSandbox, kind: str, code: str
) -> None:
    done = lookup(client, LookupRequest.model_validate({kind: [code, "0793610399021"]}))
    assert (len(done.data["items"]), done.data["missing"]) == (2, [])
    assert sandbox.ledger.entries()[0].asked == (code, "0793610399021")


def test_as_b7_b11_b44_b46_ten_codes_cost_ten_however_they_are_sent(
    client: HttpClient, sandbox: AsinscopeSandbox
) -> None:
    assert lookup(client, by_asin(*asins(10))).consumed == {"day": 10, "bucket": 10}
    assert sum(lookup(client, by_asin(code)).consumed["day"] for code in asins(10)) == 10
    assert (sandbox.ledger.consumed(), sandbox.left()["day"]) == (20, 9980)


@pytest.mark.parametrize("domain", ["com", "ca", "de", "fr", "it", "nl", "es", "in", "uk", "jp", "au", "mx"])
def test_as_b8_b9_b10_every_domain_is_understood(client: HttpClient, domain: str) -> None:
    assert len(lookup(client, LookupRequest.model_validate({"asin": asins(2), "domain": domain})).data["items"]) == 2


def test_as_q1_a_code_without_a_product(client: HttpClient) -> None:
    done = lookup(client, by_asin("B0MISS0001", *asins(1)))
    assert ([item["asin"] for item in done.data["items"]], done.data["missing"]) == (asins(1), ["B0MISS0001"])
    assert done.consumed == {"day": 2, "bucket": 2}


def test_as_q6_a_repeated_code_is_sent_and_paid_for_once(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    done = lookup(client, by_asin(*asins(2), *asins(2)))
    assert (done.consumed, sandbox.ledger.entries()[0].asked) == ({"day": 2, "bucket": 2}, tuple(asins(2)))


def test_as_q11_a_code_with_two_products(client: HttpClient) -> None:
    done = lookup(client, LookupRequest(upc=["793610399007"]))
    assert (len(done.data["items"]), done.data["missing"]) == (2, [])


def test_as_b19_q12_an_item_of_an_asin_alone(client: HttpClient) -> None:
    assert lookup(client, by_asin("B0SPARSE01")).data == {"items": [{"asin": "B0SPARSE01"}], "missing": []}


def test_as_q5_a_lookup_in_two_parts(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.set_left(day=4)
    request = by_asin(*asins(10))
    first = lookup(client, request, units=4)
    assert isinstance(first, More)
    assert (first.consumed, first.observations[0].left) == ({"day": 4, "bucket": 4}, 0)
    assert type(failure(lookup, client, request, first.progress)) is QuotaExhausted
    sandbox.set_left(day=100)
    last = lookup(client, request, first.progress)
    assert isinstance(last, Done)
    assert [item["asin"] for item in last.data["items"]] == asins(10)
    assert sandbox.ledger.consumed() == 10


def test_as_q10_a_vendor_that_refuses_several_codes_answers_each_alone(server: SandboxServer) -> None:
    server.sandbox.set_plan(
        {"bucket_capacity": 60, "tokens_per_minute": 10, "daily_tokens": 1000, "codes_per_request": 2}
    )
    request, progress, steps = by_asin(*asins(3)), {}, 0
    with client_of(server.url) as client:
        while isinstance(reading := lookup(client, request, progress), More):
            progress, steps = reading.progress, steps + 1
    assert (steps, [item["asin"] for item in reading.data["items"]]) == (3, asins(3))
    assert [entry.vendor_status for entry in server.sandbox.ledger.entries()] == [400, 200, 200, 200]
    assert server.sandbox.ledger.consumed() == 3


def test_as_b31_to_b40_b49_the_probe_costs_nothing(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    lookup(client, by_asin(*asins(5)))
    expected = [
        Observation(limit="day", left=9995, capacity=10_000, reset_in_s=5000.5),
        Observation(limit="bucket", left=115, capacity=120, refill_per_s=1.0),
    ]
    assert [probe(client), probe(client)] == [expected, expected]
    assert sandbox.left() == {"day": 9995, "bucket": 115, "ms_to_reset": 5_000_500}


def test_as_q8_the_probe_answers_while_all_is_used_up(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.set_left(day=0, bucket=0)
    assert [seen.left for seen in probe(client)] == [0, 0]


@pytest.mark.parametrize("plan", ["basic", "pro"])
def test_as_b41_b42_b43_the_vendor_tells_the_numbers_that_the_plan_declares(server: SandboxServer, plan: str) -> None:
    server.sandbox.set_plan(plan)
    with client_of(server.url) as client:
        day, bucket = probe(client)
    limits = PROVIDER.limits(plan)
    assert day.capacity == limits["day"].limit
    assert (bucket.capacity, bucket.refill_per_s) == (limits["bucket"].capacity, limits["bucket"].refill_per_s)


def test_as_b2_the_key_is_sent_with_every_request_to_both_endpoints() -> None:
    with Listener(say(response(b'{"error": "x"}', "500 Oops"))) as listener, client_of(listener.url) as client:
        for step in (lambda: lookup(client, by_asin(*asins(2))), lambda: probe(client)):
            assert type(failure(step)) is ServerFault
    targets = [head.split(b" ")[1].decode() for head in listener.heads]
    assert targets == [
        "/products/lookup?asin=B000000000%2CB000000001&domain=com&key=asinscope-sandbox-key%2B7%2F%3D",
        "/account/tokens?key=asinscope-sandbox-key%2B7%2F%3D",
    ]


# --- refusals


def test_as_b51_b57_a_key_that_the_vendor_does_not_know(server: SandboxServer) -> None:
    with client_of(server.url, "another-key-999") as client:
        errors = [failure(lookup, client, EXAMPLE), failure(probe, client)]
    assert [(type(error), error.http_status, error.consumed) for error in errors] == [(AccountError, 401, {})] * 2


def test_as_b3_b58_q13_a_key_without_subscription(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.set_key(KEY, "no_subscription")
    errors = [failure(lookup, client, EXAMPLE), failure(probe, client)]
    assert [(type(error), error.http_status, error.consumed) for error in errors] == [(AccountError, 403, {})] * 2


def test_as_b50_b56_q2_a_vendor_that_says_400(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    """A missing key, which the client never sends, as the vendor answers it: 400 on tokens."""
    sandbox.faults.replace([Fault("status", on="*", status=400, times=2)])
    assert [type(failure(probe, client)), type(lookup(client, by_asin(*asins(2))))] == [AccountError, More]


def test_as_b45_b52_b59_q4_q5_a_day_with_too_little_left(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.set_left(day=4)
    error = failure(lookup, client, by_asin(*asins(5)))
    assert (type(error), error.code, error.http_status, error.consumed) == (QuotaExhausted, "day", 429, {})
    assert error.observations == (Observation(limit="day", at_most=4),)
    assert sandbox.ledger.consumed() == 0


def test_as_b45_b53_b59_q4_a_bucket_with_too_little_left(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.set_left(bucket=4)
    error = failure(lookup, client, by_asin(*asins(5)))
    assert (type(error), error.code, error.http_status, error.consumed) == (Throttled, "bucket", 429, {})
    assert error.observations == (Observation(limit="bucket", at_most=4, refill_per_s=1.0),)
    assert sandbox.ledger.consumed() == 0


def test_as_b54_a_429_of_another_kind(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    body = {"error": "Rate limit exceeded"}
    sandbox.faults.add(Fault("status", status=429, body=body, headers={"Retry-After": "7"}))
    error = failure(lookup, client, EXAMPLE)
    assert (type(error), error.code, error.retry_in_s, error.consumed) == (Throttled, "rate_limit", 7.0, {})


# --- faults

EXAMPLE = by_asin(*asins(2))

OUTCOMES: dict[str, tuple[type[ProviderError], dict[str, int] | None, int | None]] = {
    "status": (ServerFault, None, 500),
    "latency": (NoAnswer, None, None),
    "reset": (NoAnswer, None, None),
    "close": (NoAnswer, None, None),
    "html": (Challenge, None, 200),
    "broken_json": (BadResponse, None, 200),
    "truncated": (NoAnswer, None, None),
    "huge": (ResponseTooLarge, None, 200),
    "nested": (BadResponse, None, 200),
    "drip": (NoAnswer, None, None),
    "drip_headers": (NoAnswer, None, None),
    "hang": (NoAnswer, None, None),
}
"""Each kind of fault: the class it becomes, what is known to be spent, the status."""

SLOW = {"latency", "drip", "drip_headers", "hang"}


def test_every_kind_of_fault_has_its_outcome() -> None:
    assert sorted([*OUTCOMES, "wrong_content_type"]) == sorted(KINDS)


def fault_of(kind: Any, when: Any, on: str | None = None) -> Fault:
    body = "x" * 10_000 if kind.startswith("drip") else None
    return Fault(kind, on=on, when=when, body=body, seconds=600.0, interval_s=0.05, size_bytes=10**12)


@pytest.mark.parametrize("kind", sorted(OUTCOMES))
@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_as_b55_q6_faults_of_a_lookup(
    client: HttpClient, sandbox: AsinscopeSandbox, kind: str, when: str, charged: int
) -> None:
    """Nobody can tell from here whether it was charged, so it is taken as spent; the next request goes well."""
    sandbox.faults.add(fault_of(kind, when))
    with within(10.0):
        error = failure(lookup, client, EXAMPLE, deadline_s=0.4 if kind in SLOW else None)
    expected, consumed, status = OUTCOMES[kind]
    assert (type(error), error.consumed, error.http_status) == (expected, consumed, status)
    assert (error.observations, error.retry_in_s) == ((), None)
    if kind != "latency":  # there the vendor counts, but late
        assert sandbox.ledger.consumed() == charged
    assert CORE not in shown(error)
    assert len(lookup(client, EXAMPLE).data["items"]) == 2


@pytest.mark.parametrize("kind", sorted(OUTCOMES))
def test_faults_of_the_probe(client: HttpClient, sandbox: AsinscopeSandbox, kind: str) -> None:
    sandbox.faults.add(fault_of(kind, "before", on="/account/tokens"))
    with within(10.0):
        error = failure(probe, client, deadline_s=0.4 if kind in SLOW else None)
    assert (type(error), error.http_status) == (OUTCOMES[kind][0], OUTCOMES[kind][2])
    assert CORE not in shown(error)
    assert [seen.left for seen in probe(client)] == [10_000, 120]


def test_a_wrong_content_type_is_read_all_the_same(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.faults.add(Fault("wrong_content_type", when="after"))
    assert len(lookup(client, EXAMPLE).data["items"]) == 2


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_challenge_page_with_any_status_parks_no_account(
    client: HttpClient, sandbox: AsinscopeSandbox, status: int
) -> None:
    sandbox.faults.add(Fault("html", status=status))
    assert type(failure(lookup, client, EXAMPLE)) is (Throttled if status == 429 else Challenge)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 429, 500])
def test_as_b2_a_page_that_repeats_the_url_brings_no_key_into_the_error(
    client: HttpClient, sandbox: AsinscopeSandbox, status: int
) -> None:
    echo = "/products/lookup?asin=B000000000&key=asinscope-sandbox-key%2B7%2F%3D"
    sandbox.faults.add(Fault("html", status=status, body=f"<html>Cannot GET {echo} {KEY}", headers={"Location": echo}))
    assert CORE not in shown(failure(lookup, client, EXAMPLE))
    sandbox.faults.add(Fault("status", status=500, body={"error": f"Cannot GET {echo} {KEY}"}))
    error = failure(lookup, client, EXAMPLE)
    assert "[redacted]" in error.message
    assert CORE not in shown(error)


def test_a_vendor_that_is_down_was_sent_nothing(server: SandboxServer) -> None:
    server.stop()
    with client_of(server.url) as client:
        errors = [failure(lookup, client, EXAMPLE), failure(probe, client)]
    assert [(type(error), error.consumed) for error in errors] == [(NotSent, {})] * 2


def test_as_b33_asking_first_and_taking_what_fits_never_meets_a_429(
    client: HttpClient, sandbox: AsinscopeSandbox
) -> None:
    """The vendor's queue pattern: probe, then lookups as long as what is left allows; its figures are exact."""
    sandbox.set_plan(AsinscopePlan(bucket_capacity=25, tokens_per_minute=0, daily_tokens=1000))
    left = min(seen.left for seen in probe(client))
    while left:
        reading = lookup(client, by_asin(*asins(10)), units=min(left, 10))
        left = min(seen.left for seen in reading.observations)
    assert (sandbox.ledger.consumed(), sandbox.ledger.broken_limits()) == (25, [])
    assert [entry.cost for entry in sandbox.ledger.entries() if entry.cost] == [10, 10, 5]
