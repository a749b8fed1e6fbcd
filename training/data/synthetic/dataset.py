"""Many short synthetic sequences of streets or rooms on disk, as arrays that can be mapped into memory.

One folder per sequence, ``sequence_<seed>/``, with uncompressed ``.npy`` files over its F frames: ``image``
F×H×W×3 uint8 RGB, ``depth`` F×H×W float16 (z in metres, +inf sky), ``semantic`` F×H×W uint8 (CAMVID_11, 255 for
what has no class), ``flow`` F×H×W×2 float16 (flow_to_previous, NaN on the first frame), ``motion`` F×H×W uint8 (0, 255),
``world_from_camera`` F×4×4 float64 (optical frame), and ``sequence.json`` with the camera, the stamps and the
format's version.

``python -m geoseg_ros.training.data.synthetic.dataset --out FOLDER --sequences 1000`` makes one of streets, with
``--world rooms`` one of rooms.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError, GeosegError
from geoseg_ros.progress import progress_bar
from geoseg_ros.training.data.synthetic.config import StreetConfig, random_config, random_room_config
from geoseg_ros.training.data.synthetic.rooms.room import SyntheticRoom
from geoseg_ros.training.data.synthetic.streets.street import SyntheticStreet
from geoseg_ros.training.data.synthetic.world import SyntheticWorld

FORMAT = 1
_ARRAYS = ("image", "depth", "semantic", "flow", "motion", "world_from_camera")
_META = "sequence.json"
_FIRST_WORLD = "streets"  # whose sequences do not name it


def _name(seed: int) -> str:
    return f"sequence_{seed:08d}"


def _street(seed: int, frames: int, width: int, height: int) -> SyntheticWorld:
    """Odd seeds have the camera of :func:`random_config`, even ones the default camera where the size is its own: half of
    what is learned is about the most likely robot."""
    config = StreetConfig()
    if seed % 2 == 0 and (config.camera.width, config.camera.height) == (width, height):
        config = StreetConfig(duration=frames / config.fps)
    else:
        config = random_config(seed, width, height, frames)
    return SyntheticStreet(seed, config, threads=1)


def _room(seed: int, frames: int, width: int, height: int) -> SyntheticWorld:
    return SyntheticRoom(seed, random_room_config(seed, width, height, frames), threads=1)


WORLDS = {"streets": (_street, (640, 192)), "rooms": (_room, (448, 336))}
"""For each world, what makes a sequence's world (of a seed, frames, width and height), and the default size."""


def write_sequence(folder: Path, seed: int, frames: int, width: int, height: int, world: str = "streets") -> Path:
    """Render one sequence of a world and write it; returns its folder."""
    made = WORLDS[world][0](seed, frames, width, height)
    rendered = [made.frame(index) for index in range(frames)]
    target = folder / _name(seed)
    partial = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "image.npy", np.stack([f.image for f in rendered]))
    np.save(partial / "depth.npy", np.stack([f.depth for f in rendered]).astype(np.float16))
    np.save(partial / "semantic.npy", np.stack([f.semantic for f in rendered]))
    np.save(
        partial / "flow.npy",
        np.stack([f.flow_to_previous for f in rendered]).clip(-6e4, 6e4).astype(np.float16),
    )
    np.save(partial / "motion.npy", np.stack([f.motion_mask for f in rendered]))
    np.save(partial / "world_from_camera.npy", np.stack([f.world_from_camera for f in rendered]))
    meta = {
        "format": FORMAT,
        "seed": seed,
        "frames": frames,
        "width": width,
        "height": height,
        "stamps": [f.stamp for f in rendered],
        "camera": made.camera.to_dict(),
    }
    if world != _FIRST_WORLD:
        meta["world"] = world
    (partial / _META).write_text(json.dumps(meta))
    os.replace(partial, target)
    return target


