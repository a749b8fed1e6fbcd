"""Times the training loop of a checkout of github.com/nianticlabs/monodepth2, as it is, on a folder of images.

A program of its own (its module names are ordinary words): prints seconds per step as JSON on its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import stand_ins

DRIVE = "drive"


def main() -> None:
    """Lay the images out as KITTI's, build the public trainer on the CPU, and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("images", type=Path, help="folder of .jpg images in name order")
    for name in ("width", "height", "batch", "steps", "warm-up", "workers", "frames"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = kitti_layout(args.images, Path(folder), args.frames)
        trainer = public_trainer(args, Path(folder), count)
        trainer.set_train()
        print(json.dumps(time_loop(trainer, args.steps, args.warm_up)))


def kitti_layout(images: Path, root: Path, frames: int) -> int:
    """Links to the first images under the names of a KITTI drive; returns how many there are."""
    target = root / DRIVE / "image_02" / "data"
    target.mkdir(parents=True)
    paths = sorted(images.glob("*.jpg"))[:frames]
    for index, path in enumerate(paths):
        os.symlink(path.resolve(), target / f"{index:010d}.jpg")
    return len(paths)


def public_trainer(args: argparse.Namespace, data: Path, count: int) -> object:
    """The checkout's Trainer with its defaults (ResNet-18, three frames, four scales), from scratch, without CUDA."""
    stand_ins.install()
    sys.path.insert(0, str(args.checkout))
    options, trainer = __import__("options"), __import__("trainer")
    lines = [f"{DRIVE} {index} l" for index in range(1, count - 1)]
    trainer.readlines = lambda path: lines
    settings = {"data_path": data, "log_dir": data / "log", "height": args.height, "width": args.width}
    settings |= {"batch_size": args.batch, "num_workers": args.workers, "weights_init": "scratch"}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    sys.argv = ["train.py", "--no_cuda", *words]
    return trainer.Trainer(options.MonodepthOptions().parse())


def time_loop(trainer: object, steps: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds that each step waited for its batch and took to compute, after ``warm_up`` steps; as run_epoch does,
    without its logging."""
    waited, computed = [], []
    batches = iter(trainer.train_loader)
    for _ in range(warm_up + steps):
        began = time.perf_counter()
        inputs = next(batches, None)
        if inputs is None:
            batches = iter(trainer.train_loader)
            inputs = next(batches)
        loaded = time.perf_counter()
        _, losses = trainer.process_batch(inputs)
        trainer.model_optimizer.zero_grad()
        losses["loss"].backward()
        trainer.model_optimizer.step()
        waited.append(loaded - began)
        computed.append(time.perf_counter() - loaded)
    return {"data": waited[warm_up:], "step": computed[warm_up:]}


if __name__ == "__main__":
    main()
