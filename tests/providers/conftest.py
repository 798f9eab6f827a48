"""A sandboxed vendor with a wide plan, on a port, and a client for it.

Being here, this file also puts its folder on the path of all tests below it, which share ``loopback``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vendor_client import KEY, WIDE, client_of

from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.server import SandboxServer


@pytest.fixture
def sandbox() -> AsinscopeSandbox:
    return AsinscopeSandbox(WIDE, keys={KEY: "active"})


@pytest.fixture
def server(sandbox: AsinscopeSandbox) -> Iterator[SandboxServer]:
    with SandboxServer(sandbox) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[HttpClient]:
    with client_of(server.url) as http_client:
        yield http_client
