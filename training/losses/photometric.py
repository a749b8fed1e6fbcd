"""How unlike two images look: the photometric error of self-supervised depth, and the census transform.

Sources: Godard et al. 2019, Monodepth2 (error, minimum reprojection, automask); Zabih and Woodfill 1994, Meister et al.
2018, UnFlow (census). Images are B×C×H×W in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision
from geoseg_ros.training.losses.ssim import Moments, ssim

SSIM_SHARE = 0.85
CENSUS_NOISE = 0.81
CENSUS_SOFTNESS = 0.1
GREY = (0.299, 0.587, 0.114)


def photometric_error(a: Tensor, b: Tensor, moments_b: Moments | None = None) -> Tensor:
    """0.85 · (1 − SSIM)/2 + 0.15 · |a − b|, averaged over channels: B×1×H×W, 0 where equal.

    ``moments_b``: :func:`~geoseg_ros.training.losses.ssim.window_moments` of ``b``, where they are at hand.
    """
    a, b = full_precision(a), full_precision(b)
    dissimilar = ((1 - ssim(a, b, moments_b)) / 2).clamp(0, 1)
    return (SSIM_SHARE * dissimilar + (1 - SSIM_SHARE) * (a - b).abs()).mean(1, keepdim=True)


def l1_error(a: Tensor, b: Tensor) -> Tensor:
    """|a − b| averaged over channels: B×1×H×W. The photometric error without structure."""
    return (full_precision(a) - full_precision(b)).abs().mean(1, keepdim=True)


def least_error(
    errors: Sequence[Tensor], valid: Sequence[Tensor] | None = None, unwarped: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Per pixel the smallest error over the sources, and the automask (Monodepth2).

    errors: one B×1×H×W per warped source. valid: one bool B×1×H×W per source, False where it shows nothing. unwarped:
    B×1×H×W, the smallest error of the sources as they are; a pixel where that is no greater tells nothing about depth
    (standing camera, object moving along, flat colour) and is masked out. A tie masks out, which is what Monodepth2's
    1e-5 of noise aims at.

    Returns (error B×1×H×W, zero outside the mask; mask B×1×H×W bool). Monodepth2 averages over all pixels, masked ones
    included (``error.mean()``), so that a nearly static pair weighs little.
    """
    candidates = torch.cat(list(errors), 1)
    if valid is not None:
        candidates = torch.where(torch.cat(list(valid), 1), candidates, torch.inf)
    error = candidates.amin(1, keepdim=True)
    mask = torch.isfinite(error)
    if unwarped is not None:
        mask = mask & (error < unwarped)
    return torch.where(mask, error, 0.0), mask


def minimum_reprojection(
    target: Tensor,
    warped: Sequence[Tensor],
    unwarped: Sequence[Tensor] = (),
    valid: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`least_error` of the photometric errors of ``warped`` sources, with those of ``unwarped`` ones as automask.

    target, and every source: B×C×H×W. valid: as there. No gradient flows into the automask.
    """
    still = None
    if unwarped:
        with torch.no_grad():
            still = torch.cat([photometric_error(image, target) for image in unwarped], 1).amin(1, keepdim=True)
    return least_error([photometric_error(image, target) for image in warped], valid, still)


def census_transform(image: Tensor, radius: int = 3) -> Tensor:
    """Soft ternary census of the grey image: B×(2r+1)²×H×W in (-1, 1); the border repeats the edge pixel."""
    image = full_precision(image)
    if image.shape[1] == 3:
        image = (image * image.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    elif image.shape[1] != 1:
        raise ValueError(f"census_transform: image has {image.shape[1]} channels, expected 1 or 3")
    grey = image * 255.0
    height, width = grey.shape[-2:]
    size = 2 * radius + 1
    padded = F.pad(grey, (radius,) * 4, mode="replicate")
    neighbours = F.unfold(padded, size).view(grey.shape[0], size * size, height, width)
    difference = neighbours - grey
    return difference / (CENSUS_NOISE + difference * difference).sqrt()


def census_error(a: Tensor, b: Tensor, radius: int = 3) -> Tensor:
    """Soft Hamming distance of the census transforms, mean over the window: B×1×H×W in [0, 1), 0 where equal.

    Blind to brightness and contrast changes that keep the order of neighbouring pixels.
    """
    squared = (census_transform(a, radius) - census_transform(b, radius)).square()
    return (squared / (CENSUS_SOFTNESS + squared)).mean(1, keepdim=True)
