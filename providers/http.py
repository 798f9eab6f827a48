"""The only network I/O towards vendors: one request, one whole answer, within one deadline, never showing the key.

- The deadline bounds everything but the name look-up, connection and last byte included: each wait, for a place in
  the pool and on the socket, gets what is left of it, so a server that drips a byte a second does not outlive it.
- The body is read, and unpacked, up to a bound. Redirects are not followed (the key would travel with them) and
  cookies are not kept (the key is all that a vendor knows us by).
- The key is put into the request below httpx, so that no URL that anybody logs or reports ever held it, and an error
  is raised anew, without the lower layers' frames and causes. What httpcore logs of an answer's headers is scrubbed.
"""

from __future__ import annotations

import logging
import queue
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpcore
import httpx

from providers.base import Call, QueryKey, Reply
from providers.errors import BadResponse, NoAnswer, NotSent, ProviderError, ResponseTooLarge
from providers.secret import Secret, scrub

USER_AGENT: Final = "tidegate"
CONNECT_TIMEOUT_S: Final = 10.0
PIECE_BYTES: Final = 64 * 1024
"""As much is written, or unpacked, at once."""

_NOT_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.UnsupportedProtocol)
_NO_ANSWER: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.ProxyError)

_CREDENTIAL: Final = "tidegate.credential"

_NOT_PASSED_ON: Final = frozenset({b"location", b"set-cookie"})
"""httpx would make the next request of the one, which fails where it is no URL, and keep the other."""

_BASE_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.IGNORECASE)


class _Scrubbing(logging.Filter):
    """An answer's headers may repeat the request's URL (``Location``)."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), ()
        return True


logging.getLogger("httpcore.http11").addFilter(_Scrubbing())


class _Deadline(threading.local):
    """When the request that this thread is sending must be over, in ``time.monotonic`` seconds."""

    at_s: float = float("inf")

    def left_s(self, otherwise: float | None) -> float:
        left = self.at_s - time.monotonic()
        return left if otherwise is None else min(left, otherwise)


_deadline: Final = _Deadline()


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_or(httpcore.ReadTimeout, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):  # the lower layer gives each partial write the whole timeout
            self._stream.write(buffer[start : start + PIECE_BYTES], _left_or(httpcore.WriteTimeout, timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = max(0.001, _deadline.left_s(timeout))  # never raised here: the lower layer closes the socket if it fails
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_or(error: type[Exception], timeout: float | None) -> float:
    left = _deadline.left_s(timeout)
    if left <= 0:
        raise error("deadline")
    return left


class _TimedBackend(httpcore.SyncBackend):
    """Connects to one of a name's addresses; the connection is a :class:`_TimedStream`.

    Each address gets its share of what is left of the deadline: in the ordinary way each gets the whole timeout.
    """

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port)
        failure: Exception = httpcore.ConnectError("the name has no address")
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                share_s = min(_deadline.left_s(None) / untried, _left_or(httpcore.ConnectTimeout, timeout))
                return _TimedStream(super().connect_tcp(address, port, share_s, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of more than 63 characters
        raise httpcore.ConnectError(type(error).__name__) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Body(httpx.SyncByteStream):
    """The answer's body on its way up; gives its connection back when it is closed, once."""

    def __init__(self, response: httpcore.Response, give_back: Callable[[], None]) -> None:
        self._response = response
        self._give_back: Callable[[], None] | None = give_back

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            try:
                self._response.close()
            finally:
                give_back()


