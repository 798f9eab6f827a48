"""Messages a second of one node, as a ratio to a plain Celery task that does the same GET and the same push.

No limits, no latency. All messages are queued before a worker starts; counted from the first result to the last, in
turn, the median of the ratios of neighbouring runs. A node always sends Celery's events (Flower shows them); the plain
worker is run with them and, as Celery has it by default, without.
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
    """Run the rounds, print them. Status 1 below 0.7 beside the plain worker without events."""
    ratios: list[tuple[float, float]] = []
    print(f"messages a second, {MESSAGES} messages, concurrency {CONCURRENCY}")
    print(f"{'Tidegate':>10}{'plain':>10}{'ratio':>8}{'plain with events':>20}{'ratio':>8}")
    for _ in range(ROUNDS):
        ours = per_second("asinscope.lookup", "asinscope", [*NODE, "--concurrency", str(CONCURRENCY)])
        bare = per_second("plain.lookup", "plain", peer("plain", CONCURRENCY, events=False))
        watched = per_second("plain.lookup", "plain", peer("plain", CONCURRENCY))
        ratios.append((ours / bare, ours / watched))
        print(f"{ours:10.0f}{bare:10.0f}{ours / bare:8.2f}{watched:20.0f}{ours / watched:8.2f}", flush=True)
    to_bare, to_watched = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median ratio {to_bare:.2f} (aim: at least 0.70), with events {to_watched:.2f}")
    return 0 if to_bare >= 0.7 else 1


if __name__ == "__main__":
    sys.exit(main())
