"""Run one vendor's sandbox alone: ``python -m providers.sandbox asinscope --port 8801 --plan pro``.

Prints one line of JSON (``provider``, ``url``, ``key``) when it is ready; SIGTERM or SIGINT end it with status 0.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from providers.sandbox import SandboxOptions, registry
from providers.sandbox.faults import FAULTS
from providers.sandbox.server import SandboxServer
from providers.sandbox.vendor import Json, Latency


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server = _server(options).start()
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    ready = {"provider": options.provider, "url": server.url, "key": _keys(options)[0]}
    print(json.dumps(ready), flush=True)
    stopping.wait()
    server.stop()
    return 0


def _server(options: argparse.Namespace) -> SandboxServer:
    sandbox = registry[options.provider](
        SandboxOptions(
            keys=_keys(options),
            plan=options.plan,
            day_s=options.day_s,
            day_left_s=options.day_left_s,
            latency=Latency(options.latency_s, options.latency_jitter_s, options.count_at),
        )
    )
    sandbox.faults.replace(FAULTS.validate_json(options.faults))
    return SandboxServer(sandbox, options.host, options.port, allow_remote=options.allow_remote)


def _keys(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(options.key or [f"sandbox-key-{options.provider}"])


def _plan(text: str) -> Json:
    """A plan's name, or its fields as a JSON object."""
    return json.loads(text) if text.lstrip().startswith("{") else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m providers.sandbox", description="A local stand-in for a vendor.")
    add = parser.add_argument
    add("provider", choices=sorted(registry))
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on (default: a free one)")
    add("--allow-remote", action="store_true", help="accept a host that other machines can reach")
    add("--plan", type=_plan, help="a plan's name (asinscope: basic, pro) or its fields as JSON")
    add("--day-s", type=float, help="length of the quota's day in seconds")
    add("--day-left-s", type=float, help="seconds to the first daily reset (default: a whole day)")
    add("--latency-s", type=float, default=0.0, help="mean seconds until the answer")
    add("--latency-jitter-s", type=float, default=0.0, help="uniform deviation from the mean, in seconds")
    add("--count-at", choices=("start", "middle", "end"), default="start", help="when in the latency tokens count")
    add("--key", action="append", help="an accepted key, may be repeated (default: sandbox-key-<provider>)")
    add("--faults", default="[]", help="JSON list of faults")
    return parser


if __name__ == "__main__":
    sys.exit(main())
