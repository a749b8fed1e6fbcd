"""How fast a recipe trains, and how fast the frame cache is built.

    python benchmarks/training.py --public ~/monodepth2 --json results.json

Images are examples (a frame with its two neighbours). Three loops take turns in one process group, on the same images, at the same
size and batch: the recipe as it is; the recipe with the public code's network (ResNet-18 for depth and pose, its decoder); and,
with ``--public``, the loop of a checkout of github.com/nianticlabs/monodepth2, each in a process of its own. The median
over all timed steps counts.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file is of, not an installed one
PUBLIC_LOOP = Path(__file__).with_name("public_monodepth2.py")
PUBLIC_NETWORK = (
    "init=null",
    "network.encoder=resnet18",
    "network.pose_encoder=resnet18",
    "network.decoder_widths=[16, 32, 64, 128, 256]",
)
SOURCE = "benchmark"
WARM_UP = 2
MIN_FRAMES = 20
RECIPE, SAME_NETWORK, PUBLIC = "our recipe", "our recipe, the public code's network", "public Monodepth2"
WANTED_RATIO, WANTED_CACHE_RATE = 1.5, 150.0
CACHE_SIZE = (640, 192)
JPEG_QUALITY = 95


@dataclass
class Timing:
    """Seconds of each step: waiting for its batch, and computing."""

    batch: int
    data: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images per second: the batch over the median time of a whole step."""
        return self.batch / median(data + step for data, step in zip(self.data, self.step, strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 also where a wish is missed."""
    args = _parser().parse_args(argv)
    console = Console(highlight=False)
    if args.time_recipe:
        timing = time_recipe(args.recipe, args.overrides, args.data, args)
        print(json.dumps(asdict(timing)))
        return 0
    _check(args)
    timings = measure_loops(args, console)
    cache_rate = None if args.no_cache else time_cache(args.data, args.cache_frames)
    _print(console, timings, cache_rate)
    if args.json is not None:
        from geoseg_ros.training.evaluation.report import write_json

        write_json(record(args, timings, cache_rate), args.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a value of the recipe")
    parser.add_argument("--recipe", default="monodepth2_posenet", help="name or file (default: %(default)s)")
    parser.add_argument("--public", type=Path, metavar="CHECKOUT", help="the public Monodepth2 code")
    text = "folder with images/*.jpg, intrinsics.json and poses.txt (default: %(default)s)"
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/kitti00_color", help=text)
    parser.add_argument("--frames", type=int, default=200, help="images of it to train on (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=12, help="examples per step (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(416, 128), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--steps", type=int, default=6, help="timed steps per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="turns that each loop takes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="loader processes of each loop (default: %(default)s)")
    parser.add_argument("--cache-frames", type=int, default=600, help="images of the bag to cache (default: %(default)s)")
    parser.add_argument("--no-cache", action="store_true", help="leave the frame cache out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--time-recipe", action="store_true", help=argparse.SUPPRESS)
    return parser


def _check(args: argparse.Namespace) -> None:
    """End with a sentence where nothing could be measured."""
    found = len(list((args.data / "images").glob("*.jpg")))
    if found < args.frames:
        sys.exit(f"{args.data / 'images'} holds {found} .jpg images, expected --frames {args.frames}")
    for name, least in (("frames", MIN_FRAMES), ("steps", 1), ("rounds", 1), ("batch", 1), ("cache_frames", 1)):
        if getattr(args, name) < least:
            sys.exit(f"--{name.replace('_', '-')} is {getattr(args, name)}, expected at least {least}")
    if args.public is not None and not (args.public / "trainer.py").is_file():
        sys.exit(f"--public is {args.public}, expected a checkout with trainer.py")
    if args.json is not None and not args.json.absolute().parent.is_dir():
        sys.exit(f"the folder of {args.json} does not exist")


def measure_loops(args: argparse.Namespace, console: Console) -> dict[str, Timing]:
    """All loops in turns, each turn in a fresh process that inherits this one's group and cores."""
    ours = [sys.executable, __file__, "--time-recipe", "--recipe", args.recipe, "--data", str(args.data)]
    common = ["--batch", str(args.batch), "--steps", str(args.steps), "--workers", str(args.workers)]
    common += ["--frames", str(args.frames)]
    width, height = map(str, args.size)
    loops = {
        RECIPE: [*ours, *common, "--size", width, height, "--", *args.overrides],
        SAME_NETWORK: [*ours, *common, "--size", width, height, "--", *args.overrides, *PUBLIC_NETWORK],
    }
    if args.public is not None:
        sides = ["--width", width, "--height", height, "--warm-up", str(WARM_UP)]
        loops[PUBLIC] = [sys.executable, str(PUBLIC_LOOP), str(args.public), str(args.data / "images"), *common, *sides]
    timings = {name: Timing(args.batch) for name in loops}
    for turn in range(args.rounds):
        for name, command in loops.items():
            with console.status(f"{name}, round {turn + 1} of {args.rounds}"):
                told = _last_line_of(command)
            timings[name].data += told["data"]
            timings[name].step += told["step"]
    return timings


def _last_line_of(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def time_recipe(name: str, overrides: Sequence[str], data: Path, args: argparse.Namespace) -> Timing:
    """Steps of a recipe on triplets of one folder in place of its own data."""
    from geoseg_ros.training.config import load_recipe

    theirs = [f"data.{source}=null" for source in load_recipe(name).data]
    settings = {"kind": "posed_folder", "path": str(data.resolve()), "frames": [0, args.frames]}
    settings |= {"frames_per_sample": 3, "batch": args.batch}
    folder = [f"data.{SOURCE}.{key}={json.dumps(value)}" for key, value in settings.items()]
    sizes = [f"crop={json.dumps(list(args.size))}", f"steps={WARM_UP + args.steps}", f"workers={args.workers}"]
    return time_steps(load_recipe(name, [*theirs, *folder, *sizes, *overrides]), args.batch)


def time_steps(recipe: Any, batch: int) -> Timing:
    """All steps of a recipe, as its training would do them, without logging; the first ones warm up."""
    from geoseg_ros.training.trainer import Trainer

    trainer = Trainer(recipe)
    batches = trainer.batches(0, recipe.steps)
    timing = Timing(batch)
    for step in range(recipe.steps):
        began = time.perf_counter()
        prepared = trainer.prepare(next(batches))
        loaded = time.perf_counter()
        trainer.step(prepared)
        if step >= WARM_UP:
            timing.data.append(loaded - began)
            timing.step.append(time.perf_counter() - loaded)
    return timing


def time_cache(data: Path, frames: int) -> float:
    """Frames per second at which a bag of JPEG images of CACHE_SIZE becomes a frame cache."""
    from geoseg_ros.training.data.bag_images import BagSettings
    from geoseg_ros.training.data.frame_cache import open_cache

    with tempfile.TemporaryDirectory(prefix="geoseg_benchmark_") as folder:
        bag = write_jpeg_bag(Path(folder) / "bag", data / "images", frames)
        began = time.perf_counter()
        open_cache([bag], BagSettings(size=CACHE_SIZE, cover=(1, 1)), Path(folder) / "cache", 100.0)
        return frames / (time.perf_counter() - began)


def write_jpeg_bag(path: Path, images: Path, frames: int) -> Path:
    """A bag with ``frames`` compressed images of CACHE_SIZE at 10 Hz, real pictures over and over, and camera_info."""
    import cv2

    from geoseg_ros.bags import BagWriter
    from geoseg_ros.camera import PinholeCamera

    width, height = CACHE_SIZE
    camera = PinholeCamera(width, height, 0.58 * width, 0.58 * width, (width - 1) / 2, (height - 1) / 2)
    coded = []
    for file in sorted(images.glob("*.jpg"))[:50]:
        picture = cv2.resize(cv2.imread(str(file)), CACHE_SIZE, interpolation=cv2.INTER_CUBIC)
        coded.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].reshape(-1))
    with BagWriter(path) as bag:
        for index in range(frames):
            stamp = 1_000_000_000 + index * 100_000_000
            header = {"stamp": stamp, "frame_id": "camera"}
            info = {"header": header, **camera.to_camera_info()}
            bag.write("/camera/camera_info", "sensor_msgs/msg/CameraInfo", info, stamp)
            fields = {"header": header, "format": "jpeg", "data": coded[index % len(coded)]}
            bag.write("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", fields, stamp)
    return path


def record(args: argparse.Namespace, timings: dict[str, Timing], cache_rate: float | None) -> dict[str, Any]:
    """What one must know to believe and repeat the numbers, as JSON types."""
    from geoseg_ros.machine import describe_machine, git_commit, now

    return {
        "date": now(),
        "git_commit": git_commit(),
        "command": " ".join(sys.argv),
        "machine": describe_machine(),
        "size": list(args.size),
        "batch": args.batch,
        "workers": args.workers,
        "unit": "seconds per step; images per second",
        "loops": {name: {**asdict(timing), "images_per_second": timing.rate} for name, timing in timings.items()},
        "ratio_to_public": {name: ratio for name, ratio in _ratios(timings).items() if math.isfinite(ratio)},
        "cache_frames_per_second": cache_rate,
    }


def _ratios(timings: dict[str, Timing]) -> dict[str, float]:
    public = timings[PUBLIC].rate if PUBLIC in timings else math.nan
    return {name: timing.rate / public for name, timing in timings.items()}


def _print(console: Console, timings: dict[str, Timing], cache_rate: float | None) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("loop")
    for heading in ("images/s", "data ms", "step ms", "of the public"):
        table.add_column(heading, justify="right")
    ratios = _ratios(timings)
    for name, timing in timings.items():
        data, step = (f"{1e3 * median(part):.0f}" for part in (timing.data, timing.step))
        ratio = "" if math.isnan(ratios[name]) else f"{ratios[name]:.2f} ×"
        table.add_row(name, f"{timing.rate:.2f}", data, step, ratio)
    console.print(table)
    if PUBLIC in timings:
        console.print(f"wanted with the same network: {WANTED_RATIO:g} ×")
    if cache_rate is not None:
        console.print(f"frame cache, JPEG {CACHE_SIZE[0]}×{CACHE_SIZE[1]}: {cache_rate:.0f} frames/s, wanted {WANTED_CACHE_RATE:g}")


if __name__ == "__main__":
    sys.exit(main())
