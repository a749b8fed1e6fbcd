"""Semantic segmentation by any segmenter of ``geoseg_ros.networks``, on labelled sources of one or several label sets.

One pass covers the images of all sources, so that normalisation statistics come from the mixture. The terms, each logged as
source/term:

- ``semantic``: cross-entropy, over all pixels or the hard ones (OHEM), with class weights where wanted. A source with another
  label set teaches unions of classes, by plain cross-entropy.
- ``auxiliary``: the same for the auxiliary heads, summed (BiSeNet weighs each with 1).
- ``jaccard``: soft intersection over union, for labels of the model's own set.
- ``guidance``: class maps change where the depth of a frozen model changes (``guidance``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from geoseg_ros.bundle import Bundle
from geoseg_ros.colorize import colorize_semantic
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import LabelSet, label_set
from geoseg_ros.networks import create_network
from geoseg_ros.networks.segmenter import Segmentation
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.source import Source
from geoseg_ros.training.losses.jaccard import semantic_jaccard_loss
from geoseg_ros.training.losses.segmentation import cross_entropy, median_frequency_weights, ohem_cross_entropy
from geoseg_ros.training.schema import parse
from geoseg_ros.training.tasks import DATA_LICENCE, Batch, register_task
from geoseg_ros.training.tasks.guidance import GuidanceConfig
from geoseg_ros.training.tasks.sizes import check_crops, input_size, network_settings
from geoseg_ros.training.tasks.source_labels import SourceLabels


@dataclass(frozen=True)
class SegmentationLoss:
    """What is learned, and the weights of the loss terms (0 switches one off).

    ``criterion``: cross_entropy, or ohem over the pixels of p < ``ohem_threshold``, at least ``ohem_fraction`` of the known
    ones. ``class_weights``: one per class of ``labels``; ``median_frequency`` computes them once from the training labels of
    that set (Eigen and Fergus 2015).
    """

    labels: str = "camvid_11"
    criterion: Literal["cross_entropy", "ohem"] = "cross_entropy"
    ohem_threshold: float = 0.7
    ohem_fraction: float = 1 / 16
    class_weights: tuple[float, ...] | None = None
    median_frequency: bool = False
    auxiliary: float = 1.0
    jaccard: float = 0.0
    guidance: GuidanceConfig | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ohem_threshold < 1:
            raise ConfigError(f"ohem_threshold is {self.ohem_threshold}, expected between 0 and 1")
        if not 0 <= self.ohem_fraction <= 1:
            raise ConfigError(f"ohem_fraction is {self.ohem_fraction}, expected 0 … 1")
        if self.class_weights is not None and self.median_frequency:
            raise ConfigError("class_weights are given with median_frequency, expected one of the two")
        if self.class_weights is not None and min(self.class_weights, default=0.0) <= 0:
            raise ConfigError(f"class_weights are {list(self.class_weights)}, expected numbers above 0")
        for name in ("auxiliary", "jaccard"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")


@register_task("segmentation")
class SegmentationTask:
    """Trains the segmenter ``network.name`` (bisenet by default); see the module's text.

    ``network.input_size`` [width, height] is the size that the model file asks for at run time, by default the crop.
    """

    loss_type: type[SegmentationLoss] = SegmentationLoss

    def __init__(self, recipe: Recipe) -> None:
        check_crops(recipe)
        self.recipe = recipe
        self.loss = parse(self.loss_type, recipe.loss, "loss")
        self.labels: LabelSet = label_set(self.loss.labels)
        self.architecture: str = recipe.network.get("name", "bisenet")
        self.input_size = input_size(recipe)
        classes = len(self.labels.names)
        self.network: nn.Module = create_network(self.architecture, {**network_settings(recipe), "classes": classes})
        self.source_labels = SourceLabels(self.labels, recipe.data)
        self.autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        self.class_weights: Tensor | None = None
        if self.loss.class_weights is not None:
            if len(self.loss.class_weights) != classes:
                raise ConfigError(
                    f"loss: class_weights has {len(self.loss.class_weights)} entries, expected one for each of the {classes} "
                    f"classes of {self.labels.name}"
                )
            self.class_weights = torch.tensor(self.loss.class_weights)

    def read_sources(self, sources: Mapping[str, Source]) -> None:
        """Weigh the classes by the training labels and give the images the depth that guides, where the loss wants them."""
        if self.loss.median_frequency:
            own = [source for name, source in sources.items() if not self.source_labels.are_foreign(name)]
            if not any(True for source in own for _ in source.label_maps()):
                raise ConfigError(f"loss: median_frequency needs a source with labels of {self.labels.name}, found none")
            maps = (labels for source in own for labels in source.label_maps())
            self.class_weights = median_frequency_weights(maps, len(self.labels.names))
        if self.loss.guidance is not None:
            self.loss.guidance.guide(sources, self.recipe.data_root)

    def step(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of every source's losses; scalars are named source/term."""
        weights = self._weights(step)
        terms, scalars = [], {}
        for source, losses in self._terms(batch, step).items():
            for term, value in losses.items():
                terms.append(weights[term] * value)
                scalars[f"{source}/{term}"] = value.detach()
        return torch.stack(terms).sum(), scalars

    def _weights(self, step: int) -> dict[str, float]:
        """What each term counts at a 0-based step."""
        weights = {"semantic": 1.0, "auxiliary": self.loss.auxiliary, "jaccard": self.loss.jaccard}
        if self.loss.guidance is not None:
            weights["guidance"] = self.loss.guidance.weight_at(step)
        return weights

    def _terms(self, batch: Batch, step: int) -> dict[str, dict[str, Tensor]]:
        """The terms of each source."""
        with self.autocast():
            output = self.network(torch.cat([data["image"] for data in batch.values()]))
        return {source: self._losses(source, part, batch[source]) for source, part in by_source(output, batch).items()}

    def _losses(self, source: str, output: Segmentation, data: dict[str, Tensor]) -> dict[str, Tensor]:
        if "semantic" not in data:
            raise ConfigError(f"data.{source}: examples have no semantic labels, which the task 'segmentation' learns from")
        target, logits = data["semantic"], output.logits
        losses = {"semantic": self._cross_entropy(source, logits, target)}
        if self.loss.auxiliary and output.auxiliary:
            heads = [self._cross_entropy(source, head, target) for head in output.auxiliary]
            losses["auxiliary"] = torch.stack(heads).sum()
        if self.loss.jaccard and not self.source_labels.are_foreign(source):
            losses["jaccard"] = semantic_jaccard_loss(logits, target)
        if self.loss.guidance is not None and "guidance" in data:
            losses["guidance"] = self.loss.guidance.loss(logits, data["guidance"])
        return losses

    def _cross_entropy(self, source: str, logits: Tensor, target: Tensor) -> Tensor:
        if self.loss.criterion == "ohem":
            settings = {"threshold": self.loss.ohem_threshold, "min_fraction": self.loss.ohem_fraction}
            own = partial(ohem_cross_entropy, class_weights=self.class_weights, **settings)
        else:
            own = partial(cross_entropy, class_weights=self.class_weights)
        return self.source_labels.cross_entropy(source, logits, target, own)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Per source: the first image, below it the classes found and, where they are of the model's set, the true ones."""
        pictures = {}
        for source, data in batch.items():
            image, truth = data["image"][:1], data["semantic"][0].byte().cpu().numpy()
            found = self.network(image).logits[0].argmax(0).byte().cpu().numpy()
            rows = [(image[0].permute(1, 2, 0).float().cpu().numpy() * 255).astype(np.uint8)]
            rows.append(colorize_semantic(found, self.labels))
            if not self.source_labels.are_foreign(source):
                rows.append(colorize_semantic(truth, self.labels))
            pictures[source] = np.concatenate(rows)
        return pictures

    def bundle(self, provenance: dict[str, Any]) -> Bundle:
        """The network's weights with what runs them."""
        if self.class_weights is not None:
            provenance = {**provenance, "class_weights": self.class_weights.tolist()}
        return Bundle(
            architecture=self.architecture,
            config=asdict(self.network.config),
            labels=self.labels,
            input_size=self.input_size,
            provenance=provenance,
            licence=DATA_LICENCE,
            weights={name: value.detach().cpu() for name, value in self.network.state_dict().items()},
        )


def by_source(output: Segmentation, batch: Batch) -> dict[str, Segmentation]:
    """Every source's share of one pass over the images of ``batch``, float32."""
    sizes = [len(data["image"]) for data in batch.values()]
    parts = zip(*(each.float().split(sizes) for each in (output.logits, *output.auxiliary)), strict=True)
    return {source: Segmentation(first, tuple(rest)) for source, (first, *rest) in zip(batch, parts, strict=True)}