class KeyedTransport(httpx.BaseTransport):
    """httpx's transport with the key added at the last moment.

    The :class:`httpx.Request` above never holds the key; the request below, which does, is not kept.

    Each connection is a pool of its own, lent to one thread for one exchange: httpcore's pool, shared by threads,
    now and then closes a connection under a request (encode/httpcore#1110, open in 1.0.9), which is paid for then.
    """

    def __init__(self, max_connections: int) -> None:
        ssl_context = httpx.create_ssl_context()
        self._all = [_pool_of_one(ssl_context) for _ in range(max_connections)]
        self._free: queue.LifoQueue[httpcore.ConnectionPool] = queue.LifoQueue()  # the last one used is the warmest
        for pool in self._all:
            self._free.put(pool)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. Raises errors of our own tree only."""
        failure: ProviderError | None = None
        try:
            return self._exchange(request)
        except (queue.Empty, *_NOT_SENT) as error:
            failure = NotSent(f"no connection to the provider ({_name(error)})", consumed={})
        except _NO_ANSWER as error:
            failure = NoAnswer(f"no answer from the provider ({_name(error)})")
        raise failure

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        pool = self._free.get(timeout=max(0.0, _deadline.left_s(CONNECT_TIMEOUT_S)))
        try:
            response = pool.handle_request(_with_key(request))
        except BaseException:
            self._free.put(pool)
            raise
        return httpx.Response(
            response.status,
            headers=[(name, value) for name, value in response.headers if name.lower() not in _NOT_PASSED_ON],
            stream=_Body(response, lambda: self._free.put(pool)),
            extensions={"http_version": response.extensions.get("http_version", b"")},
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._all:
            pool.close()


def _pool_of_one(ssl_context: ssl.SSLContext) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=ssl_context, max_connections=1, keepalive_expiry=30.0, network_backend=_TimedBackend()
    )


def _with_key(request: httpx.Request) -> httpcore.Request:
    credential, secret = cast("tuple[QueryKey, Secret]", request.extensions[_CREDENTIAL])
    url = request.url.copy_merge_params({credential.parameter: secret.reveal()})
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
    )


def _name(error: Exception) -> str:
    return type(error).__name__


class HttpClient:
    """Sends :class:`~providers.base.Call` to one account of one provider. Serves many threads; close it at the end.

    Raises :class:`ValueError` for a base URL that is not http(s) or that holds a user, a query or a fragment.
    """

    def __init__(self, base_url: str, credential: QueryKey, secret: Secret, *, max_connections: int = 64) -> None:
        if not _is_base_url(base_url):
            raise ValueError("a base URL is http(s)://host[:port][/path], without user, query or fragment")
        self._base_url = base_url.rstrip("/")
        self._extensions = {_CREDENTIAL: (credential, secret)}
        self._client = httpx.Client(
            transport=KeyedTransport(max_connections),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": USER_AGENT, "accept": "application/json", "accept-encoding": "gzip"},
        )

    def send(self, call: Call) -> Reply:
        """Send one request and read its whole answer.

        Raises :class:`~providers.errors.NotSent` (nothing reached the provider), :class:`~providers.errors.NoAnswer`
        (cut off, or over the deadline), :class:`~providers.errors.ResponseTooLarge`,
        :class:`~providers.errors.BadResponse` (a compressed body that cannot be unpacked).
        """
        failure: ProviderError | None = None
        _deadline.at_s = time.monotonic() + call.deadline_s
        try:
            return self._exchange(call)
        except ProviderError as error:
            failure = error
        except _NO_ANSWER as error:
            failure = NoAnswer(f"the answer was cut off ({_name(error)})")
        finally:
            _deadline.at_s = float("inf")
        raise failure.with_traceback(None)

    def _exchange(self, call: Call) -> Reply:
        request = self._client.build_request(
            call.method,
            self._base_url + call.path,
            params=list(call.query),
            json=call.json,
            extensions=self._extensions,
        )
        response = self._client.send(request, stream=True)
        try:
            body = _bounded(_unpacked(response), call.max_bytes, response.status_code)
            return Reply(status=response.status_code, headers=_lower(response.headers), body=body)
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_base_url(text: str) -> bool:
    try:
        return bool(_BASE_URL.fullmatch(text) and httpx.URL(text).host and urlsplit(text).port != 0)
    except (ValueError, httpx.InvalidURL):  # a port or an address that is none
        return False


def _bounded(pieces: Iterable[bytes], max_bytes: int, status: int) -> bytes:
    chunks, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise ResponseTooLarge(f"more than {max_bytes} bytes", http_status=status, code="too_large")
        chunks.append(piece)
    return b"".join(chunks)


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces of bounded size. httpx would unpack all that came at once, a thousand times its size."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return response.iter_raw()
    if encoding == "gzip":
        return _gunzipped(response)
    raise BadResponse("the answer is packed in a way that was not asked for", http_status=response.status_code)


def _gunzipped(response: httpx.Response) -> Iterator[bytes]:
    unpack, begun = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), False
    try:
        for chunk in response.iter_raw():
            rest, begun = chunk, True
            while rest and not unpack.eof:
                yield unpack.decompress(rest, PIECE_BYTES)
                rest = unpack.unconsumed_tail
        yield unpack.flush()
        broken = begun and not unpack.eof
    except zlib.error:
        broken = True
    if broken:
        raise BadResponse("the answer's compressed body cannot be unpacked", http_status=response.status_code)


def _lower(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}