def generate_dataset(
    folder: str | Path,
    sequences: int,
    frames_per_sequence: int = 6,
    first_seed: int = 0,
    width: int | None = None,
    height: int | None = None,
    workers: int | None = None,
    world: str = "streets",
) -> int:
    """Render sequences of a world ("streets" or "rooms", at its own size where none is given) of the seeds
    first_seed … first_seed + sequences - 1 in parallel processes; returns how many were made now. Finished
    sequences are kept; an interrupted run goes on where it stopped. Raises ConfigError where existing sequences
    have another size or length or show another world."""
    if world not in WORLDS:
        raise ConfigError(f"synthetic world is {world!r}, expected one of {', '.join(WORLDS)}")
    width, height = width or WORLDS[world][1][0], height or WORLDS[world][1][1]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".sequence_*.tmp"):
        if not _is_running(leftover.name.split(".")[-2]):
            shutil.rmtree(leftover)
    seeds = range(first_seed, first_seed + sequences)
    missing = []
    for seed in seeds:
        place = folder / _name(seed)
        if not place.is_dir():
            missing.append(seed)
            continue
        meta = _read_meta(place)
        shown = meta.get("world", _FIRST_WORLD)
        if shown != world:
            raise ConfigError(f"{place} shows {shown}, expected {world}: choose another folder")
        found = (meta["frames"], meta["width"], meta["height"])
        if found != (frames_per_sequence, width, height):
            raise ConfigError(
                f"{place} holds {found[0]} frames of {found[1]}x{found[2]}, expected "
                f"{frames_per_sequence} of {width}x{height}: choose another folder"
            )
    spawn = get_context("spawn")  # a forked child would inherit locks that the caller's threads hold
    executor = ProcessPoolExecutor(workers, spawn, initializer=_single_threaded)
    with progress_bar() as progress, executor as pool:
        bar = progress.add_task(f"rendering {world}", total=sequences, completed=sequences - len(missing))
        jobs = [
            pool.submit(write_sequence, folder, seed, frames_per_sequence, width, height, world) for seed in missing
        ]
        try:
            for job in as_completed(jobs):
                job.result()
                progress.advance(bar)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(missing)


def _is_running(process: str) -> bool:
    """Whether a process id names a living process, which may still be writing."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _single_threaded() -> None:
    """Worker processes share the cores; threads inside them would only fight."""
    import cv2

    cv2.setNumThreads(1)


def _read_meta(place: Path) -> dict:
    try:
        meta = json.loads((place / _META).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{place / _META} cannot be read as a synthetic sequence's description: {error}"
        ) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ConfigError(
            f"{place / _META} has format {meta.get('format') if isinstance(meta, dict) else meta!r}, "
            f"expected {FORMAT}"
        )
    return meta


@dataclass(frozen=True)
class StoredFrame:
    """One stored frame: the arrays of the module's description, for one frame, with its camera and stamp
    (ns)."""

    image: np.ndarray
    depth: np.ndarray
    semantic: np.ndarray
    flow: np.ndarray
    motion: np.ndarray
    world_from_camera: np.ndarray
    camera: PinholeCamera
    stamp: int


class SyntheticDataset:
    """Random access to the sequences of a folder; arrays are mapped, not loaded. Order: by seed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._places = sorted(p for p in self.folder.glob("sequence_*") if p.is_dir())
        if not self._places:
            raise ConfigError(f"{self.folder} holds no sequence_* folders, expected a synthetic dataset")
        self._open = lru_cache(maxsize=256)(self._load)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self._places)

    def frames(self, sequence: int) -> int:
        """Number of frames of a sequence."""
        return len(self._open(sequence)[1]["stamps"])

    def camera(self, sequence: int) -> PinholeCamera:
        """The camera of a sequence."""
        return self._open(sequence)[2]

    def frame(self, sequence: int, frame: int) -> StoredFrame:
        """One frame; its arrays are read-only views into the files."""
        arrays, meta, camera = self._open(sequence)
        return StoredFrame(*(arrays[name][frame] for name in _ARRAYS), camera, meta["stamps"][frame])

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_places": self._places}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open = lru_cache(maxsize=256)(self._load)

    def _load(self, sequence: int) -> tuple[dict[str, np.ndarray], dict, PinholeCamera]:
        place = self._places[sequence]
        meta = _read_meta(place)
        try:
            arrays = {
                name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
            }
        except (OSError, ValueError) as error:
            raise ConfigError(f"{place} cannot be read as a synthetic sequence: {error}") from error
        return arrays, meta, PinholeCamera.from_dict(meta["camera"])


def main(argv: list[str] | None = None) -> int:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description="Render a dataset of short synthetic sequences.")
    parser.add_argument("--out", required=True, type=Path, help="folder of the dataset")
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=6, help="frames per sequence")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--world", choices=tuple(WORLDS), default=_FIRST_WORLD, help="what is rendered (default: %(default)s)")
    sizes = ", ".join(f"{width}x{height} for {world}" for world, (_, (width, height)) in WORLDS.items())
    parser.add_argument("--size", help=f"WIDTHxHEIGHT in pixels; default: {sizes}")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one per core")
    args = parser.parse_args(argv)
    width = height = None
    if args.size:
        try:
            width, height = (int(part) for part in args.size.split("x"))
        except ValueError:
            parser.error(f"--size is {args.size!r}, expected WIDTHxHEIGHT such as 640x192")
    try:
        made = generate_dataset(
            args.out, args.sequences, args.frames, args.first_seed, width, height, args.workers, args.world
        )
    except GeosegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{made} sequences rendered, {args.sequences} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
