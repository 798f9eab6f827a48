"""Messages a second of one node, as a ratio to a plain Celery task that does the same GET and the same push.

No limits, no latency. Both have all messages queued before they start; counted from the first result to the last, in
turn, the median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import os
import statistics
import sys

from bench.stage import NODE, peer, stage

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CONCURRENCY = 8
PLAN = {"bucket_capacity": 1_000_000, "tokens_per_minute": 60_000_000, "daily_tokens": 1_000_000_000}


def per_second(task: str, queue: str, command: list[str]) -> float:
    """One run on a stage of its own."""
    with stage(PLAN) as here:
        here.send(task, MESSAGES, queue)
        with here.workers(command, 1):
            found = here.wait_for_results(MESSAGES, 120)
            if found != MESSAGES:
                log = (here.directory / "worker-0.log").read_text(errors="replace")
                raise RuntimeError(f"{task}: {found} of {MESSAGES} results\n{log[-3000:]}")
        times = here.result_times_s()
    return (MESSAGES - 1) / (times[-1] - times[0])


def main() -> int:
    """Run the rounds, print them. Status 1 below 0.7."""
    ratios = []
    print(f"{MESSAGES} messages, concurrency {CONCURRENCY}: Tidegate, plain Celery (messages a second), ratio")
    for _ in range(ROUNDS):
        ours = per_second("asinscope.lookup", "asinscope", [*NODE, "--concurrency", str(CONCURRENCY)])
        theirs = per_second("plain.lookup", "plain", peer("plain", CONCURRENCY))
        ratios.append(ours / theirs)
        print(f"{ours:10.0f}{theirs:10.0f}{ratios[-1]:8.2f}", flush=True)
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} (aim: at least 0.70)")
    return 0 if median >= 0.7 else 1


if __name__ == "__main__":
    sys.exit(main())
