"""Which processes of a test are alive, found by a token in their environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def processes_with(token: str) -> list[int]:
    """Ids of the living processes whose environment holds ``token``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            if alive and token.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def wait_until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a state; an AssertionError where it does not come in time."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not reached in {seconds} s"
        time.sleep(0.02)
