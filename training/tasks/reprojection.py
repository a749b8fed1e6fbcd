"""View synthesis: how well depth, pose and camera explain one image by others.

For each source the target is synthesised from the source's pixels; how the errors of several sources become one loss is what
the systems differ in. Sources: Zhou et al. 2017, SfMLearner; Godard et al. 2019, Monodepth2; Bian et al. 2019, SC-SfMLearner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.projection import inverse_warp
from geoseg_ros.training.losses.masked import masked_mean
from geoseg_ros.training.losses.photometric import l1_error, least_error, photometric_error
from geoseg_ros.training.losses.scale_consistency import (
    consistency_weight,
    depth_inconsistency,
    geometry_consistency_loss,
)
from geoseg_ros.training.losses.ssim import window_moments


class Rule(NamedTuple):
    """How errors become a loss.

    ``error``: SSIM and L1, or plain L1. ``combine``: per pixel the least error of all sources, averaged over all pixels
    (Monodepth2), or the mean over each source's valid pixels. ``automask`` leaves out pixels that the source explains as well
    without moving. ``only_inside``: points seen outside the source do not count (else its border repeats).
    ``consistency_mask`` weighs pixels by the consistency of the two depths.
    """

    error: Literal["ssim_l1", "l1"] = "ssim_l1"
    combine: Literal["minimum", "mean"] = "minimum"
    automask: bool = True
    only_inside: bool = False
    consistency_mask: bool = False


class Frame(NamedTuple):
    """``image`` B×3×H×W, not jittered; ``depths`` full-size, one B×1×H×W per scale, or empty where not predicted;
    ``excluded`` bool B×1×H×W, pixels that may move by themselves, or None."""

    image: Tensor
    depths: Sequence[Tensor] = ()
    excluded: Tensor | None = None


class View(NamedTuple):
    """The target as one source shows it: ``image`` B×3×H×W; ``usable`` (counts by the rule), ``inside`` (seen in the source)
    bool B×1×H×W; ``inconsistency`` of the two depths B×1×H×W, or None."""

    image: Tensor
    usable: Tensor
    inside: Tensor
    inconsistency: Tensor | None


def reprojection(
    target: Frame, sources: Sequence[Frame], poses: Sequence[Tensor], intrinsics: Tensor, rule: Rule
) -> tuple[Tensor, Tensor]:
    """(photometric loss, geometry consistency loss) of one target, mean over scales; scalars.

    poses: source_from_target B×4×4 each, NaN where unknown. intrinsics: B×3×3. The second is 0 where the sources have no
    depth.
    """
    error_of = _Error(target.image, rule.error)
    with torch.no_grad():
        still = [error_of(source.image) for source in sources] if rule.automask else None
    photometric, geometry = [], []
    for scale in range(len(target.depths)):
        views = [synthesise(target, s, pose, intrinsics, scale, rule) for s, pose in zip(sources, poses)]
        errors = [error_of(view.image) for view in views]
        if rule.combine == "minimum":
            photometric.append(_least(errors, views, still))
        else:
            photometric.append(_mean(errors, views, still, rule.consistency_mask))
        geometry.extend(_geometry(errors, views, still))
    total = torch.stack(photometric).mean()
    return total, torch.stack(geometry).mean() if geometry else torch.zeros_like(total)


def synthesise(target: Frame, source: Frame, pose: Tensor, intrinsics: Tensor, scale: int, rule: Rule) -> View:
    """The target from the source's pixels, by the target's depth of that scale."""
    known = torch.isfinite(pose).all(2).all(1)
    pose = torch.where(known[:, None, None], pose, torch.eye(4, device=pose.device, dtype=pose.dtype))
    layers = [source.image]
    if source.depths:
        layers.append(source.depths[scale])
    if source.excluded is not None:
        layers.append(source.excluded.to(source.image))
    warped, inside, z = inverse_warp(torch.cat(layers, 1), target.depths[scale], intrinsics, pose)
    image, *others = warped.split([layer.shape[1] for layer in layers], 1)
    inside = inside & known.view(-1, 1, 1, 1)
    usable = inside if rule.only_inside else known.view(-1, 1, 1, 1).expand_as(inside)
    if target.excluded is not None:
        usable = usable & ~target.excluded
    if source.excluded is not None:
        usable = usable & (others[-1] < 0.5)
    return View(image, usable, inside, depth_inconsistency(z, others[0]) if source.depths else None)


def full_size_depths(inverse_depths: Sequence[Tensor], height: int, width: int) -> list[Tensor]:
    """Depth B×1×H×W of every scale: inverse depth is what is interpolated (Monodepth2)."""
    upsampled = (F.interpolate(d, (height, width), mode="bilinear", align_corners=False) for d in inverse_depths)
    return [1 / each for each in upsampled]


class _Error:
    """The chosen error against one target, whose window moments are the same for all sources and scales."""

    def __init__(self, target: Tensor, kind: str) -> None:
        self.target = target
        self.moments = window_moments(target) if kind == "ssim_l1" else None

    def __call__(self, image: Tensor) -> Tensor:
        if self.moments is None:
            return l1_error(image, self.target)
        return photometric_error(image, self.target, self.moments)


def _least(errors: list[Tensor], views: list[View], still: list[Tensor] | None) -> Tensor:
    unwarped = None if still is None else torch.cat(still, 1).amin(1, keepdim=True)
    return least_error(errors, [view.usable for view in views], unwarped)[0].mean()


def _mean(errors: list[Tensor], views: list[View], still: list[Tensor] | None, weighted: bool) -> Tensor:
    losses = []
    for error, view, mask in zip(errors, views, _masks(errors, views, still)):
        weight = consistency_weight(view.inconsistency) if weighted else 1.0
        losses.append(masked_mean(error * weight, mask))
    return torch.stack(losses).mean()


def _geometry(errors: list[Tensor], views: list[View], still: list[Tensor] | None) -> list[Tensor]:
    masks = _masks(errors, views, still)
    pairs = [(v.inconsistency, v.inside & mask) for v, mask in zip(views, masks) if v.inconsistency is not None]
    return [geometry_consistency_loss(inconsistency, mask) for inconsistency, mask in pairs]


def _masks(errors: list[Tensor], views: list[View], still: list[Tensor] | None) -> list[Tensor]:
    """Per source the pixels that count: usable, and better explained by moving than by standing still."""
    if still is None:
        return [view.usable for view in views]
    return [view.usable & (error < unmoved) for view, error, unmoved in zip(views, errors, still)]
