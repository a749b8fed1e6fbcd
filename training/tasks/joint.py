"""All heads of the ``perception`` network at once, each source teaching what it knows.

One encoder pass covers the images of all sources (current and previous frames), so that normalisation statistics come
from the mixture. Then, per source:

- ``semantic``: cross-entropy; a source with a coarser label set teaches unions of classes. And soft Jaccard; and, where the
  depth of a frozen model shall guide the class maps of labelled stills, ``guidance``.
- ``depth``: log depth, metric and scale-invariant (a camera's height cannot be seen), its gradients, and the relative
  error; the sky counts as ``far``.
- ``flow``: multi-level supervision, of the matches too; pairs without ground truth learn from census, smoothness and occlusion (methods.md §6).
- ``motion``: binary cross-entropy of the motion head, and soft Jaccard.
- ``parallax``: the losses of depth and flow once more, after they have corrected each other.
- ``previous_from_current``: rotation and translation of the pose head.
- pairs without depth: photometric reprojection through the known pose, else the predicted one (Monodepth2, methods.md §3).

Poses may be unknown (NaN) in some examples of a source: these teach no pose, and are reprojected through the predicted one.
Examples of an assumed camera are not reprojected: they would teach the depth of another one.

A recipe that freezes all that pairs alone teach (``MOTION``) trains on single images: several times more of them per minute. One
that freezes all that single images teach (``STILLS``) leaves out their losses. One that freezes both is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg_ros.bundle import Bundle
from geoseg_ros.colorize import colorize_depth, colorize_flow, colorize_semantic
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import LabelSet, label_set
from geoseg_ros.networks import create_network
from geoseg_ros.networks.decoder import Decoded
from geoseg_ros.networks.flow import LEVEL_STRIDES, FlowEstimate
from geoseg_ros.networks.perception import double_depth
from geoseg_ros.projection import inverse_warp
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.source import Source
from geoseg_ros.training.losses.depth import (
    gradient_matching_loss,
    log_depth_loss,
    relative_depth_loss,
    scale_invariant_loss,
)
from geoseg_ros.training.losses.flow import (
    forward_backward_visibility,
    matching_loss,
    multilevel_flow_loss,
    unsupervised_flow_loss,
)
from geoseg_ros.training.losses.jaccard import motion_jaccard_loss, semantic_jaccard_loss
from geoseg_ros.training.losses.motion import motion_loss
from geoseg_ros.training.losses.photometric import minimum_reprojection
from geoseg_ros.training.losses.pose import pose_loss
from geoseg_ros.training.losses.segmentation import cross_entropy
from geoseg_ros.training.losses.smoothness import first_order_smoothness
from geoseg_ros.training.schema import parse
from geoseg_ros.training.tasks import Batch, register_task
from geoseg_ros.training.tasks.guidance import GuidanceConfig
from geoseg_ros.training.tasks.sizes import check_crops, input_size, network_settings
from geoseg_ros.training.tasks.source_labels import SourceLabels

STEPS_PER_BLIND_FLOW = 4
"""Every so many steps flow learns to do without the prior from depth and pose, as for a camera of unknown intrinsics."""

STILLS = frozenset(("encoder", "decoder", "semantic_head", "depth_head"))
"""Parts of the network that single images teach."""

MOTION = frozenset(("flow_head", "pose_head", "motion_head", "parallax_head"))
"""Parts that only pairs of images teach."""

LICENCE = "research use: trained on data sets with non-commercial licences (see provenance)"


@dataclass(frozen=True)
class JointLoss:
    """Weights of the loss terms; 0 switches a term off, null guidance.

    ``class_weights`` multiply the semantic cross-entropy per class of the label set. ``far`` is the depth in metres that
    stands for the sky. ``flow_levels`` weigh the full-size flow and those at 1/4, 1/8, 1/16.
    """

    labels: str = "camvid_11"
    class_weights: tuple[float, ...] | None = None
    semantic: float = 1.0
    semantic_jaccard: float = 0.0
    guidance: GuidanceConfig | None = None
    depth: float = 0.5
    depth_shape: float = 1.0
    depth_gradient: float = 0.5
    depth_relative: float = 0.0
    far: float = 150.0
    flow: float = 0.1
    flow_levels: tuple[float, float, float, float] = (1.0, 0.5, 0.25, 0.25)
    matching: float = 0.1
    unsupervised_flow: float = 0.5
    motion: float = 1.0
    motion_jaccard: float = 0.0
    parallax: float = 1.0
    pose: float = 1.0
    photometric: float = 1.0
    smoothness: float = 1e-3


@dataclass
class _Part:
    """One source's share of the encoder pass."""

    batch: dict[str, Tensor]
    features: list[Tensor]
    state: tuple[Tensor, ...] | None
    previous_state: tuple[Tensor, ...] | None


