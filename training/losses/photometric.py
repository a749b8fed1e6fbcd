"""How unlike two images look: SSIM, the photometric error of self-supervised depth, and the census transform.

Sources: Wang et al. 2004 (SSIM); Godard et al. 2019, Monodepth2 (error, minimum reprojection, automask);
Zabih and Woodfill 1994, Meister et al. 2018, UnFlow (census). Images are B×C×H×W in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision

SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
SSIM_SHARE = 0.85
CENSUS_NOISE = 0.81
CENSUS_SOFTNESS = 0.1
GREY = (0.299, 0.587, 0.114)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of 3×3 windows with reflection padding: B×C×H×W in [-1, 1], 1 where equal.

    Needs H, W >= 2.
    """
    a = F.pad(full_precision(a), (1, 1, 1, 1), mode="reflect")
    b = F.pad(full_precision(b), (1, 1, 1, 1), mode="reflect")
    mean_a, mean_b = F.avg_pool2d(a, 3, 1), F.avg_pool2d(b, 3, 1)
    variance_a = F.avg_pool2d(a * a, 3, 1) - mean_a * mean_a
    variance_b = F.avg_pool2d(b * b, 3, 1) - mean_b * mean_b
    covariance = F.avg_pool2d(a * b, 3, 1) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    return similar / ((mean_a * mean_a + mean_b * mean_b + SSIM_C1) * (variance_a + variance_b + SSIM_C2))


def photometric_error(a: Tensor, b: Tensor) -> Tensor:
    """0.85 · (1 − SSIM)/2 + 0.15 · |a − b|, averaged over channels: B×1×H×W, 0 where equal."""
    a, b = full_precision(a), full_precision(b)
    dissimilar = ((1 - ssim(a, b)) / 2).clamp(0, 1)
    return (SSIM_SHARE * dissimilar + (1 - SSIM_SHARE) * (a - b).abs()).mean(1, keepdim=True)


def minimum_reprojection(
    target: Tensor,
    warped: Sequence[Tensor],
    unwarped: Sequence[Tensor] = (),
    valid: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Per pixel the smallest photometric error over the sources, and the automask.

    target: B×C×H×W. warped: the sources brought onto the target's grid. unwarped: the same sources as they
    are; a pixel where one of them fits as well as the best warped one tells nothing about depth (standing
    camera, object moving along, flat colour) and is masked out. A tie masks out, which is what Monodepth2's
    1e-5 of noise aims at. valid: one bool B×1×H×W per warped source, False where it was sampled outside the
    image.

    Returns (error B×1×H×W, zero outside the mask; mask B×1×H×W bool). Monodepth2 averages over all pixels,
    masked ones included (``error.mean()``), so that a nearly static pair weighs little.
    """
    errors = [photometric_error(image, target) for image in warped]
    seen = [torch.ones_like(error, dtype=torch.bool) for error in errors] if valid is None else list(valid)
    candidates = torch.cat(
        [torch.where(ok, error, torch.inf) for error, ok in zip(errors, seen, strict=True)], dim=1
    )
    error = candidates.amin(1, keepdim=True)
    mask = torch.isfinite(error)
    if unwarped:
        with torch.no_grad():
            static = torch.cat([photometric_error(image, target) for image in unwarped], 1).amin(
                1, keepdim=True
            )
        mask = mask & (error < static)
    return torch.where(mask, error, 0.0), mask


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
