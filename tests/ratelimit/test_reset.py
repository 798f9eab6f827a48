"""A quota's periods: answers from before a reset arrive after it, and short days are days."""

from __future__ import annotations

import pytest
from limiter_steps import denied, grant, left, spend, take, told

from ratelimit import Observation, Quota, Reason, TokenBucket

QUOTA = Quota(name="q", limit=100)


def seen(units: int, reset_in_s: float) -> Observation:
    return Observation(limit="q", left=units, reset_in_s=reset_in_s)


def test_a_reset_makes_an_account_that_can_be_asked_unobserved(make_limiter, clock):
    limiter = make_limiter(QUOTA, max_age_s=3600)
    told(limiter, seen(40, 20))
    clock.step_us(19_999_999)
    spend(limiter, q=1)
    clock.step_us(1)
    assert take(limiter, q=1) == denied(Reason.UNOBSERVED, "q", 0.0)
    assert left(limiter, "q") is None
    told(limiter, seen(100, 86_400))
    grant(limiter, q=1)
    assert limiter.peek().limits["q"].reset_in_s == 86_400.0


def test_a_reset_of_an_account_that_cannot_be_asked_lets_one_request_go_first(make_limiter, clock):
    limiter = make_limiter(QUOTA)
    told(limiter, seen(0, 20))
    clock.step(20)
    first = grant(limiter, q=1)
    assert take(limiter, q=1) == denied(Reason.HALF_OPEN, "account", 0.25)
    limiter.settle(first, observations=[seen(99, 80)])
    assert left(limiter, "q") == 99.0
    grant(limiter, q=50)
    grant(limiter, q=49)
    assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 80.0)


def test_an_observation_of_another_limit_does_not_hide_a_reset(make_limiter, clock):
    limiter = make_limiter(QUOTA, TokenBucket(name="b", capacity=10, refill_per_s=1))
    told(limiter, seen(0, 20), Observation(limit="b", left=10))
    clock.step(21)
    told(limiter, Observation(limit="b", left=10))
    grant(limiter, q=1, b=1)


def test_requests_in_flight_over_a_reset_may_count_in_the_new_period(make_limiter, clock):
    limiter = make_limiter(QUOTA)
    told(limiter, seen(10, 20))
    in_flight = grant(limiter, q=10)
    clock.step(20)
    assert left(limiter, "q") == 90.0
    assert take(limiter, q=91) == denied(Reason.EMPTY, "q", 0.25)
    grant(limiter, q=90)
    limiter.settle(in_flight, consumed={"q": 0})  # from before: refunds nothing of the new period
    assert left(limiter, "q") == 0.0


class TestAnswersFromBefore:
    """The answer was given before the reset, and arrives after it."""

    @pytest.mark.parametrize("max_age_s", [None, 3600.0])
    def test_before_anybody_saw_the_new_period(self, make_limiter, clock, max_age_s):
        limiter = make_limiter(QUOTA, max_age_s=max_age_s)
        told(limiter, seen(10, 5))
        old = grant(limiter, q=1)
        clock.step(6)
        limiter.settle(old, observations=[seen(9, 0.5)])
        if max_age_s:
            assert take(limiter, q=1) == denied(Reason.UNOBSERVED, "q", 0.0)
        else:
            grant(limiter, q=1)
            assert left(limiter, "q") == 99.0

    @pytest.mark.parametrize("told_with", ["reset", "nothing"])
    def test_after_the_new_period_was_seen(self, make_limiter, clock, told_with):
        limiter = make_limiter(QUOTA, max_age_s=3600)
        told(limiter, seen(10, 5))
        old = grant(limiter, q=1)
        clock.step(5.5)
        told(limiter, seen(100, 86_399.5))
        clock.step(0.5)
        answer = seen(0, 0.5) if told_with == "reset" else Observation(limit="q", at_most=0)
        limiter.settle(old, consumed={"q": 0}, observations=[answer], fault=None)
        # the question was asked while it was in flight: it may count in the new period
        view = limiter.peek().limits["q"]
        assert (view.left, view.reset_in_s) == (99.0, 86_399.0)

    def test_after_the_first_request_of_a_period_that_nobody_was_told_of(self, make_limiter, clock):
        limiter = make_limiter(QUOTA)
        told(limiter, seen(10, 5))
        old = grant(limiter, q=1)
        clock.step(5)
        clock.step(0.1)
        grant(limiter, q=1)
        limiter.settle(old, observations=[seen(0, 0.2)])
        assert left(limiter, "q") == 98.0

    def test_a_request_sent_before_and_counted_after_the_reset(self, make_limiter, clock):
        limiter = make_limiter(QUOTA, max_age_s=3600)
        told(limiter, seen(10, 5))
        granted = grant(limiter, q=1)
        clock.step(6)
        limiter.settle(granted, observations=[seen(99, 86_399)])
        view = limiter.peek().limits["q"]
        assert (view.left, view.reset_in_s) == (99.0, 86_399.0)


