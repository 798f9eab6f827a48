"""The end of a reservation: refunds, answers that overtake each other, refusals."""

from __future__ import annotations

import pytest
from limiter_steps import denied, grant, left, take, tell, told, totals

from ratelimit import Observation, Quota, Reason, TokenBucket


@pytest.fixture
def limiter(make_limiter):
    made = make_limiter()
    tell(made, b=8, q=100)
    return made


@pytest.mark.parametrize(
    ("consumed", "bucket", "quota"),
    [
        (None, 3.0, 95.0),
        ({}, 3.0, 95.0),
        ({"b": 5, "q": 5}, 3.0, 95.0),
        ({"b": 0, "q": 0}, 8.0, 100.0),
        ({"b": 2, "q": 1}, 6.0, 99.0),
        ({"q": 0}, 3.0, 100.0),
        ({"b": 6, "q": 7}, 2.0, 93.0),
    ],
)
def test_what_was_not_consumed_comes_back(limiter, redis, consumed, bucket, quota):
    assert limiter.settle(grant(limiter, b=5, q=5), consumed=consumed)
    assert (left(limiter, "b"), left(limiter, "q")) == (bucket, quota)
    assert totals(redis, limiter, "b") == totals(redis, limiter, "q") == (5, 5)


def test_a_reservation_is_settled_once(limiter, redis):
    granted = grant(limiter, b=5, q=5)
    assert limiter.settle(granted, consumed={"b": 0, "q": 0})
    assert not limiter.settle(granted, consumed={"b": 0, "q": 0})
    assert not limiter.cancel(granted)
    assert (left(limiter, "b"), left(limiter, "q")) == (8.0, 100.0)
    assert totals(redis, limiter, "b") == (5, 5)


def test_a_cancelled_reservation_leaves_no_trace(limiter, redis):
    granted = grant(limiter, b=5, q=5)
    assert limiter.cancel(granted)
    assert not limiter.cancel(granted)
    assert not limiter.settle(granted)
    assert (left(limiter, "b"), left(limiter, "q")) == (8.0, 100.0)
    assert limiter.peek().in_flight == 0
    assert totals(redis, limiter, "q") == (5, 5)


def test_a_refund_never_lifts_a_bucket_above_its_capacity(limiter, clock):
    granted = grant(limiter, b=2, q=2)
    clock.step(60)
    assert left(limiter, "b") == 8.0  # as far as the two in flight let it refill
    limiter.settle(granted, consumed={"b": 0, "q": 0})
    assert left(limiter, "b") == 10.0


def test_answers_that_overtake_each_other_leave_the_same_level(limiter):
    first, second = grant(limiter, b=1, q=1), grant(limiter, b=1, q=1)
    for granted, bucket, quota in ((second, 6, 98), (first, 7, 99)):
        seen = [Observation(limit="b", left=bucket), Observation(limit="q", left=quota)]
        assert limiter.settle(granted, observations=seen)
    assert (left(limiter, "b"), left(limiter, "q")) == (6.0, 98.0)


def test_a_refund_is_made_before_the_answer_is_believed(limiter):
    """A failed request was free, and its answer says so: the unit is not given back twice."""
    granted = grant(limiter, b=3, q=3)
    seen = [Observation(limit="b", left=8), Observation(limit="q", left=100)]
    limiter.settle(granted, consumed={"b": 0, "q": 0}, observations=seen)
    assert (left(limiter, "b"), left(limiter, "q")) == (8.0, 100.0)


def test_an_answer_shows_what_a_request_that_was_thought_free_did_cost(limiter):
    seen = [Observation(limit="b", left=5), Observation(limit="q", left=97)]
    limiter.settle(grant(limiter, b=3, q=3), consumed={"b": 0, "q": 0}, observations=seen)
    assert (left(limiter, "b"), left(limiter, "q")) == (6.0, 97.0)  # the bucket: 5 and what rounding may hide


def test_others_in_flight_widen_what_an_answer_may_mean(limiter, clock):
    mine, others = grant(limiter, b=1, q=1), grant(limiter, b=3, q=3)
    # 4 and 96 are left to our belief; the provider counted mine alone, or both
    limiter.settle(mine, observations=[Observation(limit="b", left=7), Observation(limit="q", left=99)])
    assert (left(limiter, "b"), left(limiter, "q")) == (4.0, 96.0)
    limiter.settle(others, observations=[Observation(limit="b", left=7), Observation(limit="q", left=99)])
    assert (left(limiter, "b"), left(limiter, "q")) == (6.0, 98.0)  # the three were free: 7 - 1 and 99 - 1 at least


