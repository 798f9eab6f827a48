"""Looking changes nothing, and sees what a claim would meet."""

from __future__ import annotations

from limiter_steps import dump, grant, take, tell, told

from ratelimit import Granted, LimitView, Observation, Quota, Reason, TokenBucket


def test_an_account_that_nobody_has_used(make_limiter, redis):
    seen = make_limiter().peek()
    assert (seen.observed_ago_s, seen.paused_for_s, seen.half_open) == (None, None, False)
    assert (seen.waiting, seen.in_flight) == (0, 0)
    assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (Reason.UNOBSERVED, "account", None)
    assert seen.limits["b"] == LimitView(name="b", kind="token_bucket", capacity=None, left=None, outstanding=0.0)
    assert seen.limits["q"] == LimitView(name="q", kind="quota", capacity=None, left=None, outstanding=0.0)
    assert redis.dbsize() == 0


def test_everything_is_seen(make_limiter, clock):
    limiter = make_limiter()
    told(limiter, Observation(limit="b", left=6), Observation(limit="q", left=50, reset_in_s=100))
    grant(limiter, b=2, q=2)
    clock.step(0.5)
    seen = limiter.peek()
    assert seen.limits["b"] == LimitView(
        name="b", kind="token_bucket", capacity=10.0, left=4.5, outstanding=2.0, refill_per_s=1.0
    )
    assert seen.limits["q"] == LimitView(
        name="q", kind="quota", capacity=100.0, left=48.0, outstanding=2.0, reset_in_s=99.5
    )
    assert (seen.observed_ago_s, seen.in_flight, seen.waiting) == (0.5, 1, 0)
    assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (None, None, 0.0)


def test_it_says_when_one_unit_of_everything_could_be_had(make_limiter, clock):
    limiter = make_limiter()
    tell(limiter, b=1, q=50)
    seen = limiter.peek()
    assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (Reason.EMPTY, "b", 1.0)
    told(limiter, Observation(limit="q", left=0, reset_in_s=30))
    seen = limiter.peek()
    assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (Reason.EMPTY, "q", 30.0)


def test_those_in_line_go_first(make_limiter):
    limiter = make_limiter()
    tell(limiter, b=3, q=50)
    take(limiter, "old", b=5, q=5)
    seen = limiter.peek()
    assert (seen.waiting, seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (1, Reason.WAITING, "b", 4.0)


def test_it_changes_nothing_even_where_much_has_lapsed(make_limiter, redis, clock):
    limiter = make_limiter(max_age_s=60)
    told(limiter, Observation(limit="b", left=6), Observation(limit="q", left=50, reset_in_s=20))
    grant(limiter, b=2, q=2)
    take(limiter, "dead", b=9, q=9)
    clock.step(100)
    before = dump(redis)
    seen = limiter.peek()
    assert dump(redis) == before
    assert (seen.waiting, seen.in_flight, seen.blocked_reason) == (0, 0, Reason.UNOBSERVED)
    assert (seen.next_in_s, seen.limits["q"].left, seen.limits["q"].reset_in_s) == (None, None, 0.0)


def test_it_agrees_with_what_a_claim_is_told(make_limiter, clock):
    limiter = make_limiter(
        TokenBucket(name="b", capacity=4, refill_per_s=0.7), Quota(name="q", limit=12), max_age_s=None
    )
    told(limiter, Observation(limit="b", left=4), Observation(limit="q", left=9, reset_in_s=20))
    for _ in range(60):
        clock.step(0.37)
        seen, reply = limiter.peek(), take(limiter, b=1, q=1)
        if isinstance(reply, Granted):
            assert (seen.blocked_reason, seen.next_in_s) == (None, 0.0)
            limiter.settle(reply)
        else:
            assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (
                reply.reason, reply.limit, reply.retry_in_s
            )  # fmt: skip
