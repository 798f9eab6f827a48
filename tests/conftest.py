"""What all tests share: long tests only when asked for, and whether a test failed, for fixtures that show logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

import pytest

LONG = os.environ.get("TIDEGATE_LONG") == "1"

_failed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes a minute or more; runs with TIDEGATE_LONG=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not LONG:
            item.add_marker(pytest.mark.skip(reason="takes a minute or more: set TIDEGATE_LONG=1"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.failed:
        item.stash[_failed] = report.failed
    return report


@pytest.fixture
def has_failed(request: pytest.FixtureRequest) -> Callable[[], bool]:
    """Asked while fixtures are taken down: whether the test itself failed."""
    return lambda: request.node.stash.get(_failed, False)
