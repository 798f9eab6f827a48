"""A Redis of the tests' own, emptied for each, and a node built on it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from providers.secret import Secret
from workers.embedded import NoRedisServer, find_server, free_port
from workers.node import Node
from workers.settings import Settings, load


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    try:
        binary = find_server()
    except NoRedisServer as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        log = Path(folder) / "redis.log"
        options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder, "--logfile", str(log)]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            await_ready(server, port, log)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(10)


def await_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    with Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except RedisConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"redis-server did not start:\n{log.read_text()}")
                time.sleep(0.02)  # there is nothing to wait on but the port
            else:
                return


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Redis."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({"TIDEGATE_REDIS_URL": redis_url, "ASINSCOPE_API_KEY": "unit-test-key", "ASINSCOPE_PLAN": "pro"})


@pytest.fixture
def node(redis: Redis, settings: Settings) -> Iterator[Node]:
    node = Node(settings, ["asinscope"], concurrency=2)
    yield node
    node.close()


@pytest.fixture
def key() -> Secret:
    return Secret("unit-test-key")
