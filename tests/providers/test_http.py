"""The client towards the vendors, over real connections on loopback."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpcore
import pytest
from loopback import Listener, closed_port, mute_port, response, say, within
from vendor_client import CORE, HASTY, KEY, LOOKUP, PATIENT, answered, client_of, failure_of

from providers import http
from providers.base import Call
from providers.errors import NoAnswer, NotSent, ProviderError
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import Fault
from providers.sandbox.server import SandboxServer

# --- faults, and what they say about what was spent


def test_connection_refused_is_not_sent() -> None:
    with client_of(f"http://127.0.0.1:{closed_port()}") as client:
        error = failure_of(client, PATIENT)
    assert (type(error), error.consumed, error.observations, error.http_status) == (NotSent, {}, (), None)


@pytest.mark.parametrize("host", ["vendor.invalid", "a" * 64 + ".invalid", "a..b.invalid"])
def test_a_name_without_address_is_not_sent(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def unknown(name: str, *_: Any, **__: Any) -> Any:
        name.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client_of(f"http://{host}") as client:
        error = failure_of(client, PATIENT)
    assert (type(error), error.consumed) == (NotSent, {})


@pytest.mark.parametrize("kind", ["reset", "close", "truncated"])
@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_cut_off_answers_are_no_answer_whether_or_not_they_were_counted(
    client: HttpClient, sandbox: AsinscopeSandbox, kind: Any, when: Any, charged: int
) -> None:
    sandbox.faults.add(Fault(kind, when=when))
    error = failure_of(client, PATIENT)
    assert type(error) is NoAnswer
    assert (error.consumed, error.observations, error.http_status) == (None, (), None)
    assert sandbox.ledger.consumed() == charged
    assert client.send(PATIENT).status == 200


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=["not-http", "no-status", "negative-length", "two-lengths", "endless-header", "broken-chunk"],
)
def test_what_is_not_http_is_no_answer(text: bytes) -> None:
    with pytest.raises(NoAnswer) as caught:
        answered(text)
    assert caught.value.consumed is None


def test_a_tls_handshake_that_never_ends_is_not_sent() -> None:
    with mute_port() as port, client_of(f"https://127.0.0.1:{port}") as client, within(10.0):
        error = failure_of(client, HASTY)
    assert (type(error), error.consumed) == (NotSent, {})


def test_a_server_without_tls_is_not_sent_and_never_sees_the_key() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                seen.append(connection.recv(65_536))
                connection.sendall(response(status="400 Bad Request"))

        serving = pool.submit(answer)
        with client_of(f"https://127.0.0.1:{listening.getsockname()[1]}") as client:
            error = failure_of(client, PATIENT)
        serving.result(30.0)
    assert (type(error), error.consumed) == (NotSent, {})
    assert CORE.encode() not in b"".join(seen)


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 429, 500, 599, 999])
def test_every_status_is_an_answer(status: int) -> None:
    reply = answered(response(b"" if status in {204, 304} else b'{"a":1}', f"{status} Whatever", X_Name="Value"))
    assert (reply.status, reply.headers["x-name"]) == (status, "Value")
    assert reply.body == (b"" if status in {204, 304} else b'{"a":1}')


def test_every_error_of_the_lower_layer_is_mapped() -> None:
    """An error class that a new httpcore brings is decided upon, not let through with its frames."""
    exempt = {httpcore.ConnectionNotAvailable: "the pool catches it itself and takes another connection"}
    classes = {item for item in vars(httpcore).values() if isinstance(item, type) and issubclass(item, Exception)}
    assert len(classes) >= 15
    mapped = {item for item in classes if issubclass(item, (*http._NOT_SENT, *http._NO_ANSWER))}
    assert classes - mapped == set(exempt)
    assert all(exempt.values())


def test_errors_before_a_connection_are_exactly_the_not_sent_ones() -> None:
    assert {item.__name__ for item in http._NOT_SENT} == {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
    }


# --- redirects, cookies, proxies: the key goes to one place only


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_answers_and_reach_nobody(status: str) -> None:
    with Listener(say(response())) as other:
        location = f"{other.url}/products/lookup?key={quote(KEY, safe='')}"
        reply = answered(response(status=status, Location=location))
    assert (reply.status, reply.body) == (int(status[:3]), b"{}")
    assert CORE not in repr(dict(reply.headers))
    assert (other.connections, other.heads) == (0, [])


@pytest.mark.parametrize("location", ["http://[bad", "https://h:port/", "//", "\x01", "http://" + "é" * 70, ""])
def test_a_redirect_to_nowhere_is_an_answer_too(location: str) -> None:
    text = b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\nLocation: " + location.encode() + b"\r\n\r\n{}"
    reply = answered(text)
    assert (reply.status, reply.body) == (302, b"{}")


def test_cookies_are_not_kept() -> None:
    text = response(Set_Cookie="session=abc; Path=/")
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        for _ in range(2):
            client.send(PATIENT)
    assert len(listener.heads) == 2
    assert not any(b"cookie" in head.lower() for head in listener.heads)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Listener(say(response())) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert answered(response(b'{"direct": 1}')).body == b'{"direct": 1}'
    assert proxy.connections == 0


# --- connections


def test_connections_are_used_again() -> None:
    with Listener(say(response())) as listener, client_of(listener.url) as client:
        assert [client.send(PATIENT).status for _ in range(5)] == [200] * 5
    assert (listener.connections, len(listener.heads)) == (1, 5)


def test_a_connection_that_the_vendor_closed_meanwhile_is_not_used_again() -> None:
    closed = threading.Event()

    def once(connection: socket.socket) -> None:
        connection.sendall(response())
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with Listener(once) as listener, client_of(listener.url) as client:
        for _ in range(3):
            assert client.send(PATIENT).status == 200
            assert closed.wait(30.0)
            closed.clear()
    assert (listener.connections, len(listener.heads)) == (3, 3)


def test_a_vendor_that_comes_back_is_found_again(server: SandboxServer, client: HttpClient) -> None:
    assert client.send(PATIENT).status == 200
    server.stop()
    assert isinstance(failure_of(client, PATIENT), NotSent | NoAnswer)
    server.start()
    assert client.send(PATIENT).status == 200


def test_many_threads_share_a_client_and_each_gets_its_own_answer(
    server: SandboxServer, sandbox: AsinscopeSandbox
) -> None:
    """None is lost for want of a connection, or because one is closed under it: each would have been paid for."""

    def ask(number: int) -> bool:
        asin = f"B{number:09d}"
        reply = client.send(Call(method="GET", path=LOOKUP, query=(("asin", asin),), deadline_s=60.0))
        return bool(reply.json_object()["items"][0]["asin"] == asin)

    with client_of(server.url, max_connections=8) as client, ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(1500)))
    assert (len(sandbox.ledger.entries()), sandbox.ledger.consumed()) == (1500, 1500)


def test_one_threads_deadline_is_not_anothers(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    """Half of the requests hang until their deadline, the others have a minute."""
    sandbox.faults.add(Fault("hang", on="/account/tokens", times=None))
    hanging = Call(method="GET", path="/account/tokens", deadline_s=0.3)

    def ask(number: int) -> str:
        try:
            return str(client.send(hanging if number % 2 else PATIENT).status)
        except ProviderError as error:
            return type(error).__name__

    with ThreadPoolExecutor(16) as pool, within(30.0):
        assert list(pool.map(ask, range(64))) == ["200", "NoAnswer"] * 32


def test_no_more_connections_than_allowed_and_each_comes_back() -> None:
    """Whatever goes wrong, the connection's place is free afterwards."""
    answers = [
        response(),
        response(b"x" * 100),
        b"nothing HTTP\r\n\r\n",
        response(b"{}", Content_Encoding="br"),
        response(b"{}", Content_Encoding="gzip"),
    ]
    turn = iter(answers * 4)

    def answer(connection: socket.socket) -> None:
        connection.sendall(next(turn))

    call = Call(method="GET", path="/", max_bytes=50, deadline_s=60.0)
    seen = []
    with Listener(answer) as listener, client_of(listener.url, max_connections=2) as client:
        for _ in range(len(answers) * 4):
            try:
                seen.append(client.send(call).status)
            except ProviderError as error:
                seen.append(type(error).__name__)
    assert seen == [200, "ResponseTooLarge", "NoAnswer", "BadResponse", "BadResponse"] * 4


