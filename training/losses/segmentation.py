"""Cross-entropy and its relatives for label maps with unknown pixels.

Logits are B×C×H×W, targets B×H×W int64 with 255 (``ignore``) for unknown. A batch without one known pixel
gives zero. Sources: Eigen and Fergus 2015 (median frequency balancing); Shrivastava et al. 2016 (online hard
example mining).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, masked_mean

IGNORE = 255


def _pixel_cross_entropy(logits: Tensor, target: Tensor, ignore: int) -> tuple[Tensor, Tensor, Tensor]:
    """(−log p of the target B×H×W, known mask, target with unknown pixels set to 0)."""
    known = target != ignore
    safe_target = torch.where(known, target, 0)
    log_probability = F.log_softmax(full_precision(logits), dim=1)
    return -log_probability.gather(1, safe_target[:, None])[:, 0], known, safe_target


def cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, ignore: int = IGNORE
) -> Tensor:
    """Mean −log p over known pixels; with ``class_weights`` (C) the weighted mean."""
    loss, known, safe_target = _pixel_cross_entropy(logits, target, ignore)
    weight = None if class_weights is None else class_weights.to(loss)[safe_target]
    return masked_mean(loss, known, weight)


def ohem_cross_entropy(
    logits: Tensor,
    target: Tensor,
    threshold: float = 0.7,
    min_fraction: float = 1 / 16,
    class_weights: Tensor | None = None,
    ignore: int = IGNORE,
) -> Tensor:
    """Cross-entropy over hard pixels: p < ``threshold``, at least ``min_fraction`` of the known ones."""
    loss, known, safe_target = _pixel_cross_entropy(logits, target, ignore)
    with torch.no_grad():
        known_losses = loss[known]
        at_least = min(int(np.ceil(min_fraction * known_losses.numel())), known_losses.numel())
        limit = -float(np.log(threshold))
        if at_least > 0:
            limit = min(limit, float(known_losses.topk(at_least).values[-1]))
        hard = known & ~(loss < limit)  # what is no number stays in the loss, and the run stops
    weight = None if class_weights is None else class_weights.to(loss)[safe_target]
    return masked_mean(loss, hard, weight)


def union_cross_entropy(
    logits: Tensor, target: Tensor, union_map: Tensor | np.ndarray, ignore: int = IGNORE
) -> Tensor:
    """−log Σ p over the classes that a coarser label stands for, mean over known pixels.

    logits: B×C×H×W over the model's classes. target: B×H×W int64 in a source label set of S classes.
    union_map: bool S×C, see ``labels.union_map``. Pixels that are ``ignore``, or whose source class stands
    for no model class, do not count. With a one-to-one map this is plain cross-entropy; with a row of all
    True it is zero.
    """
    logits = full_precision(logits)
    members = torch.as_tensor(union_map, dtype=torch.bool, device=logits.device)
    if members.ndim != 2 or members.shape[1] != logits.shape[1]:
        raise ValueError(
            f"union_map has shape {tuple(members.shape)}, expected S x {logits.shape[1]} classes"
        )
    in_set = target != ignore
    source = torch.where(in_set, target, 0)
    known = in_set & members.any(1)[source]
    pixel_members = members[source].movedim(-1, 1) | ~known[:, None]
    inside = logits.masked_fill(~pixel_members, -torch.inf).logsumexp(1)
    return masked_mean(logits.logsumexp(1) - inside, known)


def median_frequency_weights(label_maps: Iterable[np.ndarray], classes: int, ignore: int = IGNORE) -> Tensor:
    """Class weights median(f)/f_c (float32, C), f_c = pixels of c / known pixels of images with c.

    Classes that never occur keep weight 1 and do not enter the median.
    """
    pixels = np.zeros(classes)
    available = np.zeros(classes)
    for labels in label_maps:
        counts = np.bincount(labels[labels != ignore].ravel(), minlength=classes)
        if len(counts) > classes:
            raise ValueError(
                f"label map holds class {len(counts) - 1}, expected 0..{classes - 1} or {ignore}"
            )
        pixels += counts
        available += (counts > 0) * counts.sum()
    present = pixels > 0
    frequency = pixels[present] / available[present]
    weights = np.ones(classes)
    weights[present] = np.median(frequency) / frequency if present.any() else 1.0
    return torch.from_numpy(weights.astype(np.float32))
