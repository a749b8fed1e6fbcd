"""Moving or not, per pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, known_or, masked_mean


def motion_loss(
    logits: Tensor, target: Tensor, positive_weight: float = 1.0, valid: Tensor | None = None
) -> Tensor:
    """Mean binary cross-entropy over known pixels, those of moving ones times ``positive_weight``.

    logits: B×1×H×W. target: B×1×H×W in [0, 1], NaN unknown. valid: bool B×1×H×W or None.
    """
    target, known = known_or(target, 0.0, valid)
    logits = full_precision(logits)
    loss = -positive_weight * target * F.logsigmoid(logits) - (1 - target) * F.logsigmoid(-logits)
    return masked_mean(loss, known)
