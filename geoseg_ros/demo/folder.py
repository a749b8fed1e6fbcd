"""A folder of results that appears all at once and replaces its predecessor, but nobody else's files."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from geoseg_ros.errors import ConfigError

MANIFEST = ".geoseg-files.json"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class ResultFolder:
    """Context manager: yields a hidden folder beside ``path`` to write to; on success it becomes ``path``.

    An earlier result is replaced in one step. Files in it that no run wrote are moved over, never deleted; a
    folder without a manifest of an earlier run is not touched at all. On an exception all stays as it was.

    :raises ConfigError: ``path`` is a file, or a folder that holds something but no earlier result.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).resolve()
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"the output {self.path} is a file, expected a folder or a new name")
        if self.path.is_dir() and any(self.path.iterdir()) and not _listed(self.path):
            raise ConfigError(
                f"the folder {self.path} holds files but no earlier result, expected another --out"
            )

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._work = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent))
        self._work.chmod(0o755)
        return self._work

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._work)
            return
        files = sorted(
            str(file.relative_to(self._work)) for file in self._work.rglob("*") if not file.is_dir()
        )
        (self._work / MANIFEST).write_text(json.dumps([*files, MANIFEST], indent=1), encoding="utf-8")
        if not self.path.exists():
            os.rename(self._work, self.path)
            return
        _exchange(self._work, self.path)
        _remove_result(self._work)
        _move_rest(self._work, self.path)


def _exchange(first: Path, second: Path) -> None:
    """Swap two folders' names; in one step where the system can."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if (
            hasattr(libc, "renameat2")
            and libc.renameat2(
                _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
            )
            == 0
        ):
            return
    aside = second.with_name(f"{first.name}.previous")
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)


def _remove_result(folder: Path) -> None:
    """Delete the files that the manifest lists, and then empty folders."""
    for name in [*_listed(folder), MANIFEST]:
        file = folder / name
        if folder in file.resolve().parents:
            file.unlink(missing_ok=True)
    for inner, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty: somebody's files are in it
            os.rmdir(inner)


def _listed(folder: Path) -> list[str]:
    """What the manifest lists; nothing where there is none (a folder that was empty)."""
    path = folder / MANIFEST
    if not path.exists():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}), expected the list of an earlier result's files"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path} is damaged, expected the list of an earlier result's files")
    return names


def _move_rest(old: Path, new: Path) -> None:
    for file in [file for file in old.rglob("*") if not file.is_dir()] if old.exists() else []:
        target = new / file.relative_to(old)
        if os.path.lexists(target):
            raise ConfigError(f"{target.name} was not written by an earlier run and is kept at {file}")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(file, target)
    if old.exists():
        for inner, _, _ in os.walk(old, topdown=False):
            os.rmdir(inner)
