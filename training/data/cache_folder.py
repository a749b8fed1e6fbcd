"""The folder of what training prepares once: where it is, that one process at a time fills it, its disk, and sizes in words."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg_ros.errors import ConfigError
from geoseg_ros.progress import say

CACHE_VARIABLE = "GEOSEG_CACHE"
GB = 1e9


def default_folder() -> Path:
    """$GEOSEG_CACHE, else geoseg_ros in the user's cache folder."""
    variable = os.environ.get(CACHE_VARIABLE)
    if variable:
        return Path(variable)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoseg_ros"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """One process at a time; the lock ends with its process, and what a killed one left behind (.NAME.partial) is removed.

    ``what`` opens the messages ("frame cache"). ConfigError where the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ConfigError(f"the {what} {folder} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{what} {folder}: waiting for another process that fills it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left_behind in folder.glob(".*.partial"):
            left_behind.unlink()
        yield


def check_disk(folder: Path, what: str, needed: int) -> None:
    """ConfigError where the folder's disk has less than ``needed`` bytes; ``what`` opens the message."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigError(f"the {what} {folder} needs {amount(needed)}, its disk has {amount(free)} free")


def amount(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / GB:.3g} GB" if size >= GB else f"{size / 1e6:.3g} MB"
