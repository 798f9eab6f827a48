"""What the provider says is believed as far as it can be true, and no further."""

from __future__ import annotations

import pytest
from limiter_steps import denied, grant, left, spend, take, tell, told

from ratelimit import Observation, Quota, Reason, TokenBucket

BUCKET = TokenBucket(name="b", capacity=10, refill_per_s=1)
QUOTA = Quota(name="q", limit=100)


@pytest.mark.parametrize(
    ("said", "then"),
    [(3, 4.0), (4, 5.0), (5, 5.0), (6, 6.0), (10, 10.0), (0, 1.0)],
)
def test_a_level_is_moved_into_what_an_answer_can_mean(make_limiter, said, then):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=5)
    tell(limiter, b=said)
    assert left(limiter, "b") == then


def test_what_was_refilled_since_the_question_may_be_there(make_limiter, clock):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=10)
    mark = limiter.mark()
    clock.step(2.5)
    limiter.observe(mark, [Observation(limit="b", left=4)])
    assert left(limiter, "b") == 7.5


def test_a_level_never_passes_the_capacity(make_limiter):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=11)
    assert left(limiter, "b") == 10.0


def test_the_fraction_that_rounding_hides_is_kept(make_limiter, clock):
    limiter = make_limiter(TokenBucket(name="b", capacity=60, refill_per_s=1 / 6))
    tell(limiter, b=10)
    clock.step(5.4)  # 0.9 of a token
    for _ in range(20):
        tell(limiter, b=10)
    assert left(limiter, "b") == pytest.approx(10.9, abs=1e-5)


def test_a_reservation_made_after_the_question_may_not_have_been_counted(make_limiter):
    limiter = make_limiter(BUCKET, QUOTA)
    mark = limiter.mark()
    tell(limiter, b=10, q=100)
    grant(limiter, b=4, q=4)
    limiter.observe(mark, [Observation(limit="b", left=10), Observation(limit="q", left=100)])
    assert (left(limiter, "b"), left(limiter, "q")) == (6.0, 96.0)


def test_a_reservation_settled_before_the_question_has_been_counted(make_limiter):
    limiter = make_limiter(BUCKET, QUOTA)
    tell(limiter, b=10, q=100)
    spend(limiter, b=4, q=4)
    tell(limiter, b=10, q=100)  # so it was free
    assert (left(limiter, "b"), left(limiter, "q")) == (10.0, 100.0)


def test_the_first_word_about_a_limit_counts_what_is_in_flight_against_it(make_limiter):
    limiter = make_limiter(TokenBucket(name="b"), QUOTA)
    grant(limiter, q=4)
    mark = limiter.mark()
    limiter.observe(mark, [Observation(limit="b", left=5, capacity=10, refill_per_s=1)])
    assert left(limiter, "b") == 5.0
    grant(limiter, b=2)
    limiter.observe(mark, [Observation(limit="b", left=5)])
    assert left(limiter, "b") == 3.0


@pytest.mark.parametrize(("said", "then"), [(0, 0.0), (49, 49.0), (50, 50.0), (51, 51.0), (100, 100.0)])
def test_a_quota_is_exactly_what_the_provider_says(make_limiter, said, then):
    limiter = make_limiter(QUOTA)
    tell(limiter, q=50)
    tell(limiter, q=said)
    assert left(limiter, "q") == then


def test_a_top_up_opens_an_empty_quota_at_once(make_limiter):
    limiter = make_limiter(QUOTA)
    told(limiter, Observation(limit="q", left=0, reset_in_s=3600))
    assert take(limiter, q=1) == denied(Reason.EMPTY, "q", 3600.0)
    told(limiter, Observation(limit="q", left=30, capacity=130, reset_in_s=3600))
    assert limiter.peek().limits["q"].capacity == 130.0
    grant(limiter, q=1)


