"""The server: start and stop, many requests at once, keep-alive, and the control API."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sandbox_calls import KEY, LOOKUP, Clock, asins, wait_until

from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import Fault
from providers.sandbox.ledger import fingerprint
from providers.sandbox.server import SandboxServer
from providers.sandbox.vendor import Latency


def test_a_lookup_over_http(client: httpx.Client) -> None:
    response = client.get(LOOKUP, params={"asin": asins(2), "domain": "uk"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert (response.json()["consumedTokens"], response.json()["bucketSize"]) == (2, 118)


def test_as_b48_no_header_tells_the_state(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.set_left(bucket=1)
    answers = [client.get(LOOKUP, params={"asin": asins(1)}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert {tuple(sorted(answer.headers)) for answer in answers} == {("content-length", "content-type")}


def test_as_b10_an_encoded_comma_is_a_comma(server: SandboxServer) -> None:
    codes = asins(3).replace(",", "%2C")
    response = httpx.get(f"{server.url}{LOOKUP}?key={KEY}&asin={codes}", trust_env=False)
    assert response.json()["consumedTokens"] == 3


def test_an_empty_parameter_arrives_as_such(client: httpx.Client) -> None:
    assert client.get(LOOKUP, params={"asin": ""}).status_code == 400


def test_head_is_refused_without_a_body(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    assert (client.head(LOOKUP).status_code, client.get("/account/tokens").status_code) == (405, 200)
    assert len(pro.ledger.entries()) == 1


def test_keep_alive_also_after_a_fault(server: SandboxServer, pro: AsinscopeSandbox) -> None:
    pro.faults.replace([Fault("status", skip=1), Fault("html", skip=1), Fault("broken_json", skip=1)])
    events: list[str] = []
    with httpx.Client(base_url=server.url, params={"key": KEY}, trust_env=False) as client:
        for _ in range(6):
            extensions = {"trace": lambda name, _: events.append(name)}
            client.get(LOOKUP, params={"asin": asins(1)}, extensions=extensions)
    assert events.count("connection.connect_tcp.complete") == 1


def test_a_slow_request_does_not_hold_up_others(server: SandboxServer, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("latency", seconds=3600.0, when="after"))
    url = f"{server.url}{LOOKUP}?key={KEY}&asin={asins(1)}"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(httpx.get, url, timeout=60.0, trust_env=False)
        wait_until(pro.ledger.entries)
        assert [httpx.get(url, trust_env=False).status_code for _ in range(5)] == [200] * 5
        assert not slow.done()
        server.stop()
        with pytest.raises(httpx.RemoteProtocolError):  # a stop drops what is under way
            slow.result()


@pytest.mark.parametrize("count_at", ["start", "middle", "end"])
def test_forty_at_once_get_exactly_what_the_bucket_holds(clock: Clock, count_at: str) -> None:
    sandbox = AsinscopeSandbox("basic", keys={KEY: "active"}, clock=clock)
    sandbox.set_latency(Latency(0.02, 0.01, count_at))  # type: ignore[arg-type]  # parametrize knows no literals
    with SandboxServer(sandbox) as server, httpx.Client(base_url=server.url, trust_env=False) as client:

        def ask(number: int) -> int:
            return client.get(LOOKUP, params={"key": KEY, "asin": asins(3, number)}).status_code

        with ThreadPoolExecutor(40) as pool:
            statuses = Counter(pool.map(ask, range(40)))
    assert statuses == {200: 20, 429: 20}
    assert (sandbox.ledger.consumed(), len(sandbox.ledger.broken_limits())) == (60, 20)


def test_a_client_that_leaves_early_has_been_counted(server: SandboxServer, pro: AsinscopeSandbox) -> None:
    pro.set_latency(Latency(0.3, count_at="end"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}{LOOKUP}?key={KEY}&asin={asins(4)}", timeout=0.05, trust_env=False)
    pro.set_latency(Latency())
    wait_until(pro.ledger.entries)
    assert pro.ledger.consumed() == 4


def test_stop_and_start_again_on_the_same_port(pro: AsinscopeSandbox) -> None:
    server = SandboxServer(pro)
    url = server.start().url
    tokens = f"{url}/account/tokens?key={KEY}"
    assert httpx.get(tokens, trust_env=False).status_code == 200
    with pytest.raises(RuntimeError, match="is running"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(tokens, trust_env=False)
    with server:
        assert server.url == url
        assert httpx.get(tokens, trust_env=False).status_code == 200


def test_stop_leaves_no_thread_behind(pro: AsinscopeSandbox) -> None:
    before = set(threading.enumerate())
    pro.faults.add(Fault("hang"))
    with SandboxServer(pro) as server, pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}{LOOKUP}?key={KEY}", timeout=0.1, trust_env=False)
    begun = set(threading.enumerate()) - before
    assert [thread.name for thread in begun if thread.name.startswith("sandbox-")] == []


def test_a_taken_port_is_an_error(server: SandboxServer, pro: AsinscopeSandbox) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(pro, port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::", ""])
def test_only_loopback_without_permission(pro: AsinscopeSandbox, host: str) -> None:
    with pytest.raises(ValueError, match="not a loopback address"):
        SandboxServer(pro, host)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_ports_that_are_none_are_refused(pro: AsinscopeSandbox, port: int) -> None:
    with pytest.raises(ValueError, match="port must be 0 to 65535"):
        SandboxServer(pro, port=port)


def test_all_addresses_with_permission(pro: AsinscopeSandbox) -> None:
    with SandboxServer(pro, "0.0.0.0", allow_remote=True) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{server.url}/account/tokens?key={KEY}", trust_env=False).status_code == 200


def test_control_ledger_and_summary(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    for count in (1, 2, 11):
        client.get(LOOKUP, params={"asin": asins(count)})
    client.get("/account/tokens")
    entries = client.get("/_sandbox/ledger").json()
    assert [(entry["path"], entry["status"], entry["cost"], entry["counted"]) for entry in entries] == [
        (LOOKUP, 200, 1, True),
        (LOOKUP, 200, 2, True),
        (LOOKUP, 400, 11, False),
        ("/account/tokens", 200, 0, False),
    ]
    assert client.get("/_sandbox/ledger", params={"since": 3}).json() == entries[3:]
    assert client.get("/_sandbox/summary").json() == {
        "provider": "asinscope",
        "requests": 4,
        "by_status": {"200": 3, "400": 1},
        "by_path": {LOOKUP: {"200": 2, "400": 1}, "/account/tokens": {"200": 1}},
        "consumed_tokens": 3,
        "broken_limits": 0,
        "left": {"day": 9_997, "bucket": 117, "ms_to_reset": 86_400_000},
        "spent_elsewhere_tokens": 0,
    }


def test_control_faults_replaces(client: httpx.Client) -> None:
    assert client.post("/_sandbox/faults", json=[{"kind": "hang"}]).json() == {"standing": 1}
    assert client.post("/_sandbox/faults", json=[{"kind": "status", "status": 418}]).json() == {"standing": 1}
    assert client.get(LOOKUP, params={"asin": asins(1)}).status_code == 418
    assert client.post("/_sandbox/faults", json=[]).json() == {"standing": 0}


def test_control_of_the_account(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    assert client.post("/_sandbox/spend", json={"tokens": 20}).json() == {"taken": 20}
    assert client.post("/_sandbox/left", json={"day": 7}).json() == {
        "day": 7,
        "bucket": 100,
        "ms_to_reset": 86_400_000,
    }
    assert client.post("/_sandbox/plan", json="basic").json() == {"day": 0, "bucket": 60, "ms_to_reset": 86_400_000}
    own = {"bucket_capacity": 5, "tokens_per_minute": 1, "daily_tokens": 2000}
    assert client.post("/_sandbox/plan", json=own).json() == {"day": 1000, "bucket": 5, "ms_to_reset": 86_400_000}
    assert client.post("/_sandbox/latency", json={"mean_s": 0.01}).json() == {
        "mean_s": 0.01,
        "jitter_s": 0.0,
        "count_at": "start",
    }
    answer = client.post("/_sandbox/key", json={"key": KEY, "state": "revoked"}).json()
    assert answer == {"key_fingerprint": fingerprint(KEY), "state": "revoked"}
    assert client.get("/account/tokens").status_code == 401
    assert pro.ledger.entries()[0].latency_s == 0.01


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("faults", [{"kind": "earthquake"}]),
        ("key", {"key": "secret-key", "state": "asleep"}),
        ("key", {"key": "secret-key"}),
        ("key", "secret-key"),
        ("spend", {"tokens": -1}),
        ("spend", {}),
        ("plan", "gold"),
        ("plan", {"bucket_capacity": 5}),
        ("left", {"week": 5}),
        ("left", {"day": None}),
        ("latency", {"mean_s": "soon"}),
    ],
)
def test_control_refuses_what_it_does_not_understand(client: httpx.Client, name: str, body: object) -> None:
    response = client.post(f"/_sandbox/{name}", json=body)
    assert (response.status_code, list(response.json())) == (400, ["error"])
    assert "secret-key" not in response.text


def test_control_unknown(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    answers = [client.post("/_sandbox/nothing", json={}), client.get("/_sandbox/spend"), client.get("/_sandbox/")]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert client.post("/_sandbox/spend", content=b"{").status_code == 400
    assert client.get("/_sandbox/ledger", params={"since": "yesterday"}).status_code == 400
    assert pro.ledger.entries() == ()


def test_control_is_beyond_faults(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("hang", on="*", times=None))
    assert client.get("/_sandbox/summary").status_code == 200


def test_nothing_that_is_logged_holds_the_key(
    server: SandboxServer, pro: AsinscopeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """AS-B2: the key stands in the URL, so no URL may be logged by the server."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    pro.faults.add(Fault("hang"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}{LOOKUP}?key={KEY}&asin={asins(1)}", timeout=0.1, trust_env=False)
    server.stop()
    assert KEY not in caplog.text
