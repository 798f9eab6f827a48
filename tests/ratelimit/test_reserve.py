"""What is granted, what is denied, for how long: both sides of every bound."""

from __future__ import annotations

import pytest
from limiter_steps import denied, grant, left, race, spend, take, tell, told, totals

from ratelimit import AccountLimits, Claim, Limiter, Observation, Quota, Reason, TokenBucket

BUCKET = TokenBucket(name="b", capacity=10, refill_per_s=1)
QUOTA = Quota(name="q", limit=100)


def test_a_bucket_starts_empty_and_grants_when_it_was_told_it_would(make_limiter, clock):
    limiter = make_limiter(BUCKET)
    assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 2.0)  # one unit, and one above the floor
    clock.step_us(1_999_999)
    assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 0.001)
    clock.step_us(1)
    assert grant(limiter, b=1).costs == {"b": 1}


def test_a_bucket_is_spent_down_to_one_unit(make_limiter):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=10)
    for _ in range(9):
        spend(limiter, b=1)
    assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 1.0)
    assert left(limiter, "b") == 1.0


def test_a_claim_of_the_whole_capacity_needs_a_full_bucket_and_no_more(make_limiter, clock):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=10)
    spend(limiter, b=10)
    assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 10.0)
    clock.step_us(9_999_999)
    assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 0.001)
    clock.step_us(1)
    grant(limiter, b=10)


def test_the_margin_shrinks_where_the_capacity_leaves_no_room_for_it(make_limiter, clock):
    limiter = make_limiter(TokenBucket(name="b", capacity=10.5, refill_per_s=1))
    told(limiter, Observation(limit="b", left=10, capacity=10.5, refill_per_s=1))
    assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 0.5)
    clock.step(0.5)
    grant(limiter, b=10)


def test_a_bucket_with_requests_in_flight_refills_only_as_far_as_the_provider_surely_does(make_limiter, clock):
    limiter = make_limiter(BUCKET, lease_s=100_000)
    tell(limiter, b=10)
    in_flight = grant(limiter, b=1)
    clock.step(3600)
    assert left(limiter, "b") == 9.0
    assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 1.0)
    limiter.settle(in_flight)
    assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 1.0)
    clock.step(1)
    grant(limiter, b=10)


def test_where_responses_outlast_the_filling_of_the_bucket_what_is_usually_in_flight_does_not_hold_it_back(
    make_limiter, clock
):
    limiter = make_limiter(BUCKET)
    for latency_s, level in ((10, 9.0), (11, 10.0)):
        tell(limiter, b=10)
        first = grant(limiter, b=1)
        clock.step(latency_s)
        for _ in range(100):  # the running mean comes to the latency
            limiter.settle(first)
        clock.step(10)
        second = grant(limiter, b=1)
        clock.step(10)
        assert left(limiter, "b") == level
        limiter.cancel(second)


def test_a_quota_is_spent_to_nothing_and_comes_back_at_its_reset(make_limiter, clock):
    limiter = make_limiter(QUOTA)
    told(limiter, Observation(limit="q", left=2, reset_in_s=50.25))
    spend(limiter, q=1)
    spend(limiter, q=1)
    assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 50.25)
    clock.step_us(50_249_999)
    assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 0.000001)
    clock.step_us(1)
    grant(limiter, q=1)
    assert left(limiter, "q") == 99.0


def test_nothing_is_taken_of_one_limit_when_another_refuses(make_limiter, redis):
    limiter = make_limiter(BUCKET, QUOTA)
    tell(limiter, b=3, q=100)
    assert take(limiter, b=3, q=3) == denied(Reason.EMPTY, "b", 1.0)
    told(limiter, Observation(limit="q", left=1, reset_in_s=60))
    assert take(limiter, b=2, q=2) == denied(Reason.EMPTY, "q", 60.0)
    assert (left(limiter, "b"), left(limiter, "q")) == (3.0, 1.0)
    assert totals(redis, limiter, "b") == totals(redis, limiter, "q") == (0, 0)
    assert limiter.peek().in_flight == 0


