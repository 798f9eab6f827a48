"""The providers, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from providers.asinscope import Asinscope
from providers.base import Provider

PROVIDERS: Final[Mapping[str, Provider]] = {provider.name: provider for provider in (Asinscope(),)}