class TestRefused:
    """A 429 all the same."""

    def test_it_lowers_the_bucket_to_less_than_was_asked_for(self, limiter):
        granted = grant(limiter, b=3, q=3)
        limiter.settle(granted, consumed={"b": 0, "q": 0}, observations=[Observation(limit="b", at_most=2)], fault=None)
        assert (left(limiter, "b"), left(limiter, "q")) == (2.0, 100.0)

    def test_what_was_refilled_since_it_was_sent_may_be_there(self, limiter, clock):
        granted = grant(limiter, b=3, q=3)
        clock.step(1.5)
        limiter.settle(granted, consumed={"b": 0, "q": 0}, observations=[Observation(limit="b", at_most=2)], fault=None)
        assert left(limiter, "b") == 3.5

    def test_it_never_lifts_anything(self, limiter):
        granted = grant(limiter, b=3, q=3)
        seen = [Observation(limit="b", at_most=9), Observation(limit="q", at_most=99)]
        limiter.settle(granted, observations=seen, fault=None)
        assert (left(limiter, "b"), left(limiter, "q")) == (5.0, 97.0)

    def test_it_empties_a_quota(self, limiter):
        granted = grant(limiter, b=1, q=1)
        limiter.settle(granted, consumed={"b": 0, "q": 0}, observations=[Observation(limit="q", at_most=0)], fault=None)
        assert left(limiter, "q") == 0.0

    def test_each_one_grows_the_margin_by_a_unit_for_a_minute(self, make_limiter, clock):
        limiter = make_limiter(TokenBucket(name="b", capacity=10, refill_per_s=1))

        def refuse_one() -> None:
            tell(limiter, b=10)
            granted = grant(limiter, b=1)
            seen = [Observation(limit="b", at_most=0)]
            limiter.settle(granted, consumed={"b": 0}, observations=seen, fault=None)

        refuse_one()
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 3.0)
        refuse_one()
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 4.0)
        tell(limiter, b=3)
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 1.0)
        clock.step_us(59_999_999)
        tell(limiter, b=3)  # believed full by now: lowered to 3 and what rounding may hide
        grant(limiter, b=1)
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 1.0)
        clock.step_us(1)
        grant(limiter, b=1)
        grant(limiter, b=1)
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 0.999_999)

    def test_a_claim_near_the_capacity_is_not_sent_again_at_once(self, make_limiter):
        limiter = make_limiter(TokenBucket(name="b", capacity=10, refill_per_s=1))
        tell(limiter, b=10)
        granted = grant(limiter, b=10)
        limiter.settle(granted, consumed={"b": 0}, observations=[Observation(limit="b", at_most=9)], fault=None)
        assert take(limiter, b=10) == denied(Reason.EMPTY, "b", 1.0)

    def test_the_grown_margin_holds_what_is_refilled_during_a_response(self, make_limiter, clock):
        limiter = make_limiter(TokenBucket(name="b", capacity=10, refill_per_s=1))
        tell(limiter, b=10)
        granted = grant(limiter, b=1)
        clock.step(0.5)
        limiter.settle(granted, consumed={"b": 0}, observations=[Observation(limit="b", at_most=0)], fault=None)
        assert left(limiter, "b") == 0.5
        assert take(limiter, b=1) == denied(Reason.EMPTY, "b", 3.0)  # 1 + 1 + 1 grown + 0.5 a response - 0.5


def test_a_limit_without_a_plan_is_learnt_from_an_answer(make_limiter):
    limiter = make_limiter(TokenBucket(name="b"), Quota(name="q", limit=5))
    limiter.settle(grant(limiter, q=1), observations=[Observation(limit="b", left=4, capacity=9, refill_per_s=2)])
    view = limiter.peek().limits["b"]
    assert (view.left, view.capacity, view.refill_per_s) == (4.0, 9.0, 2.0)
    told(limiter, Observation(limit="q", left=4))
    grant(limiter, b=3, q=3)
