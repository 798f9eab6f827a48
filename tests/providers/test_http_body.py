"""How much of an answer is read, and how it is unpacked."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from loopback import Listener, response, say
from vendor_client import PATIENT, answered, client_of, failure_of

from providers.base import Call
from providers.errors import BadResponse, ResponseTooLarge
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import Fault


def test_a_huge_answer_is_left_off(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.faults.add(Fault("huge", size_bytes=10**12))
    error = failure_of(client, PATIENT)
    assert (type(error), error.code, error.http_status, error.consumed) == (ResponseTooLarge, "too_large", 200, None)
    assert client.send(PATIENT).status == 200


@pytest.mark.parametrize("packed", [False, True])
def test_the_bound_is_exact(packed: bool) -> None:
    body = b"x" * 100_000
    text = response(gzip.compress(body), Content_Encoding="gzip") if packed else response(body)
    call = Call(method="GET", path="/", max_bytes=100_000)
    assert answered(text, call).body == body
    with pytest.raises(ResponseTooLarge, match=r"^more than 99999 bytes$"):
        answered(text, Call(method="GET", path="/", max_bytes=99_999))


def test_the_bound_is_eight_mebibytes_unless_said_otherwise() -> None:
    assert PATIENT.max_bytes == 8 * 1024 * 1024


def test_a_gzip_bomb_is_never_unpacked_in_memory() -> None:
    """A hundred kilobytes that would become a hundred megabytes."""
    bomb = gzip.compress(b"\0" * 100_000_000)
    call = Call(method="GET", path="/", max_bytes=1_000_000)
    with Listener(say(response(bomb, Content_Encoding="gzip"))) as listener, client_of(listener.url) as client:
        tracemalloc.start()
        try:
            with pytest.raises(ResponseTooLarge):
                client.send(call)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip", "deflate", "br", "zstd", "compress"])
def test_only_what_was_asked_for_is_unpacked(encoding: str) -> None:
    text = response(gzip.compress(gzip.compress(b"{}")), Content_Encoding=encoding)
    with pytest.raises(BadResponse, match="not asked for") as caught:
        answered(text)
    assert (caught.value.http_status, caught.value.consumed) == (200, None)


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "GZIP", " gzip "])
def test_gzip_is_asked_for_and_unpacked(encoding: str) -> None:
    body = b'{"a": 1}'
    sent = gzip.compress(body) if "gzip" in encoding.lower() else body
    with Listener(say(response(sent, Content_Encoding=encoding))) as listener, client_of(listener.url) as client:
        assert client.send(PATIENT).body == body
    assert b"\r\naccept-encoding: gzip\r\n" in listener.heads[0].lower()


def test_gzip_in_chunks_and_with_bytes_behind_it_keeps_the_connection() -> None:
    packed = gzip.compress(b"y" * 300_000) + b"\0" * 512
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(packed[at : at + 7]), packed[at : at + 7]) for at in range(0, 700, 7))
    text = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    rest = packed[700:]
    text += b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest)
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        assert [client.send(PATIENT).body for _ in range(2)] == [b"y" * 300_000] * 2
    assert listener.connections == 1


def test_an_empty_body_that_calls_itself_gzip_is_empty() -> None:
    assert answered(response(b"", Content_Encoding="gzip")).body == b""


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip at all",
        gzip.compress(b"x" * 1000)[:-9],
        gzip.compress(b"x" * 1000)[:12],
        gzip.compress(b"x" * 1000)[:-8] + b"\0" * 8,
        zlib.compress(b"x" * 1000),
    ],
    ids=["garbage", "cut-short", "cut-at-start", "wrong-checksum", "zlib"],
)
def test_a_broken_gzip_body_is_a_bad_response(packed: bytes) -> None:
    with pytest.raises(BadResponse, match=r"^the answer's compressed body cannot be unpacked$") as caught:
        answered(response(packed, Content_Encoding="gzip"))
    assert (type(caught.value), caught.value.http_status, caught.value.consumed) == (BadResponse, 200, None)
