"""A fleet of real processes: a Redis server, a sandboxed vendor on a port, nodes, and a plain Celery producer.

The vendor lives in this process, so that a test reads its ledger and turns its taps directly. Nodes are started as
``celery -A workers worker``. Everything is ended by its process id when the ``with`` block ends.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from celery import Celery
from kombu.transport.redis import PRIORITY_STEPS
from redis import Redis
from redis.exceptions import RedisError

from providers.sandbox.asinscope import AsinscopePlan, AsinscopeSandbox
from providers.sandbox.ledger import Entry
from providers.sandbox.server import SandboxServer
from providers.sandbox.vendor import Latency
from workers.embedded import find_server

KEY = "sandbox-key-asinscope"
LOOKUP, TOKENS = "/products/lookup", "/account/tokens"
QUEUE, FREE = "asinscope", "asinscope.free"
QUICK = "visibility_s=4,renew_s=1,in_flight_s=1,hold_s=2"
"""Timing with which a fleet gets over a death in seconds."""
AMPLE = AsinscopePlan(bucket_capacity=10_000, tokens_per_minute=600_000, daily_tokens=1_000_000)

T = TypeVar("T")


def until(wanted: Callable[[], T], within_s: float = 15.0, what: str = "") -> T:
    """Wait until ``wanted`` returns something true, and return it; fail after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not (found := wanted()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or wanted}; last: {found!r}")
        time.sleep(0.02)
    return found


def throughout(for_s: float, holds: Callable[[], bool], what: str) -> None:
    """Check again and again for ``for_s`` seconds that something stays as it is."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert holds(), what
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def asins(count: int, first: int = 0) -> list[str]:
    return [f"B{number:09d}" for number in range(first, first + count)]


class RedisServer:
    """A redis-server on a port of its own, that can be killed and started again on what it has written."""

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis(port=self.port)

    def start(self) -> None:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "dir": str(self._folder),
            "logfile": str(self._folder / "redis.log"),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([find_server(), *arguments], stdout=subprocess.DEVNULL)
        until(self._answers, what="redis-server answers")

    def _answers(self) -> bool:
        with suppress(RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        self.client.close()


class Node:
    """One worker process and its log."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers", "worker", "-n", f"{name}@%h", *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"node {self.name} ended with {self.process.poll()}:\n{self.text[-3000:]}"
        return " serves asinscope" in self.text

    @property
    def rss_kb(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, within_s: float = 45.0) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def end(self) -> None:
        """After SIGTERM: wait for it, but not for ever."""
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


def _unexpected(lines: Sequence[str]) -> Iterator[str]:
    """Tracebacks with what stands around them; not those of Celery at DEBUG for what goes back to its queue."""
    for number, line in enumerate(lines):
        known = number and "reject requeue=True" in lines[number - 1]
        if "Unrecoverable" in line or (line.startswith("Traceback") and not known):
            yield "\n".join(lines[max(0, number - 2) : number + 60])


