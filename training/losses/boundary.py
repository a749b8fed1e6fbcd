"""Object borders in the disparity: SegDepth's L_b with the pixel weights of the U-Net paper.

Sources: Sivuk, SegDepth (a small network must find the foreground in the disparity alone); Ronneberger et al., MICCAI 2015
(weights w = w_c + w_0 · exp(−(d1 + d2)² / 2σ²), so that what separates two objects counts most).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision

BORDER_WEIGHT = 10.0
BORDER_SIGMA = 5.0
SMALLEST_OBJECT = 16
"""Pixels below which a component is taken for noise of a predicted mask, not for an object with borders."""
LARGEST_CLASS_WEIGHT = 10.0
"""An image with a few pixels of foreground must not count as one that is full of it."""


def border_term(
    mask: np.ndarray,
    weight: float = BORDER_WEIGHT,
    sigma: float = BORDER_SIGMA,
    smallest: int = SMALLEST_OBJECT,
) -> np.ndarray:
    """w_0 · exp(−(d1 + d2)² / 2σ²) per pixel, H×W float32.

    mask: H×W bool, True on foreground; its 8-connected components of ``smallest`` pixels or more are the objects. d1, d2: distance in pixels to the
    border of the nearest and of the second-nearest object, from outside to its nearest pixel, from inside to the nearest
    pixel that is not of it. Where there are fewer than two objects the term is 0.
    """
    count, components, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    objects = [i for i in range(1, count) if sizes[i, cv2.CC_STAT_AREA] >= smallest]  # 0 is the background
    if len(objects) < 2:
        return np.zeros(mask.shape, np.float32)
    first = np.full(mask.shape, np.inf, np.float32)
    second = first.copy()
    for index in objects:
        distance = _distance_to_border(components == index)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return weight * np.exp(-((first + second) ** 2) / (2 * sigma**2), dtype=np.float32)


def _distance_to_border(inside: np.ndarray) -> np.ndarray:
    """Euclidean distance to the border of one object (bool H×W), from either side; at least 1."""
    outer = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return outer + inner


def class_term(foreground: Tensor) -> Tensor:
    """w_c: what balances foreground and background, B×1×H×W float32.

    Each class of the batch has weight 1 / (2 · its share of pixels), at most LARGEST_CLASS_WEIGHT. foreground: bool
    B×1×H×W.
    """
    share = foreground.float().mean()
    of_class = [1 / (2 * s).clamp(min=1 / LARGEST_CLASS_WEIGHT) for s in (share, 1 - share)]
    return torch.where(foreground, *of_class)


def boundary_weights(foreground: Tensor) -> Tensor:
    """w = w_c + w_0 · exp(−(d1 + d2)² / 2σ²) of every image, B×1×H×W float32, from bool B×1×H×W."""
    terms = np.stack([border_term(mask) for mask in foreground[:, 0].cpu().numpy()])
    return class_term(foreground) + torch.from_numpy(terms)[:, None].to(foreground.device)


def boundary_loss(logits: Tensor, foreground: Tensor, weights: Tensor) -> Tensor:
    """L_b: mean over all pixels of w · binary cross-entropy.

    logits: B×1×H×W of the network that reads the disparity. foreground: bool B×1×H×W. weights: B×1×H×W.
    """
    logits = full_precision(logits)
    loss = F.binary_cross_entropy_with_logits(logits, foreground.to(logits), reduction="none")
    return (weights * loss).mean()
