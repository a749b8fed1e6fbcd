"""Soft intersection over union, the reported score as a loss (Rahman and Wang, ISVC 2016).

Cross-entropy counts pixels, so that a pole weighs less than the road beside it; here every class counts alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, known_or
from geoseg_ros.training.losses.segmentation import IGNORE


def soft_jaccard_loss(probability: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """1 − mean over channels of Σ p·t / Σ (p + t − p·t), the sums over the known pixels of the whole batch.

    probability, truth: B×C×H×W in [0, 1]; known: bool B×1×H×W. Channels without truth in the batch do not count; a batch
    without any gives zero.
    """
    probability = full_precision(probability) * known
    truth = truth.to(probability) * known
    both = (probability * truth).sum((0, 2, 3))
    either = (probability + truth).sum((0, 2, 3)) - both
    present = truth.sum((0, 2, 3)) > 0
    missed = torch.where(present, 1 - both / either.clamp(min=1e-6), 0.0)
    return missed.sum() / present.sum().clamp(min=1)


def semantic_jaccard_loss(logits: Tensor, target: Tensor, ignore: int = IGNORE) -> Tensor:
    """Soft Jaccard loss of logits B×C×H×W against labels B×H×W int64, ``ignore`` unknown."""
    known = target != ignore
    classes = F.one_hot(torch.where(known, target, 0), logits.shape[1]).movedim(-1, 1)
    return soft_jaccard_loss(full_precision(logits).softmax(1), classes, known[:, None])


def motion_jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Jaccard loss of the moving class: logits B×1×H×W against B×1×H×W in [0, 1], NaN unknown."""
    target, known = known_or(target, 0.0)
    return soft_jaccard_loss(full_precision(logits).sigmoid(), target, known)
