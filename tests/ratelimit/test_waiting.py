"""The waiting line of a bucket: older claims first, the dead forgotten, nobody polls."""

from __future__ import annotations

import pytest
from limiter_steps import denied, grant, left, spend, take, tell, told

from ratelimit import Granted, Observation, Quota, Reason, TokenBucket

BUCKET = TokenBucket(name="b", capacity=10, refill_per_s=1)


@pytest.fixture
def nodes(make_limiter):
    """Three processes that use one account, whose bucket holds 1 unit above the floor of 1."""
    limiters = [make_limiter(BUCKET) for _ in range(3)]
    tell(limiters[0], b=2)
    return limiters


def test_a_younger_claim_does_not_take_what_an_older_one_waits_for(nodes, clock):
    old, young, third = nodes
    assert take(old, "old", b=5) == denied(Reason.EMPTY, "b", 4.0)
    assert take(young, "young", b=1) == denied(Reason.WAITING, "b", 5.0)  # for 5 + 1, and 1 above the floor
    assert take(third, "third", b=2) == denied(Reason.EMPTY, "b", 7.0)
    clock.step(4)
    assert take(young, "young", b=1) == denied(Reason.WAITING, "b", 1.0)
    grant(old, "old", b=5)
    assert take(young, "young", b=1) == denied(Reason.EMPTY, "b", 1.0)
    clock.step(1)
    assert take(third, "third", b=2) == denied(Reason.EMPTY, "b", 2.0)
    grant(young, "young", b=1)


def test_a_claim_without_a_ticket_waits_behind_everybody_and_leaves_no_trace(nodes):
    old, young, _ = nodes
    take(old, "old", b=3)
    assert take(young, b=1) == denied(Reason.WAITING, "b", 3.0)
    assert old.peek().waiting == 1


def test_a_younger_claim_goes_first_where_there_is_enough_for_both(nodes, clock):
    old, young, _ = nodes
    take(old, "old", b=2)
    clock.step(2)
    grant(young, "young", b=1)
    grant(old, "old", b=2)


def test_the_place_in_line_is_kept_while_the_claim_keeps_asking(nodes, clock):
    old, young, third = nodes
    take(old, "old", b=9)
    take(young, "young", b=8)
    take(third, "third", b=1)
    for _ in range(3):
        clock.step(1)
        take(third, "third", b=1)
        take(young, "young", b=8)
        take(old, "old", b=9)
    assert take(third, "third", b=1) == denied(Reason.WAITING, "b", 14.0)  # 9 + 8 + 1, and 1, less 5
    assert take(young, "young", b=8) == denied(Reason.EMPTY, "b", 13.0)
    assert take(old, "old", b=9) == denied(Reason.EMPTY, "b", 5.0)


def test_a_ticket_lapses_when_its_claim_does_not_ask_in_time(make_limiter, clock):
    limiter = make_limiter(BUCKET, ask_within_s=5, ticket_grace_s=3)
    tell(limiter, b=2)
    take(limiter, "dead", b=9)  # told to come in 8 s, to say so every 5 s, with 3 s of grace
    clock.step_us(7_999_999)
    assert take(limiter, "young", b=1) == denied(Reason.WAITING, "b", 1.000_001)
    clock.step_us(1)
    grant(limiter, "young", b=1)
    assert limiter.peek().waiting == 0


def test_a_ticket_that_is_told_to_come_sooner_lapses_sooner(make_limiter, clock):
    limiter = make_limiter(BUCKET, ask_within_s=5, ticket_grace_s=3)
    tell(limiter, b=0)
    take(limiter, "dead", b=1)  # told to come in 2 s
    clock.step_us(4_999_999)
    assert limiter.peek().waiting == 1
    clock.step_us(1)
    assert limiter.peek().waiting == 0


def test_a_late_claim_keeps_its_place_where_nobody_has_noticed(nodes, clock):
    old, young, _ = nodes
    take(old, "old", b=9)
    take(young, "young", b=8)
    clock.step(7.5)
    take(old, "old", b=9)
    clock.step(0.5)
    assert take(young, "young", b=8) == denied(Reason.WAITING, "b", 8.0)  # 9 before it, and 8, and 1, less 10


def test_the_dead_in_the_middle_of_the_line_are_not_waited_for(nodes, clock):
    old, middle, young = nodes
    spend(old, b=1)
    take(old, "old", b=9)
    take(middle, "middle", b=9)
    assert take(young, "young", b=1) == denied(Reason.EMPTY, "b", 19.0)
    middle.forget("middle")
    assert take(young, "young", b=1) == denied(Reason.EMPTY, "b", 10.0)
    take(middle, "lost", b=9)
    last = take(middle, "last", b=1)
    assert last == denied(Reason.EMPTY, "b", 20.0)
    for _ in range(2):  # the others keep asking, the lost one does not
        clock.step(4)
        take(old, "old", b=9)
        take(young, "young", b=1)
        last = take(middle, "last", b=1)
    assert last == denied(Reason.WAITING, "b", 3.0)  # 9 + 1 + 1, and 1, less 9