class TestPlanChange:
    def test_a_larger_plan(self, make_limiter, clock):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=10)
        assert take(limiter, b=60) == denied(Reason.IMPOSSIBLE, "b", 0.0)
        told(limiter, Observation(limit="b", left=10, capacity=120, refill_per_s=5))
        assert take(limiter, b=60) == denied(Reason.EMPTY, "b", 10.2)
        clock.step(10.2)
        grant(limiter, b=60)

    def test_a_smaller_plan(self, make_limiter, clock):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=10)
        told(limiter, Observation(limit="b", left=4, capacity=4, refill_per_s=0.5))
        assert left(limiter, "b") == 4.0
        spend(limiter, b=4)
        assert take(limiter, b=4) == denied(Reason.EMPTY, "b", 8.0)
        assert take(limiter, b=5) == denied(Reason.IMPOSSIBLE, "b", 0.0)

    def test_what_was_refilled_before_it_was_refilled_at_the_old_rate(self, make_limiter, clock):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=0)
        clock.step(3)
        told(limiter, Observation(limit="b", refill_per_s=100))
        assert left(limiter, "b") == 3.0
        clock.step(0.01)
        assert left(limiter, "b") == 4.0

    def test_a_capacity_alone_cuts_what_is_above_it(self, make_limiter):
        limiter = make_limiter(BUCKET)
        tell(limiter, b=10)
        told(limiter, Observation(limit="b", capacity=6))
        assert left(limiter, "b") == 6.0


class TestDeclaration:
    def test_what_the_provider_told_stays(self, make_limiter):
        limiter = make_limiter(BUCKET, QUOTA)
        seen = Observation(limit="b", left=50, capacity=120, refill_per_s=2)
        told(limiter, seen, Observation(limit="q", left=7, capacity=1000))
        limiter.declare()
        grant(make_limiter(BUCKET, QUOTA), b=7, q=7)
        view = limiter.peek().limits
        assert (view["b"].left, view["b"].capacity, view["b"].refill_per_s) == (43.0, 120.0, 2.0)
        assert (view["q"].left, view["q"].capacity) == (0.0, 1000.0)

    def test_another_plan_in_the_settings_counts_at_the_next_start(self, make_limiter, clock):
        tell(make_limiter(BUCKET, QUOTA), b=4, q=30)
        clock.step(2)
        plan = TokenBucket(name="b", capacity=5, refill_per_s=10), Quota(name="q", limit=150)
        grant(make_limiter(*plan), b=1, q=1)
        view = make_limiter(*plan).peek().limits
        assert (view["b"].left, view["b"].capacity, view["b"].refill_per_s) == (4.0, 5.0, 10.0)
        assert (view["q"].left, view["q"].capacity) == (79.0, 150.0)  # what was used stays used

    def test_a_plan_declared_after_the_provider_spoke_changes_nothing(self, make_limiter):
        seen = Observation(limit="b", left=7, capacity=20, refill_per_s=3)
        told(make_limiter(TokenBucket(name="b")), seen)
        limiter = make_limiter(BUCKET)
        limiter.declare()
        view = limiter.peek().limits["b"]
        assert (view.left, view.capacity, view.refill_per_s) == (7.0, 20.0, 3.0)


def test_a_capacity_without_a_rate_is_no_bucket_yet(make_limiter):
    limiter = make_limiter(TokenBucket(name="b"))
    told(limiter, Observation(limit="b", left=7, capacity=20))
    assert take(limiter, b=1) == denied(Reason.UNOBSERVED, "b", 0.0)
    assert limiter.peek().observed_ago_s is None


def test_an_observation_of_a_limit_that_is_not_the_accounts_is_a_mistake(make_limiter):
    limiter = make_limiter(BUCKET)
    with pytest.raises(KeyError):
        tell(limiter, x=1)


def refused(limiter):
    limiter.settle(
        grant(limiter, q=10), consumed={"q": 0}, observations=[Observation(limit="q", at_most=9)], fault=None
    )
    return take(limiter, q=10, at_least=1)


def test_a_refusal_of_a_quota_has_the_provider_asked_before_anything_else_goes(make_limiter):
    """Else a divisible claim would try one unit less each time, and be refused each time."""
    limiter = make_limiter(QUOTA, max_age_s=60)
    tell(limiter, q=100)
    assert refused(limiter) == denied(Reason.UNOBSERVED, "account", 0.0)
    tell(limiter, q=4)
    assert grant(limiter, q=10, at_least=1).costs == {"q": 4}


def test_a_refusal_of_a_quota_is_all_there_is_where_the_provider_cannot_be_asked(make_limiter):
    limiter = make_limiter(QUOTA)
    tell(limiter, q=100)
    assert refused(limiter).costs == {"q": 9}
