"""The only network I/O towards vendors: one request, one whole answer, within one deadline, never showing the key.

- The deadline bounds everything after the name look-up, connection and last byte included: each wait on the socket
  gets what is left of it, so a server that drips a byte a second does not outlive it.
- The body is read up to a bound. Redirects are not followed (the key would travel with them).
- The key is put into the request below httpx, so that no URL that anybody logs or reports ever held it, and an error
  is raised anew, without the lower layers' frames and causes.
"""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpcore
import httpx

from providers.base import Call, QueryKey, Reply
from providers.errors import BadResponse, NoAnswer, NotSent, ProviderError, ResponseTooLarge
from providers.secret import Secret

USER_AGENT: Final = "tidegate"
CONNECT_TIMEOUT_S: Final = 10.0

_NOT_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.UnsupportedProtocol)
_NO_ANSWER: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.ProxyError)

_CREDENTIAL: Final = "tidegate.credential"


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
        self._stream.write(buffer, _left_or(httpcore.WriteTimeout, timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _left_or(httpcore.ConnectTimeout, timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

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
    """Connects in the ordinary way; the connection is a :class:`_TimedStream`."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _left_or(httpcore.ConnectTimeout, timeout)
        return _TimedStream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Body(httpx.SyncByteStream):
    """The answer's body on its way up; gives its connection back when it is closed."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class KeyedTransport(httpx.BaseTransport):
    """httpx's transport with the key added at the last moment.

    The :class:`httpx.Request` above never holds the key; the request below, which does, is not kept.
    """

    def __init__(self, max_connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30.0,
            network_backend=_TimedBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. Raises errors of our own tree only."""
        failure: ProviderError | None = None
        try:
            response = self._pool.handle_request(_with_key(request))
        except _NOT_SENT as error:
            failure = NotSent(f"no connection to the provider ({_name(error)})", consumed={})
        except _NO_ANSWER as error:
            failure = NoAnswer(f"no answer from the provider ({_name(error)})")
        if failure is not None:
            raise failure
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions={"http_version": response.extensions.get("http_version", b"")},
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _with_key(request: httpx.Request) -> httpcore.Request:
    credential, secret = cast("tuple[QueryKey, Secret]", request.extensions[_CREDENTIAL])
    url = request.url.copy_merge_params({credential.parameter: secret.reveal()})
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions={"timeout": {"connect": CONNECT_TIMEOUT_S, "pool": CONNECT_TIMEOUT_S}},
    )


def _name(error: Exception) -> str:
    return type(error).__name__


class HttpClient:
    """Sends :class:`~providers.base.Call` to one account of one provider. Serves many threads; close it at the end.

    Raises :class:`ValueError` for a base URL that is not http(s) or that holds a user, a query or a fragment.
    """

    def __init__(self, base_url: str, credential: QueryKey, secret: Secret, *, max_connections: int = 64) -> None:
        parts = urlsplit(base_url)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
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
        except (httpx.DecodingError, zlib.error):
            failure = BadResponse("the answer's compressed body cannot be unpacked")
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
            headers = _lower(response.headers)
            chunks, size = [], 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > call.max_bytes:
                    raise ResponseTooLarge(
                        f"more than {call.max_bytes} bytes", http_status=response.status_code, code="too_large"
                    )
                chunks.append(chunk)
            return Reply(status=response.status_code, headers=headers, body=b"".join(chunks))
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


def _lower(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}
