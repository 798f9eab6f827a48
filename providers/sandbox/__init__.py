"""Local stand-ins for the vendors, exact to the token: for tests, for the demo and for users' own trials.

A vendor is one file: a subclass of :class:`providers.sandbox.vendor.VendorSandbox` and its line in ``registry``.
Faults, latency, ledger, HTTP server, control API and command line come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from providers.sandbox import asinscope
from providers.sandbox.vendor import SandboxOptions, VendorSandbox

registry: Mapping[str, Callable[[SandboxOptions], VendorSandbox]] = {
    asinscope.NAME: asinscope.from_options,
}
"""How each vendor's sandbox is made from the options of the command line."""

__all__ = ["SandboxOptions", "VendorSandbox", "registry"]
