"""The Lua scripts beside this file: one operation each, shared steps as includes, loaded once.

A script names its includes in lines ``-- include: name``; each stands in ``lua/name.lua``. What KEYS, ARGV and the
reply of a script mean is written at its head and nowhere else.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

_INCLUDE: Final = re.compile(r"^-- include: (\w+)\n", re.MULTILINE)


@cache
def source(name: str, package: str = "ratelimit") -> str:
    """Text of script ``name`` of a package's ``lua`` folder, includes expanded.

    Raises :class:`FileNotFoundError` for a name that is not there.
    """
    text = (resources.files(package) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: source(match.group(1), package), text)