def test_the_earliest_time_told_of_a_reset_counts(make_limiter, clock):
    limiter = make_limiter(QUOTA)
    told(limiter, seen(10, 60))
    clock.step(1)
    told(limiter, seen(10, 59.7))
    assert limiter.peek().limits["q"].reset_in_s == 59.0
    told(limiter, seen(10, 58.9))
    assert limiter.peek().limits["q"].reset_in_s == 58.9


def test_a_slow_answer_about_the_same_day_is_not_taken_for_the_next_day(make_limiter, clock):
    limiter = make_limiter(QUOTA, max_age_s=3600)
    told(limiter, seen(50, 100))
    granted = grant(limiter, q=1)
    clock.step(30)
    limiter.settle(granted, observations=[seen(49, 100)])  # given at once, thirty seconds on its way
    view = limiter.peek().limits["q"]
    assert (view.left, view.reset_in_s) == (49.0, 70.0)


def test_a_provider_that_has_not_reset_yet_when_we_thought_so_is_believed(make_limiter, clock):
    limiter = make_limiter(QUOTA, max_age_s=3600)
    told(limiter, seen(0, 10))
    clock.step(10)
    told(limiter, seen(0, 0.4))
    assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 0.4)
    clock.step(0.4)
    assert take(limiter, q=1) == denied(Reason.UNOBSERVED, "q", 0.0)


def test_a_reset_that_is_told_as_now_passes_at_once(make_limiter, clock):
    limiter = make_limiter(QUOTA)
    told(limiter, seen(0, 0))
    clock.step_us(1)
    grant(limiter, q=1)


@pytest.mark.parametrize("day_s", [2.0, 8.0, 20.0, 86_400.0])
def test_days_of_any_length_follow_each_other(make_limiter, clock, day_s):
    limiter = make_limiter(QUOTA, max_age_s=100_000)
    for _ in range(3):
        told(limiter, seen(100, day_s))
        granted = grant(limiter, q=100)
        clock.step(0.1)
        limiter.settle(granted, observations=[seen(0, day_s - 0.1)])
        assert take(limiter, q=1) == denied(Reason.EMPTY, "q", pytest.approx(day_s - 0.1))
        clock.step(day_s - 0.1)
        assert take(limiter, q=1) == denied(Reason.UNOBSERVED, "q", 0.0)


class TestUnknownReset:
    def test_where_nobody_tells_it_one_request_tries_every_five_minutes(self, make_limiter, clock):
        limiter = make_limiter(QUOTA)
        grant_all = grant(limiter, q=100)
        limiter.settle(grant_all)
        assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 60.0)
        clock.step(60)
        assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 240.0)
        for _ in range(2):
            clock.step(240)
            tried = grant(limiter, q=1)
            assert take(limiter, q=1) == denied(Reason.HALF_OPEN, "account", 0.25)
            limiter.settle(tried, consumed={"q": 0}, observations=[Observation(limit="q", at_most=0)], fault=None)
            assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 60.0)
            clock.step(60)

    def test_where_the_provider_can_be_asked_it_is_asked_when_its_word_is_old(self, make_limiter, clock):
        limiter = make_limiter(QUOTA, max_age_s=90)
        told(limiter, Observation(limit="q", left=0))
        assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 60.0)
        clock.step(91)
        assert take(limiter, q=1) == denied(Reason.UNOBSERVED, "account", 0.0)
