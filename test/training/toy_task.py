"""A tiny training task and data set for the trainer's tests; run as a script, it is ``geoseg train`` with the
task known, or, as ``killed RECIPE FOLDER STEP …``, runs that each end by SIGKILL at their step."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from geoseg_ros.bundle import Bundle
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.tasks import register_task

RECIPE = """
task: toy
steps: 12
crop: [24, 16]
seed: 7
ema: 0.9
accelerator: cpu
channels_last: true
optimizer: {lr: 1e-2}
schedule: {warmup: 3}
log_every: 4
picture_every: 6
checkpoint_every: 5
data:
  stills: {kind: labelled_folder, path: stills, batch: 2, labels: camvid_11, void: [11]}
"""


@register_task("toy")
class ToyTask:
    """Pixel classification with dropout and batch norm; ``network.plain`` without them, its loss a sum over examples.

    ``loss.stop`` = [step, signal name] signals its own process; ``loss.poison`` and ``loss.poison_gradient`` are the
    steps whose loss, or whose gradient alone, is not finite.
    """

    def __init__(self, recipe) -> None:
        self.autocast = nullcontext
        self.size = recipe.crop
        self.stop = recipe.loss.get("stop")
        self.poison = recipe.loss.get("poison")
        self.poison_gradient = recipe.loss.get("poison_gradient")
        self.seen = {}
        self.plain = recipe.network.get("plain", False)
        between = [nn.ReLU()] if self.plain else [nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3)]
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *between, nn.Conv2d(8, 11, 1))

    def step(self, batch, step):
        if self.stop and step == self.stop[0]:
            os.kill(os.getpid(), getattr(signal, self.stop[1]))
        part = self.seen = batch["stills"]
        with self.autocast():
            logits = self.network(part["image"])
        reduction = "sum" if self.plain else "mean"
        loss = nn.functional.cross_entropy(
            logits.float(), part["semantic"], ignore_index=255, reduction=reduction
        )
        if self.plain:
            loss = loss / part["semantic"].numel()
        if step == self.poison:
            loss = loss * torch.nan
        if step == self.poison_gradient:
            loss = loss + torch.sqrt(0 * self.network[0].weight.sum())
        return loss, {"semantic": loss}

    def pictures(self, batch):
        assert not self.network.training
        ids = self.network(batch["stills"]["image"]).argmax(1)[0].numpy()
        return {"semantic": CAMVID_11.palette_array[ids]}

    def bundle(self, provenance):
        weights = {name: value for name, value in self.network.state_dict().items()}
        return Bundle("toy", {}, CAMVID_11, self.size, provenance=provenance, weights=weights)


def write_stills(folder: Path, count: int = 3) -> None:
    """``count`` labelled 32×24 images under ``folder``/stills."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / "stills" / name).mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / "stills/images" / f"{i}.png"), rng.integers(0, 256, (24, 32, 3), np.uint8))
        cv2.imwrite(str(folder / "stills/labels" / f"{i}.png"), rng.integers(0, 12, (24, 32), np.uint8))


def train_until_killed(recipe_file: str, folder: str, fatal: str) -> int:
    """Train in a forked process that SIGKILL ends before step ``fatal`` of the run, or, where that is "rename", when
    the second checkpoint is written but has not got its name; returns how that process ended."""
    from geoseg_ros.training.config import load_recipe
    from geoseg_ros.training.trainer import CHECKPOINT, train

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    step, replace, renamed = ToyTask.step, os.replace, []

    def fatal_step(self, batch, number):
        if str(number) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, number)

    def fatal_replace(source, target):
        renamed.append(Path(target).name)
        if fatal == "rename" and renamed.count(CHECKPOINT) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    try:
        ToyTask.step, os.replace = fatal_step, fatal_replace
        train(load_recipe(recipe_file), Path(folder), resume=False)
    finally:
        os._exit(1)


def leave_group_after_module(destroy=torch.distributed.destroy_process_group):
    """destroy_process_group for a trainer that must have let go of its wrapped module: else it hangs now and then."""
    left = [thing for thing in gc.get_objects() if isinstance(thing, nn.parallel.DistributedDataParallel)]
    if left:
        print("the module outlives its process group", file=sys.stderr)
        os._exit(1)
    destroy()


if __name__ == "__main__":
    from geoseg_ros import cli

    torch.distributed.destroy_process_group = leave_group_after_module

    torch.set_num_threads(1)
    if sys.argv[1] == "killed":
        recipe_path, root, *moments = sys.argv[2:]
        sys.exit(any(train_until_killed(recipe_path, f"{root}/{moment}", moment) != -9 for moment in moments))
    cli.COMMANDS = ("train",)
    sys.exit(cli.main())
