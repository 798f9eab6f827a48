"""How an answer, and each kind of fault, looks on the wire of one HTTP/1.1 connection."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.iostream import IOStream

from providers.sandbox.faults import Fault
from providers.sandbox.vendor import Reply

JSON_TYPE = "application/json"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST and drops what is unsent
_CHUNK_BYTES = 64 * 1024
_FILLER = {"error": "sandbox fault"}
_CHALLENGE = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    b"<body><h1>Checking your browser before you continue.</h1></body></html>"
)


def encode(body: object) -> bytes:
    """Return ``body`` as compact JSON; text is taken as it is."""
    return body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()


def send(
    connection: HTTP1Connection,
    status: int,
    body: bytes,
    *,
    content_type: str = JSON_TYPE,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer, and keep the connection for the next request."""
    all_headers = HTTPHeaders({"Content-Type": content_type, "Content-Length": str(len(body))})
    for name, value in (headers or {}).items():
        all_headers[name] = value
    connection.write_headers(ResponseStartLine("HTTP/1.1", status, _reason(status)), all_headers, body)
    connection.finish()


def send_reply(connection: HTTP1Connection, reply: Reply) -> None:
    """Answer as the vendor does."""
    send(connection, reply.status, encode(reply.body), headers=reply.headers)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a fault is played with; ``reply`` is what the vendor would have said (empty if it was not asked)."""

    connection: HTTP1Connection
    fault: Fault
    reply: Reply

    @property
    def stream(self) -> IOStream:
        return self.connection.stream

    @property
    def status(self) -> int:
        return self.fault.status_on_wire(self.reply.status)

    @property
    def body(self) -> bytes:
        """The body that goes wrong: the fault's own, else the vendor's, else a filler."""
        own = self.fault.body
        return encode(own if own is not None else self.reply.body or _FILLER)

    @property
    def headers(self) -> dict[str, str]:
        return {**self.reply.headers, **self.fault.headers}

    def send(self, body: bytes, content_type: str = JSON_TYPE) -> None:
        """Answer in due form."""
        send(self.connection, self.status, body, content_type=content_type, headers=self.headers)

    def head(self, length: int) -> bytes:
        """The status line and headers of a response of ``length`` bytes, after which the connection is closed."""
        fixed = {"Content-Type": JSON_TYPE, "Content-Length": str(length), "Connection": "close"}
        lines = [f"{name}: {value}" for name, value in {**fixed, **self.headers}.items()]
        lines.insert(0, f"HTTP/1.1 {self.status} {_reason(self.status)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def play(connection: HTTP1Connection, fault: Fault, reply: Reply) -> None:
    """Answer as ``fault`` says, where ``reply`` is what the vendor would have said.

    Raises ``tornado.iostream.StreamClosedError`` if the client leaves before the end.
    """
    await _PLAYERS[fault.kind](_Scene(connection, fault, reply))


async def _status(scene: _Scene) -> None:
    scene.send(encode(_FILLER if scene.fault.body is None else scene.fault.body))


async def _latency(scene: _Scene) -> None:
    send_reply(scene.connection, scene.reply)  # the server has waited already


async def _reset(scene: _Scene) -> None:
    sock: socket.socket = scene.stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    scene.stream.close()


async def _close(scene: _Scene) -> None:
    scene.stream.close()


async def _hang(scene: _Scene) -> None:
    left = asyncio.Event()
    scene.connection.set_close_callback(left.set)
    if not scene.stream.closed():
        await left.wait()


async def _html(scene: _Scene) -> None:
    body = _CHALLENGE if scene.fault.body is None else encode(scene.fault.body)
    scene.send(body, "text/html; charset=utf-8")


async def _broken_json(scene: _Scene) -> None:
    scene.send(_first_half(scene.body))


async def _wrong_content_type(scene: _Scene) -> None:
    scene.send(scene.body, "text/plain; charset=utf-8")


async def _nested(scene: _Scene) -> None:
    scene.send(b"[" * scene.fault.depth + b"]" * scene.fault.depth)


async def _truncated(scene: _Scene) -> None:
    body = scene.body
    await scene.stream.write(scene.head(len(body)) + _first_half(body))
    scene.stream.close()


async def _huge(scene: _Scene) -> None:
    """A JSON string of as many bytes as were asked for, quotes included."""
    size = scene.fault.size_bytes
    await scene.stream.write(scene.head(size) + b'"')
    chunk, letters = b"x" * _CHUNK_BYTES, size - 2
    while letters:
        part = min(letters, _CHUNK_BYTES)
        await scene.stream.write(chunk[:part])
        letters -= part
    await scene.stream.write(b'"')
    scene.stream.close()


async def _drip(scene: _Scene) -> None:
    body = scene.body
    await scene.stream.write(scene.head(len(body)))
    await _trickle(scene, body)
    scene.stream.close()


async def _drip_headers(scene: _Scene) -> None:
    body = scene.body
    await _trickle(scene, scene.head(len(body)))
    await scene.stream.write(body)
    scene.stream.close()


_PLAYERS: Mapping[str, Callable[[_Scene], Awaitable[None]]] = {
    "status": _status,
    "latency": _latency,
    "reset": _reset,
    "close": _close,
    "html": _html,
    "broken_json": _broken_json,
    "truncated": _truncated,
    "wrong_content_type": _wrong_content_type,
    "huge": _huge,
    "nested": _nested,
    "drip": _drip,
    "drip_headers": _drip_headers,
    "hang": _hang,
}


async def _trickle(scene: _Scene, data: bytes) -> None:
    for at in range(len(data)):
        await scene.stream.write(data[at : at + 1])
        await asyncio.sleep(scene.fault.interval_s)


def _first_half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a status nobody registered, as some proxies send
        return "Unknown"