def test_the_limit_that_takes_longest_is_named(make_limiter):
    limiter = make_limiter(BUCKET, TokenBucket(name="slow", capacity=10, refill_per_s=0.1))
    assert take(limiter, b=1, slow=1) == denied(Reason.EMPTY, "slow", 20.0)
    assert take(limiter, slow=1, b=1) == denied(Reason.EMPTY, "slow", 20.0)
    assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 2.0)


def test_a_bucket_that_never_refills_says_to_come_back_in_a_minute(make_limiter):
    limiter = make_limiter(TokenBucket(name="b", capacity=10, refill_per_s=0))
    assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 60.0)


class TestDivisible:
    def test_a_claim_shrinks_to_what_the_quota_has_left(self, make_limiter):
        limiter = make_limiter(BUCKET, QUOTA)
        tell(limiter, b=10, q=3)
        assert grant(limiter, b=8, q=8, at_least=3).costs == {"b": 3, "q": 3}
        assert (left(limiter, "b"), left(limiter, "q")) == (7.0, 0.0)

    def test_a_claim_does_not_shrink_below_what_it_accepts(self, make_limiter):
        limiter = make_limiter(BUCKET, QUOTA)
        told(limiter, Observation(limit="b", left=10), Observation(limit="q", left=3, reset_in_s=9))
        assert take(limiter, b=8, q=8, at_least=4) == denied(Reason.EMPTY, "q", 9.0)

    def test_a_claim_shrinks_to_what_the_bucket_can_ever_hold(self, make_limiter):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=10)
        assert grant(limiter, b=15, at_least=10).costs == {"b": 10}
        assert take(limiter, b=15, at_least=11) == denied(Reason.IMPOSSIBLE, "b", 0.0)

    def test_what_a_bucket_lacks_just_now_does_not_shrink_a_claim(self, make_limiter):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=5)
        assert take(limiter, b=9, at_least=1) == denied(Reason.EMPTY, "b", 5.0)

    def test_an_empty_quota_is_empty_even_where_the_bucket_is_small(self, make_limiter):
        limiter = make_limiter(BUCKET, QUOTA)
        told(limiter, Observation(limit="b", left=10), Observation(limit="q", left=0, reset_in_s=9))
        assert take(limiter, b=20, q=20, at_least=1) == denied(Reason.EMPTY, "q", 9.0)

    def test_fractions_of_a_capacity_are_not_granted(self, make_limiter):
        limiter = make_limiter(TokenBucket(name="b", capacity=7.9, refill_per_s=1))
        tell(limiter, b=8)
        assert grant(limiter, b=9, at_least=1).costs == {"b": 7}


class TestImpossible:
    def test_more_than_a_bucket_holds(self, make_limiter):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=10)
        assert take(limiter, b=11) == denied(Reason.IMPOSSIBLE, "b", 0.0)
        grant(limiter, b=10)

    def test_more_than_a_quota_ever_has(self, make_limiter):
        limiter = make_limiter(QUOTA)
        assert take(limiter, q=101) == denied(Reason.IMPOSSIBLE, "q", 0.0)
        grant(limiter, q=100)

    def test_it_outranks_what_waiting_helps_against(self, make_limiter):
        limiter = make_limiter(BUCKET, QUOTA)
        told(limiter, Observation(limit="q", left=0, reset_in_s=3600))
        assert take(limiter, b=11, q=11) == denied(Reason.IMPOSSIBLE, "b", 0.0)


