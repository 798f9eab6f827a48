"""The control API under ``/_sandbox/``: how other processes read the ledger and script the vendor.

It is no part of the vendor's world: its requests are not in the ledger and no fault or latency touches them.

- ``GET  ledger?since=N``  the entries from number N on, as a JSON list
- ``GET  summary``         counts by path and status, tokens consumed, what is left
- ``POST faults``          a JSON list of :class:`providers.sandbox.faults.Fault`; it replaces those that stand
- ``POST <control>``       what the vendor offers (``VendorSandbox.controls``). ASINScope: ``key``
  ``{"key", "state"}``, ``spend`` ``{"tokens"}``, ``plan`` (a name or the plan's fields), ``left``
  ``{"day", "bucket"}``, ``latency`` ``{"mean_s", "jitter_s", "count_at"}``
"""

from __future__ import annotations

import json
from dataclasses import asdict

from providers.sandbox.faults import FAULTS
from providers.sandbox.vendor import Call, Json, Reply, VendorSandbox

PREFIX = "/_sandbox/"


def answer(sandbox: VendorSandbox, call: Call) -> Reply:
    """Answer a control request: 400 with ``{"error"}`` for one that cannot be understood, 404 for an unknown one."""
    try:
        result = _run(sandbox, call, call.path.removeprefix(PREFIX))
    except (KeyError, TypeError, ValueError) as error:
        return Reply(400, {"error": f"{type(error).__name__}: {error}"})
    if result is None:
        return Reply(404, {"error": f"no control {call.method} {call.path}"})
    return Reply(200, result)


def _run(sandbox: VendorSandbox, call: Call, name: str) -> Json:
    """Return the control's result, ``None`` if there is no such control."""
    if call.method == "GET" and name == "ledger":
        since = int(call.query.get("since", ["0"])[0])
        return [asdict(entry) for entry in sandbox.ledger.entries(since)]
    if call.method == "GET" and name == "summary":
        return sandbox.summary()
    if call.method != "POST":
        return None
    if name == "faults":
        faults = FAULTS.validate_json(call.body)
        sandbox.faults.replace(faults)
        return {"standing": len(faults)}
    control = sandbox.controls().get(name)
    return control(json.loads(call.body)) if control else None
