"""Fleets, with their logs shown where a test fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fleet import Fleet, MakeFleet

from providers.sandbox.faults import Fault
from workers.embedded import NoRedisServer, find_server


@pytest.fixture(scope="session", autouse=True)
def redis_binary() -> None:
    try:
        find_server()
    except NoRedisServer as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def make_fleet(has_failed: Callable[[], bool]) -> Iterator[MakeFleet]:
    """Fleets as the test wants them. Their logs are printed if it fails; a traceback in one of them fails it."""
    with ExitStack() as stack:
        fleets: list[Fleet] = []

        def make(*args: object, nodes: int = 1, concurrency: int = 8, **options: object) -> Fleet:
            fleet = stack.enter_context(Fleet(*args, **options))  # type: ignore[arg-type]
            fleets.append(fleet)
            fleet.add(nodes, concurrency=concurrency)
            return fleet

        yield make
        for fleet in fleets:
            report(fleet, has_failed())


@pytest.fixture(scope="session")
def hung_message() -> Iterator[tuple[Fleet, str]]:
    """A fleet whose provider lets the first request hang, and the message; the other tests run while it does."""
    with Fleet(timing="visibility_s=4,renew_s=1") as fleet:
        fleet.sandbox.faults.replace([Fault(kind="hang")])
        fleet.add(1)
        task_id = fleet.send()
        yield fleet, task_id


@pytest.fixture(scope="session")
def standing_fleet(hung_message: tuple[Fleet, str]) -> Iterator[Fleet]:
    with Fleet(timing="probe_min_s=1,in_flight_s=1") as fleet:
        fleet.add(1)
        yield fleet


@pytest.fixture
def fleet(has_failed: Callable[[], bool], standing_fleet: Fleet) -> Iterator[Fleet]:
    """One node with tokens in plenty, shared by the tests that leave it as they found it."""
    standing_fleet.sandbox.faults.replace([])
    yield standing_fleet
    report(standing_fleet, has_failed())


def report(fleet: Fleet, has_failed: bool) -> None:
    if has_failed:
        print(*fleet.show_logs(), sep="\n")
    else:
        assert not fleet.tracebacks(), fleet.tracebacks()
