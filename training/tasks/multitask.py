"""Segmentation beside tasks that image sequences teach without labels, on one encoder: the rivals of guidance by depth.

    labelled stills ───┐           ┌─ segmenter ── cross-entropy
    frames of a drive ─┼─ encoder ─┼─ depth decoder (and a pose network) ── Monodepth2's losses
    the same in grey ──┘           └─ colour decoder ── chroma

One pass of the encoder covers all of them, so that normalisation statistics come from the mixture. The decoders beside the
segmenter serve training alone: the model file holds the segmenter. What methods.md §1 calls

- Klingner (SGDepth, ECCV 2020): ``encoder_share`` 0.9, ``mask_from`` 0.75;
- Novosel (2019): ``colour``;
- Chen (SceneNet, CVPR 2019), with multitask depth: ``shared_class``, their regulariser on the disparity of the labelled stills
  and the classes found there. With pretrained depth it is the task ``segmentation`` with guidance of the form shared_class.

are switches of :class:`MultitaskLoss`. Under one protocol: segmenter, criterion, optimizer and schedule are those of the
baseline, not of each paper. Terms beyond those of the task ``segmentation``: ``photometric``, ``smoothness``, ``colour`` of the
sources of sequences, ``shared_class`` of the labelled ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg_ros.bundle import Bundle
from geoseg_ros.colorize import colorize_depth
from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.encoder import STRIDE
from geoseg_ros.networks.monodepth import SkipDecoder
from geoseg_ros.networks.segmenter import Segmentation
from geoseg_ros.projection import inverse_warp
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.losses.colourisation import CHROMA, colourisation_loss, grey
from geoseg_ros.training.losses.shared_class import class_indicator, shared_class_smoothness
from geoseg_ros.training.losses.smoothness import multi_scale_smoothness
from geoseg_ros.training.tasks import Batch, register_task
from geoseg_ros.training.tasks.depth_and_pose import CURRENT, SOURCES, Data, MonodepthAnswers, Prediction
from geoseg_ros.training.tasks.dynamic_masking import DynamicMasking
from geoseg_ros.training.tasks.reprojection import Frame, Rule, full_size_depths, reprojection
from geoseg_ros.training.tasks.segmentation import SegmentationLoss, SegmentationTask, by_source
from geoseg_ros.training.tasks.shared_encoder import DepthBranch, evaluating, scale_gradients

DEPTH, COLOUR, MASKING = "depth_branch", "colour_branch", "dynamic_masking"
"""What is added to the segmenter while it trains."""

Features = Sequence[Tensor]


@dataclass(frozen=True)
class MultitaskLoss(SegmentationLoss):
    """The segmenter's loss, and the weights of the tasks beside it.

    ``depth`` weighs Monodepth2's loss: photometric error and ``smoothness`` over ``scales`` sizes. ``encoder_share`` λ: the
    depth loss reaches the encoder with λ of its gradient, the segmenter's with 1 − λ; null leaves both whole. From
    ``mask_from`` on, a share of the run, what the segmenter calls a dynamic class leaves the photometric loss (see
    :mod:`~geoseg_ros.training.tasks.dynamic_masking`); null: never. ``colour`` and ``shared_class`` are 0 where they are not
    learned.
    """

    depth: float = 1.0
    smoothness: float = 1e-3
    scales: int = 4
    encoder_share: float | None = None
    mask_from: float | None = None
    colour: float = 0.0
    shared_class: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth <= 0:
            raise ConfigError(f"depth is {self.depth}, expected more than 0 in the task 'multitask'")
        for name in ("smoothness", "colour", "shared_class"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.encoder_share is not None and not 0 < self.encoder_share < 1:
            raise ConfigError(f"encoder_share is {self.encoder_share}, expected between 0 and 1, or null")
        if self.mask_from is not None and not 0 <= self.mask_from < 1:
            raise ConfigError(f"mask_from is {self.mask_from}, expected a share of the run, 0 … 1 without 1, or null")


@register_task("multitask")
class MultitaskSegmentation(SegmentationTask):
    """Trains the segmenter ``network.name`` with what shares its encoder; see the module's text."""

    loss_type = MultitaskLoss
    loss: MultitaskLoss

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        network, loss = self.network, self.loss
        stride = getattr(network.config, "output_stride", STRIDE)
        if stride != STRIDE:
            raise ConfigError(f"network: output_stride is {stride}, expected {STRIDE}, at which the depth decoder starts")
        network.add_module(DEPTH, DepthBranch(network.config.encoder))
        self.answers = MonodepthAnswers(network.get_submodule(DEPTH), loss.scales, learns_poses=True, hides_intrinsics=False)
        if loss.colour:
            widths = network.get_submodule(DEPTH).config.decoder_widths
            network.add_module(COLOUR, SkipDecoder(network.encoder.channels, widths, CHROMA))
            network.get_submodule(COLOUR).predict[1:].requires_grad_(False)
        if loss.mask_from is not None:
            network.add_module(MASKING, DynamicMasking(loss.mask_from))
        self._dynamic = torch.tensor(self.labels.dynamic_ids)

    def _weights(self, step: int) -> dict[str, float]:
        loss = self.loss
        own = {"photometric": loss.depth, "smoothness": loss.depth * loss.smoothness}
        return {**super()._weights(step), **own, "colour": loss.colour, "shared_class": loss.shared_class}

    def _terms(self, batch: Batch, step: int) -> dict[str, dict[str, Tensor]]:
        stills, drives = _labelled(batch, True), _labelled(batch, False)
        if not stills or not drives:
            raise ConfigError(
                f"data: {', '.join(batch)} are {'all' if not drives else 'not'} labelled, expected labelled images and a "
                "source of image sequences"
            )
        greys = {name: grey(data[f"{CURRENT}_clean"]) for name, data in drives.items() if self.loss.colour}
        images = torch.cat([data["image"] for data in stills.values()])
        frames = [data[CURRENT] for data in drives.values()]
        still, *others = self._encode([images, *frames, *greys.values()])
        terms = self._labelled_terms(stills, still, images)
        for (name, data), features in zip(drives.items(), others):
            terms[name] = self._depth_terms(name, data, features, step)
        for name, features in zip(greys, others[len(drives) :]):
            with self.autocast():
                (found,) = self.network.get_submodule(COLOUR)(features, 1)
            terms[name]["colour"] = colourisation_loss(found, drives[name][f"{CURRENT}_clean"])
        return terms

    def _encode(self, inputs: list[Tensor]) -> list[Features]:
        """The encoder's maps of each input, of one pass over all."""
        with self.autocast():
            maps = self.network.encoder(torch.cat(inputs))
        return list(zip(*(each.split([len(x) for x in inputs]) for each in maps)))

    def _labelled_terms(self, stills: Batch, features: Features, images: Tensor) -> dict[str, dict[str, Tensor]]:
        share = self.loss.encoder_share
        with self.autocast():
            output = self.network.decode(features if share is None else scale_gradients(features, 1 - share), images)
        outputs = by_source(output, stills)
        terms = {name: self._losses(name, outputs[name], data) for name, data in stills.items()}
        if self.loss.shared_class:
            with self.autocast():
                (disparity,) = self.network.get_submodule(DEPTH).disparities(features, 1)
            parts = disparity.split([len(data["image"]) for data in stills.values()])
            for part, (name, output) in zip(parts, outputs.items()):
                terms[name]["shared_class"] = self._regulariser(part, output)
        return terms

    def _regulariser(self, disparity: Tensor, output: Segmentation) -> Tensor:
        """As published: the classes found teach disparity, and through it the encoder."""
        return shared_class_smoothness(disparity, class_indicator(output.logits.detach().softmax(1)))

    def _depth_terms(self, name: str, data: Data, features: Features, step: int) -> dict[str, Tensor]:
        sources = [source for source in SOURCES if source in data]
        if not sources:
            raise ConfigError(f"data.{name}: examples have one frame and no labels, expected a source of image sequences")
        if self.loss.encoder_share is not None:
            features = scale_gradients(features, self.loss.encoder_share)
        prediction = self.answers.predict(data, (CURRENT,), sources, self.autocast, features)
        clean = data[f"{CURRENT}_clean"].contiguous()
        depths = full_size_depths(prediction.inverse_depth[CURRENT], *clean.shape[-2:])
        target = Frame(clean, depths, self._masked(data, prediction, depths[0], step))
        neighbours = [Frame(data[f"{source}_clean"].contiguous()) for source in sources]
        poses = [prediction.poses[source] for source in sources]
        photometric, _ = reprojection(target, neighbours, poses, prediction.intrinsics, Rule())
        smoothness = multi_scale_smoothness(prediction.inverse_depth[CURRENT], clean)
        return {"photometric": photometric, "smoothness": smoothness}

    @torch.no_grad()
    def _masked(self, data: Data, prediction: Prediction, depth: Tensor, step: int) -> Tensor | None:
        """Pixels of moving objects, bool B×1×H×W; None before the masking begins."""
        progress = step / self.recipe.steps
        if self.loss.mask_from is None or progress < self.loss.mask_from:
            return None
        names = (CURRENT, *prediction.poses)
        with evaluating(self.network), self.autocast():
            logits = self.network(torch.cat([data[f"{name}_clean"] for name in names])).logits
        own, *others = torch.isin(logits.argmax(1, keepdim=True), self._dynamic.to(logits.device)).chunk(len(names))
        warped = [
            inverse_warp(mask.float(), depth, prediction.intrinsics, pose)[0] > 0.5
            for mask, pose in zip(others, prediction.poses.values())
        ]
        return self.network.get_submodule(MASKING)(own, warped, progress)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Labelled sources as the task ``segmentation`` shows them; of the others the first frame, below it its depth."""
        pictures = super().pictures(_labelled(batch, True))
        branch = self.network.get_submodule(DEPTH)
        for name, data in _labelled(batch, False).items():
            image = data[CURRENT][:1]
            depth = branch.depth(branch.disparities(self.network.encoder(image), 1)[0], data["K"][:1])
            shown = (image[0].permute(1, 2, 0).float().cpu().numpy() * 255).astype(np.uint8)
            pictures[name] = np.concatenate([shown, colorize_depth(depth[0, 0].cpu().numpy())])
        return pictures

    def bundle(self, provenance: dict[str, Any]) -> Bundle:
        """The segmenter alone."""
        bundle = super().bundle(provenance)
        own = {name: value for name, value in bundle.weights.items() if name.split(".")[0] not in (DEPTH, COLOUR, MASKING)}
        return replace(bundle, weights=own)


def _labelled(batch: Batch, labelled: bool) -> Batch:
    """The sources with labels, or those without."""
    return {name: data for name, data in batch.items() if ("semantic" in data) == labelled}
