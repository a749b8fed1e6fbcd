"""From sources to the batches of training steps: step s always draws the same batch, in whichever process."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.source import Source
from geoseg_ros.training.schema import nearest, parse

CPU = torch.device("cpu")
CropAt = Callable[[int], tuple[int, int]]
_PACKAGE = "geoseg_ros.training.data"
_SOURCES = {  # kind: module, class with its settings in CLASSConfig; modules load when a recipe asks for them
    "synthetic": ("rendered", "Rendered"),
    "posed_folder": ("folders", "PosedFolder"),
    "labelled_folder": ("folders", "LabelledFolder"),
    "video_clip": ("folders", "Clip"),
    "bag": ("bags", "Bag"),
}


def create_sources(recipe: Recipe) -> dict[str, Source]:
    """The recipe's sources by name, their files decoded; ConfigError names the source and what is wrong."""
    sources = {}
    for name, settings in recipe.data.items():
        kind = str(settings.get("kind"))
        if kind not in _SOURCES:
            raise ConfigError(f"data.{name}: kind is '{kind}'; {nearest(kind, _SOURCES)}")
        module_name, class_name = _SOURCES[kind]
        module = importlib.import_module(f"{_PACKAGE}.{module_name}")
        config = parse(getattr(module, f"{class_name}Config"), settings, f"data.{name}")
        augmentation = parse(
            type(recipe.augment), {**vars(recipe.augment), **config.augment}, f"data.{name}: augment"
        )
        sources[name] = getattr(module, class_name)(
            config, augmentation, recipe.crop, config.locate(recipe.data_root)
        )
    return sources


def check_shares(sources: dict[str, Source], world: int) -> None:
    """ConfigError where a source's batch is too small for ``world`` processes."""
    for name, source in sources.items():
        if source.config.batch < world:
            raise ConfigError(f"data.{name}: batch is {source.config.batch}, expected at least one per process ({world})")


class StepDataset(Dataset):
    """Map-style data set over training steps: item s is {source name: {key: tensor}} of step s, at the crop that ``crop_at``
    says of it (default: each source's own)."""

    def __init__(
        self, sources: dict[str, Source], seed: int, steps: int, rank: int = 0, world: int = 1, crop_at: CropAt | None = None
    ) -> None:
        self._sources = sources
        self._seed = seed
        self._steps = steps
        self._share = (rank, world)
        self._crop_at = crop_at

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, dict[str, Tensor]]:
        result = {}
        for index, (name, source) in enumerate(self._sources.items()):
            rng = np.random.default_rng([self._seed, step, index])
            batch = source.batch(rng, *self._share, self._crop_at and self._crop_at(step))
            result[name] = {key: torch.from_numpy(value) for key, value in batch.items()}
        return result


def step_batches(
    sources: dict[str, Source],
    seed: int,
    first: int,
    steps: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device = CPU,
    crop_at: CropAt | None = None,
) -> Iterator[dict[str, dict[str, Tensor]]]:
    """The share of process ``rank`` of ``world`` in the batches of steps ``first`` … ``steps`` − 1, at the crops that ``crop_at``
    says (default: each source's own), prepared by ``workers`` processes (0: in this one).

    They lie on the CPU, for a CUDA ``device`` in page-locked memory, from which
    :func:`~geoseg_ros.training.data.jitter.prepare_examples` copies without waiting.
    """
    loader = DataLoader(
        StepDataset(sources, seed, steps, rank, world, crop_at),
        batch_size=None,
        sampler=range(first, steps),
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if workers else None,
        pin_memory=device.type == "cuda",
    )
    return iter(loader)


def _start_worker(_: int) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process of the terminal: the trainer decides
    cv2.setNumThreads(0)
