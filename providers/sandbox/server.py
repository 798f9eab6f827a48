"""A sandbox on a port of this machine: HTTP/1.1 with keep-alive, in a thread with an event loop of its own.

Beside the vendor's own paths it serves the control API, see :mod:`providers.sandbox.control`:
``GET /_sandbox/ledger``, ``GET /_sandbox/summary``, ``POST /_sandbox/faults``, and what the vendor offers, for
ASINScope ``POST /_sandbox/key``, ``/spend``, ``/plan``, ``/left``, ``/latency``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self, cast

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from providers.sandbox import control, wire
from providers.sandbox.vendor import Call, Script, VendorSandbox

_log = logging.getLogger(__name__)
_START_WITHIN_S = 10.0
_BACKLOG = 1024


class SandboxServer:
    """Serves ``sandbox`` from :meth:`start` to :meth:`stop`; as a context manager, inside the block.

    ``port`` 0 takes a free one. After a stop it can be started again, on the same port: so a vendor goes down and
    comes back. Hosts other than loopback need ``allow_remote`` (anyone who reaches the port can script the vendor).
    """

    def __init__(
        self, sandbox: VendorSandbox, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False
    ) -> None:
        if not (allow_remote or _is_loopback(host)):
            raise ValueError(f"{host} is not a loopback address; say allow_remote if you mean it")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {port}")
        self.sandbox = sandbox
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The base URL for clients on this machine, without a slash at the end; known once it has been started."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def start(self) -> Self:
        """Start serving; returns when the port accepts connections. Raises ``OSError`` if the port is taken."""
        if self._thread is not None:
            raise RuntimeError("the sandbox server is running")
        ready: Future[int] = Future()
        thread = threading.Thread(target=self._run, args=(ready,), name=f"sandbox-{self.sandbox.name}", daemon=True)
        thread.start()
        self._port = ready.result(timeout=_START_WITHIN_S)
        self._thread = thread
        return self

    def stop(self) -> None:
        """Stop serving: open connections are closed, requests under way are dropped. Does nothing if not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, ready: Future[int]) -> None:
        asyncio.run(self._serve_until_stopped(ready))

    async def _serve_until_stopped(self, ready: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = HTTPServer(self._on_request)
        try:
            listening = _listen(self._host, self._port)
        except OSError as error:
            ready.set_exception(error)
            return
        server.add_socket(listening)
        ready.set_result(listening.getsockname()[1])
        await self._stopping.wait()
        server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.close_all_connections()

    def _on_request(self, request: HTTPServerRequest) -> None:
        connection = cast(HTTP1Connection, request.connection)
        if request.method == "HEAD":  # no vendor documents it, and its answer must not have a body
            wire.send(connection, 405, b"")
            return
        call = _call(request)
        if call.path.startswith(control.PREFIX):
            wire.send_reply(connection, control.answer(self.sandbox, call))
            return
        script = self.sandbox.script(call.path)
        if script.fault is None and not script.latency_s:
            wire.send_reply(connection, self.sandbox.serve(call, script))
            return
        task = self._loop.create_task(self._play(connection, call, script))
        self._tasks.add(task)
        task.add_done_callback(self._played)

    async def _play(self, connection: HTTP1Connection, call: Call, script: Script) -> None:
        """Wait, let the vendor count, wait again, answer. A client that leaves meanwhile has been counted."""
        await asyncio.sleep(script.before_s)
        reply = self.sandbox.serve(call, script)
        await asyncio.sleep(script.after_s)
        try:
            if script.fault is None:
                wire.send_reply(connection, reply)
            else:
                await wire.play(connection, script.fault, reply)
        except StreamClosedError:
            _log.debug("the client left before the end of its answer from %s", call.path)

    def _played(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the sandbox failed to answer", exc_info=error)


def _listen(host: str, port: int) -> socket.socket:
    """Not tornado's ``bind_sockets``: that leaves its socket open when the port is taken (6.6)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def _call(request: HTTPServerRequest) -> Call:
    query = {
        name: [value.decode("utf-8", "replace") for value in values] for name, values in request.query_arguments.items()
    }
    headers = {name.lower(): value for name, value in request.headers.get_all()}
    return Call(request.method or "", request.path, query, headers, request.body)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return host == "localhost"
