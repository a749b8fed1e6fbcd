"""How much the cache folder may hold: what a process uses stays, of the rest the least recently used gives way.

An entry is a file NAME-DIGEST with the suffix .frames or .npy; other files are neither counted nor removed. Whoever opens an
entry holds it by a shared lock (flock), which lasts as long as the file or a map of it is open, in forked workers too, and ends
with its processes in whichever way they end. The file's modification time says when it was last opened. Entries are opened,
made and removed under the folder's lock (:func:`~geoseg_ros.training.data.cache_folder.locked`), so none is removed while
somebody is about to hold it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from geoseg_ros.errors import ConfigError
from geoseg_ros.progress import say
from geoseg_ros.training.data.cache_folder import GB, amount

LIMIT_GB = 20.0
"""What the folder may hold where nothing else is said."""

_ENTRY = re.compile(r".+-[0-9a-f]{16}\.(frames|npy)")


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    opened: int  # ns


def hold(entry: BinaryIO) -> None:
    """Mark an entry that was opened for reading as used now, and as in use until it and its maps are closed."""
    fcntl.flock(entry, fcntl.LOCK_SH)
    with suppress(PermissionError):  # another user's entry keeps its time: it gives way earlier
        os.utime(entry.fileno())


def fill_level(folder: Path, limit_gb: float) -> str:
    """What the folder holds, in words."""
    return f"the folder holds {amount(sum(entry.size for entry in _entries(folder)))} of {limit_gb:g} GB"


def make_room(folder: Path, what: str, needed: int, limit_gb: float, own: Collection[Path], advice: str) -> None:
    """Remove entries, the least recently used first, until ``needed`` bytes fit beside the others into ``limit_gb`` gigabytes.

    ``own`` are the entries that the bytes are for: those that are there count in ``needed``. What is removed is said on stderr.
    ConfigError, and nothing is removed, where it would not help: ``what`` needs too much, or others are in use; ``advice`` ends
    its message.
    """
    others = [entry for entry in _entries(folder) if entry.path not in own]
    free = [entry for entry in others if not _in_use(entry.path)]
    held = sum(entry.size for entry in others) - sum(entry.size for entry in free)
    if needed + held > limit_gb * GB:
        beside = f" beside {amount(held)} that is in use in {folder}" if held else ""
        raise ConfigError(f"{what} need {amount(needed)}{beside}, cache_gb allows {limit_gb:g} GB; {advice}")
    total, removed = needed + sum(entry.size for entry in others), 0
    before = total
    for entry in free:
        if total <= limit_gb * GB:
            break
        try:
            entry.path.unlink()
        except OSError as error:
            raise ConfigError(f"the cache entry {entry.path} cannot be removed: {error.strerror}") from error
        total, removed = total - entry.size, removed + 1
    if removed:
        count = f"{removed} least recently used {'entry' if removed == 1 else 'entries'} of"
        say(f"cache {folder}: removed the {count} {amount(before - total)}, since cache_gb allows {limit_gb:g} GB")


def _entries(folder: Path) -> list[_Entry]:
    """The entries, the least recently used first."""
    found = []
    for path in folder.iterdir():
        if _ENTRY.fullmatch(path.name) and path.is_file():
            status = path.stat()
            found.append(_Entry(path, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda entry: (entry.opened, entry.path.name))


def _in_use(path: Path) -> bool:
    """Whether a process holds an entry; one that cannot be opened or locked counts as held."""
    try:
        with path.open("rb") as entry:
            fcntl.flock(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