@register_task("joint")
class JointTask:
    """Trains ``PerceptionNet`` on any mixture of sources; see the module's text."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.loss = parse(JointLoss, recipe.loss, "loss")
        self.labels: LabelSet = label_set(self.loss.labels)
        check_crops(recipe)
        self.input_size = input_size(recipe)
        settings = {**network_settings(recipe), "classes": len(self.labels.names)}
        self.network: nn.Module = create_network("perception", settings)
        self.learns_motion = not MOTION <= set(recipe.freeze)
        self.learns_stills = not STILLS <= set(recipe.freeze)
        if not (self.learns_motion or self.learns_stills):
            frozen = ", ".join(recipe.freeze)
            raise ConfigError(f"freeze is {frozen}: nothing is left to learn; expected some part to be left out")
        self.autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        self._weights = self.loss.class_weights and torch.tensor(self.loss.class_weights)
        self.source_labels = SourceLabels(self.labels, recipe.data)

    def step(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of every source's losses; scalars are named source/term."""
        scalars: dict[str, Tensor] = {}
        for source, part in self._encode(batch).items():
            for term, value in self._losses(source, part, step).items():
                scalars[f"{source}/{term}"] = value
        total = torch.stack([self._weight(name.split("/")[1], step) * value for name, value in scalars.items()]).sum()
        return total, {name: value.detach() for name, value in scalars.items()}

    def read_sources(self, sources: Mapping[str, Source]) -> None:
        """Give labelled images the depth that guides them, where the loss wants it."""
        if self.loss.guidance is not None and self.learns_stills:
            self.loss.guidance.guide(sources, self.recipe.data_root)

    def _weight(self, term: str, step: int) -> float:
        """What a term counts at a 0-based step."""
        return self.loss.guidance.weight_at(step) if term == "guidance" else getattr(self.loss, term)

    def _encode(self, batch: Batch) -> dict[str, _Part]:
        images, slices, start = [], {}, 0
        for source, data in batch.items():
            for key in ("image", "previous") if self.learns_motion else ("image",):
                if key in data:
                    images.append(data[key])
                    slices[source, key] = slice(start, start + len(data[key]))
                    start += len(data[key])
        images = torch.cat(images)
        with self.autocast():
            features = self.network.encoder(images)
            states = self.network.flow_head.describe(features, images) if self.learns_motion else ()
        parts = {}
        for source, data in batch.items():
            now, before = slices[source, "image"], slices.get((source, "previous"))
            previous = None if before is None else tuple(s[before] for s in states)
            parts[source] = _Part(data, [f[now] for f in features], tuple(s[now] for s in states), previous)
        return parts

    def _losses(self, source: str, part: _Part, step: int) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        data = part.batch
        logits = depth = pose = None
        intrinsics = data["K"]
        with self.autocast():
            decoded = self.network.decode(part.features, intrinsics)
            if "semantic" in data:
                logits = self.network.semantic(decoded)
            if {"depth", "previous"} & data.keys():
                depth = self.network.depth(decoded, intrinsics)
        if logits is not None and self.learns_stills:
            losses.update(self._semantic(source, logits, data, step))
        if "depth" in data and self.learns_stills:
            losses.update(self._depth(depth, data["depth"], step))
        if part.previous_state is not None:
            motion_losses, pose = self._motion(part, decoded, logits, depth, step)
            losses.update(motion_losses)
        given = data.get("previous_from_current", pose)
        if "depth" not in data and given is not None and (self.learns_stills or given.requires_grad):
            losses.update(self._reprojection(data, depth, _known_or(given, pose)))
        return losses

    def _depth(self, depth: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        far = self.loss.far
        offset = step % 2
        target = target[..., offset::2, offset::2]
        losses = {
            "depth": log_depth_loss(depth, target, far=far, inverse=False),
            "depth_shape": scale_invariant_loss(depth, target, far=far, inverse=False, variance_focus=0.85),
            "depth_gradient": gradient_matching_loss(depth, target, far=far, inverse=False),
        }
        if self.loss.depth_relative:
            losses["depth_relative"] = relative_depth_loss(depth, target, far=far, inverse=False)
        return losses

    def _motion(
        self, part: _Part, decoded: Decoded, logits: Tensor | None, depth: Tensor, step: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of flow, pose, own motion and of what they correct in each other; and the predicted pose."""
        losses: dict[str, Tensor] = {}
        data, intrinsics = part.batch, part.batch["K"]
        prior = step % STEPS_PER_BLIND_FLOW > 0
        with self.autocast():
            flow, poses = self.network.flow_and_pose(part.state, part.previous_state, depth, intrinsics, prior)
        if "flow" in data:
            levels = tuple(level.flow for level in flow.levels)
            losses["flow"] = multilevel_flow_loss((flow.full, *levels), data["flow"], self.loss.flow_levels)
            matches = zip(flow.levels, LEVEL_STRIDES)
            losses["matching"] = sum(matching_loss(m.scores, m.start, data["flow"], s) for m, s in matches)
        elif self.loss.unsupervised_flow:
            losses["unsupervised_flow"] = self._unsupervised_flow(part, flow)
        if "motion" in data and logits is not None:
            with self.autocast():
                moving = self.network.own_motion(flow, logits, depth)
            losses["motion"] = motion_loss(moving, data["motion"], positive_weight=2.0)
            if self.loss.motion_jaccard:
                losses["motion_jaccard"] = motion_jaccard_loss(moving, data["motion"])
            if {"depth", "flow"} <= data.keys() and self.loss.parallax:
                with self.autocast():
                    depth, flow = self.network.reconcile(depth, flow, intrinsics, poses[-1], moving, decoded)
                terms = self._depth(depth, data["depth"], step)
                terms["flow"] = multilevel_flow_loss((flow.full,), data["flow"], (1.0,))
                losses["parallax"] = sum(getattr(self.loss, name) * value for name, value in terms.items())
        if "previous_from_current" in data:
            losses["pose"] = sum(pose_loss(pose, data["previous_from_current"]) for pose in poses)
        return losses, poses[-1]

    def _semantic(self, source: str, logits: Tensor, data: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """At the logits' half size; alternate steps read the upper-left and the lower-right pixel of four."""
        offset = step % 2
        target = data["semantic"][:, offset::2, offset::2]
        own = partial(cross_entropy, class_weights=self._weights)
        losses = {"semantic": self.source_labels.cross_entropy(source, logits, target, own)}
        if self.loss.semantic_jaccard and not self.source_labels.are_foreign(source):
            losses["semantic_jaccard"] = semantic_jaccard_loss(logits, target)
        if self.loss.guidance is not None and "guidance" in data:
            losses["guidance"] = self.loss.guidance.loss(logits, data["guidance"][..., offset::2, offset::2])
        return losses

    def _reprojection(self, data: dict[str, Tensor], depth: Tensor, pose: Tensor) -> dict[str, Tensor]:
        """Of the examples whose pose and camera are known; 0 where none is."""
        known = _known(pose)
        if "intrinsics_known" in data:
            known = known & data["intrinsics_known"]
        if not known.any():
            return dict.fromkeys(("photometric", "smoothness"), 0 * depth.sum())
        current, previous, intrinsics = (data[key][known] for key in ("image_clean", "previous_clean", "K"))
        depth = double_depth(depth[known])
        warped, valid, _ = inverse_warp(previous, depth, intrinsics, pose[known])
        error, _ = minimum_reprojection(current, [warped], [previous], [valid])
        return {"photometric": error.mean(), "smoothness": first_order_smoothness(1.0 / depth, current)}

    def _unsupervised_flow(self, part: _Part, flow: FlowEstimate) -> Tensor:
        with torch.no_grad(), self.autocast():
            reverse = self.network.flow_and_pose(part.previous_state, part.state, None, None)[0].full
        visible = forward_backward_visibility(flow.full, reverse)
        return unsupervised_flow_loss(part.batch["image_clean"], part.batch["previous_clean"], flow.full, visible)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Per source: the first image with its semantics, depth and flow below."""
        pictures = {}
        for source, data in batch.items():
            first = {key: value[:1] for key, value in data.items()}
            image, intrinsics = first["image"], first.get("K")
            previous = None if "previous" not in first else self.network(first["previous"], heads=()).state
            output = self.network(image, intrinsics, previous)
            picture = (image[0].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
            classes = output.logits[0].argmax(0).byte().cpu().numpy().repeat(2, axis=0).repeat(2, axis=1)
            rows = [picture, colorize_semantic(classes, self.labels)]
            if output.depth is not None:
                rows.append(colorize_depth(output.depth[0, 0].cpu().numpy()))
            if output.flow is not None:
                rows.append(colorize_flow(-output.flow[0].permute(1, 2, 0).cpu().numpy()))
            pictures[source] = np.concatenate(rows)
        return pictures

    def bundle(self, provenance: dict[str, Any]) -> Bundle:
        """The network's weights with what runs them."""
        return Bundle(
            architecture="perception",
            config=asdict(self.network.config),
            labels=self.labels,
            input_size=self.input_size,
            provenance={**provenance, "metric": True},
            licence=LICENCE,
            weights={name: value.detach().cpu() for name, value in self.network.state_dict().items()},
        )


def _known(pose: Tensor) -> Tensor:
    """Whose pose B×4×4 is known, bool B."""
    return torch.isfinite(pose).all(2).all(1)


def _known_or(pose: Tensor, other: Tensor | None) -> Tensor:
    """Poses B×4×4, those of ``other`` (where there is one) in place of unknown ones."""
    return pose if other is None else torch.where(_known(pose)[:, None, None], pose, other)
