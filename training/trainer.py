"""The training loop (Lightning Fabric): step-indexed batches, checkpoints, exact resume, NaN guard, reports.

A run folder holds config.yaml (the resolved recipe), checkpoint.safetensors, bundle.safetensors (the model so
far), log.txt and tensorboard/. Batches and random numbers of a step derive from the recipe's seed and the
step's number alone, so a run killed at any moment and resumed ends with the weights of an uninterrupted one
(bit for bit on the same CPU).

``torchrun --nproc-per-node N -m geoseg_ros.cli train …`` trains data-parallel: the processes share each step's batch and
average their gradients; the first one reports and saves.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from geoseg_ros.allocator import keep_freed_memory
from geoseg_ros.bundle import save_bundle
from geoseg_ros.errors import ConfigError, TrainingError
from geoseg_ros.interrupt import StopRequest
from geoseg_ros.machine import git_commit
from geoseg_ros.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from geoseg_ros.training.config import Recipe, differing_keys, load_recipe, recipe_to_dict, save_recipe
from geoseg_ros.training.data.jitter import prepare_examples
from geoseg_ros.training.data.loader import check_shares, create_sources, step_batches
from geoseg_ros.training.optimizers import MovingAverage, create_optimizer, learning_rate
from geoseg_ros.training.pretrained import initialise
from geoseg_ros.training.run_log import NoLog, RunLog
from geoseg_ros.training.schema import nearest
from geoseg_ros.training.statistics import measure_statistics, normalisations
from geoseg_ros.training.tasks import Batch, ReadsSources, Task, create_task

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.yaml"
BUNDLE = "bundle.safetensors"


class _StepModule(nn.Module):
    """The task's step as a module's forward, which is what Fabric's strategies wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = task.network
        self._step = task.step

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self._step(batch, step)


