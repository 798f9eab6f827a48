"""How many of the tokens that could be spent are spent, and how many 429s that costs.

Three workers, 24 requests at once, 400 messages of one code, a bucket of 20 refilled with 600 a minute, responses in
50±20 ms. Spendable: what the bucket held at the first request, and its refill until the last.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bench.stage import NODE, Stage, peer, stage

MESSAGES, WORKERS, CONCURRENCY = 400, 3, 8
PLAN = {"bucket_capacity": 20, "tokens_per_minute": 600, "daily_tokens": 1_000_000}
LATENCY = ("--latency-s", "0.05", "--latency-jitter-s", "0.02")
WITHIN_S = 240.0


@dataclass(frozen=True)
class Run:
    name: str
    results: int
    throttled: int
    spent: int
    spendable: float
    took_s: float

    @property
    def share(self) -> float:
        return self.spent / self.spendable


def run(name: str, task: str, queue: str, command: list[str]) -> Run:
    """One contender, on a stage of its own."""
    with stage(PLAN, *LATENCY) as here:
        with here.workers(command, WORKERS):
            here.send(task, MESSAGES, queue)
            results = here.wait_for_results(MESSAGES, WITHIN_S)
        return _measure(name, here, results)


def _measure(name: str, here: Stage, results: int) -> Run:
    lookups = [entry for entry in here.ledger() if entry["path"] == "/products/lookup"]
    took_s = lookups[-1]["at_s"] - lookups[0]["at_s"]
    return Run(
        name=name,
        results=results,
        throttled=sum(entry["status"] == 429 for entry in lookups),
        spent=sum(entry["cost"] for entry in lookups if entry["counted"]),
        spendable=PLAN["bucket_capacity"] + PLAN["tokens_per_minute"] / 60 * took_s,
        took_s=took_s,
    )


def main() -> int:
    """Run all three, print a table. Status 1 where Tidegate falls short of 0 x 429 and 99 %."""
    runs = [
        run("Tidegate", "asinscope.lookup", "asinscope", [*NODE, "--concurrency", str(CONCURRENCY)]),
        run("Celery, retry with backoff and jitter", "retrying.lookup", "retrying", peer("retrying", CONCURRENCY)),
        run("Celery, rate_limit and retry", "limited.lookup", "limited", peer("limited", CONCURRENCY)),
    ]
    print(f"{MESSAGES} messages of one token, {WORKERS} workers x {CONCURRENCY}, bucket 20, 600 a minute, 50±20 ms")
    print(f"{'':40}{'results':>8}{'429s':>8}{'tokens used':>13}{'time':>9}")
    for entry in runs:
        print(f"{entry.name:40}{entry.results:8d}{entry.throttled:8d}{entry.share:12.1%}{entry.took_s:8.1f} s")
    ours = runs[0]
    good = ours.results == MESSAGES and ours.throttled == 0 and ours.share >= 0.99
    print("0 x 429 and 99 % of the tokens: " + ("reached" if good else "NOT reached"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
