"""Check a recipe in seconds: data, network, a few steps, memory and the time a whole run would take."""

from __future__ import annotations

import resource
import time

import torch

from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.loader import step_batches
from geoseg_ros.training.trainer import Trainer

STEPS = 3


def dry_run(recipe: Recipe) -> str:
    """Train a few steps without a run folder; returns the report. Raises what a real run would raise."""
    began = time.perf_counter()
    trainer = Trainer(recipe)
    try:
        return _try_out(trainer, began)
    finally:
        trainer.close()


def _try_out(trainer: Trainer, began: float) -> str:
    recipe, ready = trainer.recipe, time.perf_counter()
    batches = step_batches(trainer.sources, recipe.seed, 0, STEPS, workers=0, device=trainer.fabric.device)
    lines = [f"{name}: {source.summary()}" for name, source in trainer.sources.items()]
    for _ in range(STEPS):
        started = time.perf_counter()
        batch = trainer.prepare(next(batches))
        loaded = time.perf_counter()
        scalars = trainer.step(batch)
        ended = time.perf_counter()
    for name, part in batch.items():
        lines.append(
            f"batch {name}: " + ", ".join(f"{key} {tuple(value.shape)}" for key, value in part.items())
        )
    pictures = trainer.pictures(batch)
    lines.append("pictures: " + ", ".join(f"{name} {picture.shape}" for name, picture in pictures.items()))
    lines.append("step: " + ", ".join(f"{name} {value:.4g}" for name, value in scalars.items()))
    hours = (ended - started) * recipe.steps / 3600
    lines.append(
        f"data ready in {ready - began:.1f} s; {ended - loaded:.2f} s per step and "
        f"{loaded - started:.3f} s for its data; {recipe.steps} steps take about {hours:.1f} h"
    )
    lines.append(f"peak memory {_peak_memory() / 2**30:.2f} GiB")
    if trainer.init_report:
        lines.append(trainer.init_report)
    return "\n".join(lines)


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