class Trainer:
    """One run of a recipe, without its folder: data, task, optimizer and the step."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        keep_freed_memory()
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun, like WORLD_SIZE
        world = int(os.environ.get("WORLD_SIZE", "1"))
        self.fabric = Fabric(
            accelerator=recipe.accelerator,
            devices=local,
            num_nodes=world // local,
            strategy="ddp" if world > 1 else "auto",
        )
        torch.manual_seed(recipe.seed)
        self.task = create_task(recipe.task, recipe)
        self.task.autocast = partial(
            torch.autocast, self.fabric.device.type, torch.bfloat16, enabled=recipe.precision == "bf16-mixed"
        )
        self.sources = create_sources(recipe)
        check_shares(self.sources, world)
        if isinstance(self.task, ReadsSources):
            self.task.read_sources(self.sources)
        network = self.task.network
        self.frozen = [_part(network, name) for name in recipe.freeze]
        self.init_report, self.history = initialise(network, recipe) if recipe.init else (None, [])
        for part in self.frozen:
            part.requires_grad_(False)
        if recipe.channels_last:
            network.to(memory_format=torch.channels_last)
        optimizer = create_optimizer(network, recipe.optimizer)
        self.fabric.launch()  # joins the other processes; what is wrong with the recipe has been said by now
        self.module, self.optimizer = self.fabric.setup(_StepModule(self.task), optimizer)
        average = MovingAverage(network, recipe.ema) if recipe.ema else None
        self.state = TrainingState(network, optimizer, average)
        self.train_mode()

    def measure_statistics(self) -> None:
        """Measure the statistics that the recipe's ``statistics_batches`` asks to keep, on the batches of the next steps."""
        recipe, state = self.recipe, self.state
        first = state.step
        batches = self.batches(first, first + recipe.statistics_batches)
        self._seed_step()
        _set_training(state.network, self.frozen)
        measure_statistics(
            state.network, lambda batch: self.task.step(batch, first), (self.prepare(batch) for batch in batches)
        )
        if recipe.ema:
            state.average = MovingAverage(state.network, recipe.ema)
        self.train_mode()

    def batches(self, first: int, steps: int) -> Iterator[Batch]:
        """This process's share of the loader's batches of steps ``first`` … ``steps`` − 1, for :meth:`prepare`."""
        recipe, fabric = self.recipe, self.fabric
        share = (fabric.global_rank, fabric.world_size)
        return step_batches(
            self.sources, recipe.seed, first, steps, recipe.workers, *share, fabric.device, recipe.crop_at
        )

    def prepare(self, batch: Batch) -> Batch:
        """The loader's batch as the task takes it: on the device, its colours jittered there (see
        :func:`~geoseg_ros.training.data.jitter.prepare_examples`), its images in the memory format of the network."""
        batch = {name: prepare_examples(examples, self.fabric.device) for name, examples in batch.items()}
        if not self.recipe.channels_last:
            return batch
        return {
            name: {
                key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
                for key, value in tensors.items()
            }
            for name, tensors in batch.items()
        }

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step on a prepared batch; returns the scalars. Raises TrainingError when a number is
        not finite."""
        step, recipe = self.state.step, self.recipe
        self._seed_step()
        rate = learning_rate(step, recipe.steps, recipe.optimizer.lr, recipe.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss, scalars = self.module(batch, step)
        values = {
            "loss": float(loss.detach()),
            **{name: float(value.detach()) for name, value in scalars.items()},
        }
        if not math.isfinite(values["loss"]):
            raise TrainingError(f"the loss of step {step} is not finite ({_listed(values)})")
        self.fabric.backward(loss)
        limit = math.inf if recipe.optimizer.clip is None else recipe.optimizer.clip
        norm = float(nn.utils.clip_grad_norm_(self.state.network.parameters(), limit))
        if not math.isfinite(norm):
            raise TrainingError(f"the gradient of step {step} is not finite ({_listed(values)})")
        self.optimizer.step()
        if self.state.average is not None:
            self.state.average.update(self.state.network)
        self.state.step += 1
        return {**values, "train/lr": rate, "train/gradient_norm": norm}

    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """The task's pictures of a prepared batch, network in evaluation mode."""
        self.state.network.eval()
        with torch.no_grad():
            pictures = self.task.pictures(batch)
        self.train_mode()
        return pictures

    def _seed_step(self) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.recipe.seed, self.state.step]).generate_state(1)[0]))

    def train_mode(self) -> None:
        """Training mode for what learns at the present step; normalisations with kept statistics stay out of it."""
        _set_training(self.state.network, self.frozen)
        first = self.recipe.statistics_step
        if first is not None and self.state.step >= first:
            for norm in normalisations(self.state.network):
                norm.eval()

    def save_bundle(self, path: Path) -> None:
        """Write the model file with the averaged weights (or the present ones when the recipe has no ema)."""
        if self.state.average is None:
            save_bundle(self.task.bundle(self.provenance()), path)
            return
        with self.state.average.applied(self.state.network):
            save_bundle(self.task.bundle(self.provenance()), path)

    def close(self) -> None:
        """Leave the other processes, where there are any; no step after this.

        The module goes first: were its reducer the last to hold the process group, it would wait for gloo's threads without giving
        up Python's lock, which those threads need to end (PyTorch 2.13: a run that hung after its last step, about one in twenty).
        """
        if torch.distributed.is_initialized():
            del self.module
            gc.collect()
            torch.distributed.destroy_process_group()  # its threads abort a Python that ends before them

    def provenance(self) -> dict[str, Any]:
        """Where the weights come from: recipe, data, git commit, finished steps, and the runs before this one."""
        return {
            "recipe": recipe_to_dict(self.recipe),
            "data": {name: source.describe() for name, source in self.sources.items()},
            "git_commit": git_commit(),
            "steps": self.state.step,
            "history": self.history,
        }


