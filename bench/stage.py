"""What every bench stands on: a Redis and a sandbox of its own per contender, worker processes, results counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from celery import Celery
from redis import Redis

from workers.embedded import EmbeddedRedis

ROOT = Path(__file__).resolve().parent.parent
KEY = "sandbox-key-asinscope"
STREAM = "tidegate:results"


class Stage:
    """One contender's surroundings. ``environment`` is what its workers get."""

    def __init__(self, redis_url: str, sandbox_url: str, directory: Path) -> None:
        self.redis = Redis.from_url(redis_url, decode_responses=True)
        self.sandbox_url = sandbox_url
        self.directory = directory
        self.environment = {
            "TIDEGATE_REDIS_URL": redis_url,
            "TIDEGATE_BROKER_URL": redis_url,
            "ASINSCOPE_BASE_URL": sandbox_url,
            "ASINSCOPE_API_KEY": KEY,
            "PYTHONPATH": str(ROOT),
        }
        self.redis_url = redis_url

    def send(self, task: str, count: int, queue: str) -> None:
        """Queue ``count`` single-code look-ups."""
        app = Celery(broker=self.redis_url, set_as_current=False)
        with app.producer_or_acquire() as producer:
            for number in range(count):
                kwargs = {"asin": [f"B0{number:08d}"], "domain": "com"}
                app.send_task(task, kwargs=kwargs, task_id=str(uuid.uuid4()), queue=queue, producer=producer)

    @contextlib.contextmanager
    def workers(self, command: Sequence[str], count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run ``count`` processes of a command, end them afterwards; their output stays in the directory."""
        running = []
        try:
            for number in range(count):
                with (self.directory / f"worker-{number}.log").open("ab") as log:
                    environment = {**os.environ, **self.environment}
                    running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT))
            yield running
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def wait_for_results(self, count: int, within_s: float) -> int:
        """Wait until the stream holds ``count`` results; returns how many it holds."""
        deadline = time.monotonic() + within_s
        while (found := self.redis.xlen(STREAM)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return int(found)

    def ledger(self) -> list[dict[str, Any]]:
        """Every request that the sandbox saw."""
        return list(httpx.get(f"{self.sandbox_url}/_sandbox/ledger", timeout=30).json())

    def result_times_s(self) -> list[float]:
        """When each result was added, by Redis' clock."""
        entries: Any = self.redis.xrange(STREAM)
        return [int(entry_id.partition("-")[0]) / 1000 for entry_id, _ in entries]


@contextlib.contextmanager
def stage(plan: dict[str, float], *sandbox_options: str) -> Iterator[Stage]:
    """A fresh Redis and a fresh sandbox process with this plan."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, EmbeddedRedis(Path(name) / "redis") as redis:
        command = [sys.executable, "-m", "providers.sandbox", "asinscope", "--plan", json.dumps(plan), *sandbox_options]
        sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        try:
            assert sandbox.stdout is not None
            url = json.loads(sandbox.stdout.readline())["url"]
            yield Stage(redis.url, url, Path(name))
        finally:
            sandbox.terminate()
            sandbox.wait(timeout=10)
            if sandbox.stdout:
                sandbox.stdout.close()


NODE = [sys.executable, "-m", "workers", "worker", "asinscope", "--loglevel", "ERROR"]


def peer(queue: str, concurrency: int, *, events: bool = True) -> list[str]:
    """The command of a plain Celery worker that serves one of the peers' queues; with events, as Flower needs them."""
    options = ["-q", "-A", "bench.peers", "worker", "-P", "threads", "-c", str(concurrency), "-Q", queue]
    name = f"{queue}-{uuid.uuid4().hex[:6]}"
    watched = ["-E"] if events else []
    return [sys.executable, "-m", "celery", *options, *watched, "-l", "ERROR", "--without-gossip", "-n", name]