class Fleet:
    """The whole. ``with Fleet(...) as fleet: fleet.add(2)`` has two nodes ready to serve."""

    def __init__(
        self,
        plan: AsinscopePlan | str = AMPLE,
        *,
        timing: str = "",
        day_left_s: float | None = None,
        latency: Latency | None = None,
        appendonly: bool = False,
        apart: bool = False,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-")
        self.folder = Path(self._folder.name)
        self.redis = RedisServer(self.folder / "redis", appendonly=appendonly)
        self.broker = RedisServer(self.folder / "broker") if apart else self.redis
        self.sandbox = AsinscopeSandbox(plan, day_left_s=day_left_s, latency=latency, **options)
        self.server = SandboxServer(self.sandbox)
        self.nodes: list[Node] = []
        self.expected_statuses: set[int] = set()
        """Statuses with which nodes may end that have logged a traceback."""
        self._timing = timing
        self._environment = dict(environment or {})
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        for server in {self.redis, self.broker}:
            server.start()
        self.server.start()
        self.producer = Celery(broker=self.broker.url, set_as_current=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.process.terminate()
        self.server.stop()  # whoever still waits for an answer stops waiting
        for node in self.nodes:
            node.end()
        self.producer.close()
        self.producer.pool.force_close_all()
        for server in {self.redis, self.broker}:
            server.stop()
        self._folder.cleanup()

    # --- nodes

    @property
    def environment(self) -> dict[str, str]:
        """What a node's process gets, and nothing else from ours but PATH and HOME."""
        ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {
            **ours,
            "TIDEGATE_REDIS_URL": self.redis.url,
            "TIDEGATE_BROKER_URL": self.broker.url,
            "TIDEGATE_TIMING": self._timing,
            "ASINSCOPE_API_KEY": KEY,
            "ASINSCOPE_BASE_URL": self.server.url,
            **self._environment,
        }

    def start(self, *arguments: str, concurrency: int = 8, level: str = "INFO") -> Node:
        """Start a node; it may not be ready yet."""
        queues = f"{QUEUE},{FREE}"
        options = ["-Q", queues, "-c", str(concurrency), "-l", level, "--without-gossip", "--without-mingle"]
        node = Node(f"node{next(self._numbers)}", self.folder, self.environment, [*options, *arguments])
        self.nodes.append(node)
        return node

    def add(self, count: int = 1, **options: Any) -> list[Node]:
        """Start nodes and wait until they are ready."""
        nodes = [self.start(**options) for _ in range(count)]
        for node in nodes:
            until(lambda node=node: node.is_ready, what=f"{node.name} is ready")
        return nodes

    def show_logs(self) -> Iterator[str]:
        for node in self.nodes:
            yield f"----- {node.name} (pid {node.process.pid}, status {node.process.poll()})\n{node.text[-6000:]}"

    def tracebacks(self) -> str:
        """What the nodes logged that nobody expected."""
        lines = [node.text.splitlines() for node in self.nodes if node.process.poll() not in self.expected_statuses]
        return "\n".join(found for text in lines for found in _unexpected(text))

    # --- messages

    def send(self, *, queue: str = QUEUE, task: str = "asinscope.lookup", args: Any = None, **options: Any) -> str:
        """Send one message as any producer would; returns its id. ``kwargs`` defaults to one ASIN."""
        options.setdefault("kwargs", {"asin": ["B01NAL48FU"]})
        result = self.producer.send_task(task, args=args, queue=queue, **options)
        return str(result.id)

    def send_many(self, count: int, *, codes: int = 1, first: int = 0, **options: Any) -> list[str]:
        """Send messages with different codes, in order; returns their ids."""
        return [self.send(kwargs={"asin": asins(codes, first + number * codes)}, **options) for number in range(count)]

    def push_raw(self, message: bytes | str, name: str = QUEUE) -> None:
        self.broker.client.lpush(name, message)

    def entries(self, stream: str = "tidegate:results") -> list[dict[str, bytes]]:
        """The entries of a stream, oldest first."""
        found = self.redis.client.xrange(stream)
        return [{name.decode(): value for name, value in fields.items()} for _, fields in found]

    def results(self) -> list[dict[str, Any]]:
        """The result documents, oldest first."""
        return [json.loads(entry["result"]) for entry in self.entries()]

    def result_of(self, task_id: str, within_s: float = 15.0) -> dict[str, Any]:
        """The one result of a message."""

        def found() -> list[dict[str, Any]]:
            return [result for result in self.results() if result["task_id"] == task_id]

        until(found, within_s, f"{task_id} has its result")
        [result] = found()
        return result

    def all_results(self, ids: Sequence[str], within_s: float = 30.0) -> dict[str, dict[str, Any]]:
        """Results by message, when each has exactly one and nothing is left anywhere."""
        wanted = set(ids)

        def missing() -> bool:
            have = {entry["task_id"].decode() for entry in self.entries()}
            return wanted <= have

        until(missing, within_s, "every message has a result")
        counts = Counter(entry["task_id"].decode() for entry in self.entries())
        assert {name: count for name, count in counts.items() if count != 1} == {}
        until(lambda: self.left_over() == {}, within_s, f"nothing is left: {self.left_over()}")
        return {result["task_id"]: result for result in self.results() if result["task_id"] in wanted}

    def lists(self) -> dict[str, int]:
        """Length of each of the queues' lists that is not empty."""
        names = [f"{queue}\x06\x16{step}" if step else queue for queue in (QUEUE, FREE) for step in PRIORITY_STEPS]
        return {name: length for name in names if (length := self.broker.client.llen(name))}

    def unacked(self) -> int:
        return self.broker.client.hlen("tidegate:unacked")

    def in_flight(self) -> int:
        return sum(self.broker.client.llen(key) for key in self.broker.client.keys("tidegate:inflight:*"))

    def parked(self) -> int:
        return self.redis.client.zcard("{tidegate:deferred:asinscope}:due")

    def left_over(self) -> dict[str, int]:
        """Everything that still holds a message."""
        places = {**self.lists(), "unacked": self.unacked(), "in flight": self.in_flight(), "parked": self.parked()}
        return {name: count for name, count in places.items() if count}

    def dead_letters(self) -> list[dict[str, bytes]]:
        return self.entries("tidegate:deadletter")

    def queued_ids(self, name: str = QUEUE) -> list[str]:
        """Ids of the messages in a list, the next one to be served first."""
        messages = self.broker.client.lrange(name, 0, -1)
        return [json.loads(message)["headers"]["id"] for message in reversed(messages)]

    # --- the account

    def heartbeats(self) -> list[dict[str, Any]]:
        keys = self.redis.client.keys("tidegate:node:asinscope:*")
        return [json.loads(value) for value in self.redis.client.mget(keys) if value] if keys else []

    def closed(self) -> list[str | None]:
        """Why each node's gate is closed (``None``: open)."""
        return [beat["closed"] for beat in self.heartbeats()]

    def lookups(self) -> list[Entry]:
        return [entry for entry in self.sandbox.ledger.entries() if entry.path == LOOKUP]

    def asked(self) -> list[Entry]:
        """Questions what is left."""
        return [entry for entry in self.sandbox.ledger.entries() if entry.path == TOKENS]

    def breaches(self) -> int:
        """How often the vendor itself had to say 429."""
        return len(self.sandbox.ledger.broken_limits())


MakeFleet = Callable[..., Fleet]
"""A fixture's way to a fleet: the arguments of :class:`Fleet`, and how many nodes it begins with."""