def train(recipe: Recipe, folder: Path, resume: bool) -> Path:
    """Run ``recipe`` in ``folder`` to its last step; returns the model file.

    Ctrl-C saves a checkpoint at the end of the step and raises KeyboardInterrupt. ConfigError when the folder
    holds a run already and ``resume`` is false, or a run of another recipe; TrainingError when loss or
    gradient stop being finite.
    """
    check_run_folder(recipe, folder, resume)
    trainer = Trainer(recipe)
    first = trainer.fabric.is_global_zero
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, folder / CONFIG)
    trainer.fabric.barrier()
    checkpoint = folder / CHECKPOINT
    if resume and checkpoint.exists():
        load_checkpoint(trainer.state, checkpoint)
        trainer.train_mode()
    log = RunLog(folder, trainer.state.step, recipe.steps) if first else NoLog()
    try:
        with log, StopRequest() as stop:
            log.say(_opening(trainer, folder))
            _loop(trainer, folder, log, stop)
            log.say(f"finished: {folder / BUNDLE}")
    finally:
        trainer.close()
    return folder / BUNDLE


def _loop(trainer: Trainer, folder: Path, log: RunLog | NoLog, stop: StopRequest) -> None:
    recipe, state, fabric = trainer.recipe, trainer.state, trainer.fabric
    batches = trainer.batches(state.step, recipe.steps)
    window: list[dict[str, float]] = []
    while state.step < recipe.steps:
        if recipe.statistics_batches and state.step == recipe.statistics_step:
            trainer.measure_statistics()
        began = time.perf_counter()
        batch = trainer.prepare(next(batches))
        loaded = time.perf_counter()
        try:
            scalars = trainer.step(batch)
        except TrainingError as error:
            raise TrainingError(
                f"{error}; its batch is saved in {_save_batch(batch, folder, state.step)}"
            ) from None
        ended = time.perf_counter()
        window.append({**scalars, "train/step_s": ended - began, "train/data_s": loaded - began})
        log.advance(state.step)
        last = state.step == recipe.steps
        if state.step % recipe.log_every == 0 or last:
            log.scalars(
                state.step, {name: float(np.mean([entry[name] for entry in window])) for name in window[-1]}
            )
            window.clear()
        if fabric.is_global_zero and (state.step % recipe.picture_every == 0 or last):
            log.pictures(state.step, trainer.pictures(batch))
        if fabric.is_global_zero and (state.step % recipe.checkpoint_every == 0 or last or stop.requested):
            save_checkpoint(state, folder / CHECKPOINT)
            trainer.save_bundle(folder / BUNDLE)
        if stop.requested and not last:
            log.say(f"stopped after step {state.step}; --resume goes on from there")
            raise KeyboardInterrupt


def check_run_folder(recipe: Recipe, folder: Path, resume: bool) -> None:
    """ConfigError unless ``folder`` is free for a new run, or holds a run of the same recipe when
    resuming."""
    config = folder / CONFIG
    if not resume:
        if config.exists():
            raise ConfigError(
                f"{folder} already holds a run; give --resume to go on with it or --out for another folder"
            )
        return
    if not config.exists():
        raise ConfigError(f"{folder} holds no run to resume ({config} is missing)")
    different = differing_keys(load_recipe(str(config)), recipe)
    if different:
        raise ConfigError(
            f"the run in {folder} was started with another {', '.join(different)}; resume needs the same"
        )


def _set_training(network: nn.Module, frozen: list[nn.Module]) -> None:
    """Training mode for all but the frozen parts."""
    network.train()
    for part in frozen:
        part.eval()


def _part(network: nn.Module, name: str) -> nn.Module:
    parts = dict(network.named_children())
    if name not in parts:
        raise ConfigError(f"freeze: '{name}' is no part of the network; {nearest(name, parts)}")
    return parts[name]


def _opening(trainer: Trainer, folder: Path) -> str:
    images = ", ".join(
        f"{name}: {s.summary()}, {s.config.batch} per step" for name, s in trainer.sources.items()
    )
    count = sum(p.numel() for p in trainer.state.network.parameters()) / 1e6
    start = (
        f"resumed after step {trainer.state.step}" if trainer.state.step else trainer.init_report or "new run"
    )
    return f"{folder}: {start}; {count:.2f} M parameters; {images}"


def _save_batch(batch: Batch, folder: Path, step: int) -> Path:
    path = folder / f"not_finite_step_{step}.npz"
    np.savez(
        path,
        **{
            f"{name}.{key}": value.cpu().numpy()
            for name, part in batch.items()
            for key, value in part.items()
        },
    )
    return path


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