def test_closing_ends_the_connections() -> None:
    ended = threading.Event()

    def until_the_end(connection: socket.socket) -> None:
        connection.sendall(response())
        if not connection.recv(1):
            ended.set()

    with Listener(until_the_end) as listener:
        with client_of(listener.url) as client:
            client.send(PATIENT)
            assert not ended.is_set()
        assert ended.wait(30.0)


# --- base URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.vendor.invalid",
        "//api.vendor.invalid",
        "ftp://api.vendor.invalid",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http:host",
        "http://user@host",
        "http://user:word@host",
        "http://:word@host",
        "http://host?",
        "http://host/?",
        "http://host/path?x=1",
        "http://host#",
        "http://host/#part",
        "http://host:port",
        "http://host:99999",
        "http://host:0",
        "http://host:-1",
        "http://[::1",
        "http://ho st",
        "http://host/pa th",
        "http://host\n",
        " http://host",
        "http://host\\path",
    ],
)
def test_base_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a base URL is http\(s\)://host") as caught:
        client_of(url)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "url",
    ["http://host", "HTTPS://Host/", "http://host:8080/a/b", "http://[::1]:80", "http://127.0.0.1", "http://é.eu"],
)
def test_base_urls(url: str) -> None:
    client_of(url).close()


def test_nothing_is_sent_before_the_first_call() -> None:
    with Listener(say(response())) as listener, client_of(listener.url):
        time.sleep(0)
    assert listener.connections == 0
