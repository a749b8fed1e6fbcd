"""The frame cache: every bag's images decoded, rectified and resized once, then shared by all workers and runs.

A bag's file is named after its path and the settings; inside stands what it was made from, modification times and
sizes of the bag's files included. Where that has changed, the file is made anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from geoseg_ros.errors import ConfigError
from geoseg_ros.progress import progress_bar, say
from geoseg_ros.training.data.bag_images import BagImages, BagSettings
from geoseg_ros.training.data.cache_folder import amount, check_disk, locked
from geoseg_ros.training.data.cache_room import fill_level, make_room
from geoseg_ros.training.data.cached_bag import CachedBag, CachedBagWriter, read_cached_bag
from geoseg_ros.training.data.folders import assumed_intrinsics
from geoseg_ros.training.data.image_motion import ImageMotion

_FORMAT = 3  # to be raised when the same settings give other frames


def open_cache(bags: list[Path], settings: BagSettings, folder: Path, limit_gb: float) -> list[CachedBag]:
    """The frames of every bag, from the cache in ``folder``; what is missing or out of date is made, with a progress
    bar on stderr.

    Processes that ask at once make it once. The folder holds ``limit_gb`` gigabytes at most: for new frames the least
    recently used entries that no process uses give way. ConfigError where that is not enough, or the disk is full; BagError
    and others for a bag that cannot be used.
    """
    files = [folder / f"{bag.stem}-{_digest(str(bag.absolute()), settings)}.frames" for bag in bags]
    signatures = [_signature(bag, settings) for bag in bags]
    with locked(folder, "frame cache"):
        found = [_current(file, signature) for file, signature in zip(files, signatures)]
        missing = [i for i, cached in enumerate(found) if cached is None]
        if missing:
            new = _needed([bags[i] for i in missing], settings)
            present = sum(cached.images.nbytes + cached.labels.nbytes for cached in found if cached is not None)
            what = f"the cached frames of {_bags(len(bags))}"
            make_room(folder, what, new + present, limit_gb, files, "raise it, or lower size or max_rate")
            check_disk(folder, "frame cache", new)
            started = time.perf_counter()
            with progress_bar(Console(stderr=True), transient=True) as progress:
                for i in missing:
                    found[i] = _build(bags[i], files[i], settings, signatures[i], progress)
            _report([found[i] for i in missing], folder, limit_gb, time.perf_counter() - started)
    return found


def _build(bag: Path, file: Path, settings: BagSettings, signature: str, progress: Progress) -> CachedBag:
    stamps, matrices, known, moved, labels = [], [], [], [], []
    motion, task = ImageMotion(), progress.add_task(f"caching {bag.name}", total=None)
    with BagImages(bag, settings) as images, CachedBagWriter(file) as writer:
        for prepared in images.images():
            writer.append(prepared.image)
            stamps.append(prepared.stamp)
            known.append(prepared.camera is not None)
            matrices.append(prepared.camera.matrix if prepared.camera else assumed_intrinsics(*images.size))
            moved.append(motion.update(prepared.small, images.size[0]))
            if prepared.labels is not None:
                labels.append(prepared.labels)
            progress.update(task, completed=len(stamps), total=images.count)
        times = np.array(stamps, np.int64)
        poses, of_camera = images.poses(times)
        writer.finish(
            stamps=times,
            matrices=np.array(matrices).reshape(-1, 3, 3),
            intrinsics_known=np.array(known, bool),
            motion=np.array(moved, np.float32),
            poses=poses,
            poses_of_camera=of_camera,
            labels=np.stack(labels) if labels else np.empty((0, 0, 0), np.uint8),
            skipped=images.skipped,
            signature=signature,
        )
    cached = _current(file, signature)
    if cached is None:
        raise ConfigError(f"the frame cache {file} was written but cannot be read back, expected a whole file")
    return cached


def _current(file: Path, signature: str) -> CachedBag | None:
    cached = read_cached_bag(file)
    return cached if cached is not None and cached.signature == signature else None


def _needed(bags: list[Path], settings: BagSettings) -> int:
    """Bytes that the images and labels of bags need at most."""
    needed = 0
    for bag in bags:
        with BagImages(bag, settings) as images:
            needed += images.count * images.size[0] * images.size[1] * (3 + settings.labelled)
    return needed


def _report(made: list[CachedBag], folder: Path, limit_gb: float, seconds: float) -> None:
    frames, skipped = sum(map(len, made)), sum(cached.skipped for cached in made)
    size = sum(cached.images.nbytes for cached in made)
    placed = sum(int(np.isfinite(cached.poses[:, 0, 3]).sum()) for cached in made)
    calibrated = sum(int(cached.intrinsics_known.sum()) for cached in made)
    note = f"; {skipped} could not be decoded" if skipped else ""
    say(
        f"frame cache {folder}: {frames} frames of {_bags(len(made))} ({calibrated} calibrated, {placed} with odometry), "
        f"{amount(size)}, made in {seconds:.1f} s ({frames / max(seconds, 1e-9):.0f} frames/s){note}; "
        f"{fill_level(folder, limit_gb)}"
    )


def _bags(count: int) -> str:
    return f"{count} bag{'s'[count == 1 :]}"


def _signature(bag: Path, settings: BagSettings) -> str:
    """Path, names, sizes and modification times of the bag's files, and the settings, as JSON."""
    files = sorted(file for file in bag.iterdir() if file.is_file()) if bag.is_dir() else [bag]
    states = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return json.dumps([_FORMAT, str(bag.absolute()), states, asdict(settings)])


def _digest(path: str, settings: BagSettings) -> str:
    return hashlib.sha256(json.dumps([path, asdict(settings)]).encode()).hexdigest()[:16]