def test_a_forgotten_ticket_is_nobodys(nodes):
    old, young, _ = nodes
    take(old, "old", b=9)
    old.forget("old")
    old.forget("never seen")
    grant(young, "young", b=1)
    assert old.peek().waiting == 0


def test_a_granted_claim_leaves_the_line(nodes, clock, redis):
    old, young, _ = nodes
    take(old, "old", b=2)
    take(young, "young", b=2)
    clock.step(1)
    grant(old, "old", b=2)
    assert redis.zrange("{tidegate:v:main}:line:b", 0, -1) == [b"young"]
    assert redis.hkeys("{tidegate:v:main}:book:b") == [b"young"]


def test_retry_is_exact_for_each_of_a_line_that_is_served_in_order(make_limiter, clock):
    """Asked again at the moment it was told, each claim is granted: nobody polls."""
    limiter = make_limiter(TokenBucket(name="b", capacity=60, refill_per_s=0.5))
    tell(limiter, b=0)
    waits = [take(limiter, f"m{number}", b=cost).retry_in_s for number, cost in enumerate((1, 10, 1, 3))]
    at = 0.0
    for number, (cost, wait) in enumerate(zip((1, 10, 1, 3), waits, strict=True)):
        while wait - at > 5:  # it says «still here» meanwhile
            clock.step(5)
            at += 5
            for other in range(number, 4):
                assert not isinstance(take(limiter, f"m{other}", b=(1, 10, 1, 3)[other]), Granted)
        clock.step_us(round((wait - at) * 1_000_000) - 1)
        assert not isinstance(take(limiter, f"m{number}", b=cost), Granted)
        clock.step_us(1)
        limiter.settle(grant(limiter, f"m{number}", b=cost))
        at = wait
    assert waits == [4.0, 24.0, 26.0, 32.0]


def test_big_claims_beside_small_ones_come_to_their_turn(make_limiter, clock):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=2)
    assert take(limiter, "ten", b=10) == denied(Reason.EMPTY, "b", 8.0)
    for second in range(8):
        assert not isinstance(take(limiter, f"one{second}", b=1), Granted)
        assert not isinstance(take(limiter, "ten", b=10), Granted)
        clock.step(1)
    grant(limiter, "ten", b=10)


def test_a_claim_of_two_buckets_keeps_its_place_in_both(make_limiter, clock):
    limiter = make_limiter(BUCKET, TokenBucket(name="c", capacity=10, refill_per_s=0.5))
    tell(limiter, b=0, c=0)
    assert take(limiter, "old", b=5, c=5) == denied(Reason.EMPTY, "c", 12.0)
    clock.step(4)
    assert take(limiter, "old", b=5, c=5) == denied(Reason.EMPTY, "c", 8.0)
    clock.step(4)  # there is enough in b for both by now
    assert take(limiter, "old", b=5, c=5) == denied(Reason.EMPTY, "c", 4.0)
    assert take(limiter, "young", b=3) == denied(Reason.WAITING, "b", 1.0)
    clock.step(4)
    grant(limiter, "old", b=5, c=5)


def test_a_claim_that_a_quota_holds_up_does_not_stand_in_a_buckets_line(make_limiter):
    limiter = make_limiter(BUCKET, Quota(name="q", limit=100))
    told(limiter, Observation(limit="b", left=3), Observation(limit="q", left=0, reset_in_s=3600))
    assert take(limiter, "old", b=5, q=5) == denied(Reason.EMPTY, "q", 3600.0)
    assert limiter.peek().waiting == 0
    spend(limiter, b=2)


def test_a_divisible_claim_waits_for_what_it_will_get(make_limiter):
    limiter = make_limiter(BUCKET, Quota(name="q", limit=100))
    told(limiter, Observation(limit="b", left=1), Observation(limit="q", left=2, reset_in_s=3600))
    assert take(limiter, "old", b=9, q=9, at_least=1) == denied(Reason.EMPTY, "b", 2.0)
    assert take(limiter, "young", b=1) == denied(Reason.EMPTY, "b", 3.0)


def test_a_very_long_line_is_looked_at_as_far_as_it_matters(make_limiter, clock):
    limiter = make_limiter(BUCKET)
    tell(limiter, b=2)
    for number in range(510):
        take(limiter, f"m{number}", b=2)
    assert take(limiter, "m509", b=2) == denied(Reason.EMPTY, "b", 1001.0)  # as if 500 were before it
    clock.step(1)
    grant(limiter, "m0", b=2)
    assert left(limiter, "b") == 1.0
    clock.step(20)  # all are dead by now
    grant(limiter, b=2)
