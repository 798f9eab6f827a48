"""Sandboxes that live by a stepped clock, and one on a port."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sandbox_calls import KEY, Clock

from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.server import SandboxServer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pro(clock: Clock) -> AsinscopeSandbox:
    return AsinscopeSandbox("pro", keys={KEY: "active"}, clock=clock)


@pytest.fixture
def basic(clock: Clock) -> AsinscopeSandbox:
    return AsinscopeSandbox("basic", keys={KEY: "active"}, clock=clock)


@pytest.fixture
def server(pro: AsinscopeSandbox) -> Iterator[SandboxServer]:
    with SandboxServer(pro) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, params={"key": KEY}, timeout=30.0, trust_env=False) as http:
        yield http
