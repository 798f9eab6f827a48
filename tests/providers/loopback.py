"""Servers on loopback that say exactly what a test wants, and everything that an error shows to those who print it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Self

Answer = Callable[[socket.socket], None]


def say(text: bytes) -> Answer:
    """Answer each request with these bytes and keep the connection."""
    return lambda connection: connection.sendall(text)


def response(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; ``content_type`` as a keyword is the header ``Content-Type``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Listener:
    """Accepts connections, keeps the heads of the requests it gets, and answers each by ``answer``."""

    def __init__(self, answer: Answer) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self._answer = answer
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=30.0)
        self._listening.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while head := _read_head(connection):
                self.heads.append(head)
                self._answer(connection)


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head


@contextlib.contextmanager
def silent_port(*hosts: str, port: int = 0) -> Iterator[int]:
    """A port of all ``hosts`` whose queue of connections is full: another connection waits without an answer."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            listening = stack.enter_context(socket.socket())
            listening.bind((host, port))
            listening.listen(0)
            port = int(listening.getsockname()[1])
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((host, port))
        yield port


@contextlib.contextmanager
def mute_port() -> Iterator[int]:
    """A port that connections are accepted on (by the kernel), and where nobody says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where the block takes longer: an upper bound, far from what it should take."""
    start_s = time.monotonic()
    yield
    assert time.monotonic() - start_s < seconds


def shown(error: BaseException | None) -> str:
    """Whatever printing, logging or reporting ``error`` can show: its chain's texts, fields, frames and variables."""
    if error is None:
        return ""
    report = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
    own = [str(error), repr(error), repr(error.args), repr(vars(error)), *report.format()]
    return "\n".join([*own, shown(error.__cause__), shown(error.__context__)])