class TestUnobserved:
    def test_nothing_is_granted_before_the_provider_was_asked(self, make_limiter):
        limiter = make_limiter(BUCKET, max_age_s=60)
        assert take(limiter, b=1) == denied(Reason.UNOBSERVED, "account", 0.0)
        tell(limiter, b=10)
        grant(limiter, b=1)

    def test_an_observation_is_good_for_so_long_and_no_longer(self, make_limiter, clock):
        limiter = make_limiter(BUCKET, max_age_s=60)
        tell(limiter, b=10)
        clock.step(60)
        grant(limiter, b=1)
        clock.step_us(1)
        assert take(limiter, b=1) == denied(Reason.UNOBSERVED, "account", 0.0)

    def test_a_limit_that_only_the_provider_knows_waits_for_its_own_observation(self, make_limiter):
        limiter = make_limiter(TokenBucket(name="b"), Quota(name="q"), max_age_s=60)
        tell(limiter, q=5)
        assert take(limiter, b=1, q=1) == denied(Reason.UNOBSERVED, "b", 0.0)
        told(limiter, Observation(limit="b", left=5, capacity=10, refill_per_s=1))
        grant(limiter, b=1, q=1)


def test_large_numbers_keep_every_digit(make_limiter):
    limiter = make_limiter(Quota(name="q", limit=9_000_000_000))
    spend(limiter, q=1)
    assert left(limiter, "q") == 8_999_999_999.0
    spend(limiter, q=1_234_567_891)
    assert left(limiter, "q") == 7_765_432_108.0


def test_an_account_that_redis_forgot_starts_again_from_its_plan(make_limiter, redis):
    limiter = make_limiter(BUCKET, QUOTA)
    tell(limiter, b=10, q=50)
    grant(limiter, b=1, q=1)
    redis.flushall()
    assert take(limiter, b=1, q=1) == denied(Reason.EMPTY, "b", 2.0)
    assert left(limiter, "q") == 100.0
    redis.flushall()
    tell(limiter, b=10)
    grant(limiter, b=1, q=1)


def test_accounts_and_prefixes_share_nothing(make_limiter, redis, clock):
    first, second = make_limiter(QUOTA, account="v:one"), make_limiter(QUOTA, account="v:two")
    third = Limiter(redis, "v:one", AccountLimits(limits=(QUOTA,)), prefix="other", clock=clock)
    grant(first, q=100)
    grant(second, q=100)
    grant(third, q=100)
    assert {key.split(b"}")[0] for key in redis.scan_iter()} == {
        b"{tidegate:v:one",
        b"{tidegate:v:two",
        b"{other:v:one",
    }


def test_a_claim_of_an_unknown_limit_is_a_mistake(make_limiter):
    with pytest.raises(KeyError, match="claim names limit 'x'"):
        take(make_limiter(BUCKET), x=1)


@pytest.mark.parametrize("cost", [0, -1, 1.5, True])
def test_a_cost_is_a_whole_number_from_one(cost):
    with pytest.raises(ValueError, match="whole number from 1"):
        Claim(costs={"b": cost})


@pytest.mark.parametrize(("costs", "at_least"), [({"b": 2}, 0), ({"b": 2}, 3), ({"b": 2, "q": 1}, 1)])
def test_a_divisible_claim_has_one_cost_and_a_least_within_it(costs, at_least):
    with pytest.raises(ValueError, match=r"at_least|same number"):
        Claim(costs=costs, at_least=at_least)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "1st", "naïve"])
def test_a_limits_name_is_an_ascii_identifier(name):
    with pytest.raises(ValueError, match="ASCII identifier"):
        AccountLimits(limits=(Quota(name=name),))


def test_limits_of_an_account_have_different_names():
    with pytest.raises(ValueError, match="different names"):
        AccountLimits(limits=(Quota(name="q"), TokenBucket(name="q")))


@pytest.mark.parametrize("limit", [Quota(name="x", limit=100), TokenBucket(name="x", capacity=101, refill_per_s=0)])
def test_four_hundred_that_ask_at_once_for_a_hundred_units_get_exactly_a_hundred(redis, redis_server, limit):
    limits = AccountLimits(limits=(limit,))
    tell(Limiter(redis, "race", limits), x=100 if isinstance(limit, Quota) else 101)
    assert race(redis_server, limits, processes=8, threads=50) == 100
    view = Limiter(redis, "race", limits).peek().limits["x"]
    assert (view.left, view.outstanding) == (0.0 if isinstance(limit, Quota) else 1.0, 100.0)
