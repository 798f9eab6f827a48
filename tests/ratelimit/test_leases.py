"""A killed process leaks nothing, and what it may have spent stays spent."""

from __future__ import annotations

import pytest
from limiter_steps import grant, left, take, tell, totals

from ratelimit import Denied, Observation


@pytest.fixture
def limiter(make_limiter):
    made = make_limiter(lease_s=60)
    tell(made, b=10, q=100)
    return made


def test_a_lease_lasts_so_long_and_no_longer(limiter, clock, redis):
    grant(limiter, b=3, q=3)
    clock.step_us(59_999_999)
    grant(limiter, b=1, q=1)
    assert (limiter.peek().in_flight, totals(redis, limiter, "q")) == (2, (4, 0))
    clock.step_us(1)
    assert limiter.peek().in_flight == 1
    clock.step(1)  # dead leases are looked for once a second
    grant(limiter, b=1, q=1)
    assert (limiter.peek().in_flight, totals(redis, limiter, "q"), totals(redis, limiter, "b")) == (2, (5, 3), (5, 3))


def test_what_a_dead_lease_may_have_spent_stays_spent_until_the_provider_says_otherwise(limiter, clock):
    grant(limiter, b=5, q=5)
    clock.step(61)
    assert (left(limiter, "q"), left(limiter, "b")) == (95.0, 5.0)
    grant(limiter, b=1, q=1)
    assert left(limiter, "q") == 94.0
    assert left(limiter, "b") == 9.0  # full again: it was counted long ago, if ever
    tell(limiter, q=99)
    assert left(limiter, "q") == 98.0  # 99, less the one in flight


def test_a_request_that_takes_far_too_long_holds_back_a_bucket_only_so_long(limiter, clock):
    """Else every claim near the capacity would wait for the lease of a killed process to end."""
    quick = grant(limiter, q=1)
    clock.step(0.5)
    limiter.settle(quick)  # responses take half a second
    grant(limiter, b=1)
    clock.step_us(4_999_999)  # eight of them and a second
    assert isinstance(take(limiter, b=10), Denied)
    assert left(limiter, "b") == 9.0
    clock.step(1)  # looked for once a second
    grant(limiter, b=10)


def test_before_any_response_came_nothing_takes_too_long(limiter, clock):
    grant(limiter, b=1)
    clock.step(59)
    assert isinstance(take(limiter, b=10), Denied)
    assert left(limiter, "b") == 9.0


def test_who_comes_too_late_refunds_nothing_but_is_listened_to(limiter, clock, redis):
    late = grant(limiter, b=5, q=5)
    clock.step(62)
    grant(limiter, b=1, q=1)
    assert not limiter.settle(late, consumed={"b": 0, "q": 0})
    assert left(limiter, "q") == 94.0
    assert not limiter.settle(late, observations=[Observation(limit="q", left=80)])
    assert left(limiter, "q") == 80.0
    assert not limiter.cancel(late)
    assert totals(redis, limiter, "q") == (6, 5)


def test_who_is_late_but_before_anybody_noticed_is_in_time(limiter, clock, redis):
    late = grant(limiter, b=5, q=5)
    clock.step(62)
    assert limiter.settle(late, consumed={"b": 0, "q": 0})
    assert left(limiter, "q") == 100.0
    assert totals(redis, limiter, "q") == (5, 5)


def test_a_denied_claim_finds_dead_leases_too(limiter, clock, redis):
    grant(limiter, b=5, q=5)
    clock.step(61)
    assert isinstance(take(limiter, b=11), Denied)
    assert totals(redis, limiter, "q") == (5, 5)


def test_many_dead_leases_are_buried_a_hundred_at_a_time(limiter, clock, redis):
    for _ in range(100):
        grant(limiter, q=1)
    for _ in range(5):
        limiter.cancel(grant(limiter, b=1))
    clock.step(10)
    for _ in range(8):
        grant(limiter, b=1)
    clock.step(61)
    assert limiter.peek().in_flight == 0
    assert totals(redis, limiter, "q") == (100, 0)
    take(limiter, q=1)
    assert totals(redis, limiter, "q") == (100, 100)
    assert totals(redis, limiter, "b") == (13, 5)
    take(limiter, q=1)
    assert totals(redis, limiter, "b") == (13, 13)
    assert redis.zcard("{tidegate:v:main}:leases") == 0


def test_granted_less_settled_is_what_lives(limiter, clock, redis):
    live = [grant(limiter, b=1, q=2) for _ in range(4)]
    limiter.settle(live.pop())
    limiter.cancel(live.pop())
    assert totals(redis, limiter, "q") == (8, 4)
    view = limiter.peek().limits
    assert (view["q"].outstanding, view["b"].outstanding) == (4.0, 2.0)
    clock.step(61)
    tell(limiter, b=10)
    limiter.settle(grant(limiter, b=1, q=1))
    assert totals(redis, limiter, "q") == (9, 9)
