"""Structural similarity of 3×3 windows, with its derivative written out.

Source: Wang et al. 2004. Self-supervised depth evaluates it several times per image and step, where it costs more than
the networks on a CPU. One backward pass of three window sums takes the place of the chain of small operations that
autograd would record.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision

SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2

Moments = tuple[Tensor, Tensor]


def ssim(a: Tensor, b: Tensor, moments_b: Moments | None = None) -> Tensor:
    """Structural similarity of 3×3 windows with reflection padding: B×C×H×W in [-1, 1], 1 where equal.

    Needs H, W >= 2. ``moments_b``: :func:`window_moments` of ``b``, where they are at hand. Differentiable once.
    """
    a, b = full_precision(a), full_precision(b)
    mean_b, square_b = window_moments(b) if moments_b is None else moments_b
    return _Ssim.apply(a, b, mean_b, square_b)


@torch.no_grad()
def window_moments(image: Tensor) -> Moments:
    """Mean and mean square of the 3×3 window around every pixel, each B×C×H×W."""
    padded = _reflect(full_precision(image))
    return _window_mean(padded), _window_mean(padded * padded)


class _Ssim(torch.autograd.Function):
    """S = (2 μaμb + C1)(2 σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2)) with μa = E[a], σa² = E[a²] − μa²,
    σab = E[ab] − μaμb; so its derivatives are those by the window means E[a], E[a²], E[ab], brought back to pixels."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, mean_b: Tensor, square_b: Tensor) -> Tensor:
        padded = _reflect(a)
        mean_a, square_a = _window_mean(padded), _window_mean(padded * padded)
        product = _window_mean(padded * _reflect(b))
        ctx.save_for_backward(a, b, mean_a, mean_b, square_a, square_b, product)
        return _Terms(mean_a, mean_b, square_a, square_b, product).similarity

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b, mean_a, mean_b, square_a, square_b, product = ctx.saved_tensors
        terms = _Terms(mean_a, mean_b, square_a, square_b, product)
        by_product = _from_windows(gradient * terms.by_product)
        of_a = of_b = None
        if ctx.needs_input_grad[0]:
            by_mean, by_square = terms.by_own(mean_a, mean_b)
            of_a = _from_windows(gradient * by_mean) + 2 * a * _from_windows(gradient * by_square) + b * by_product
        if ctx.needs_input_grad[1]:
            by_mean, by_square = terms.by_own(mean_b, mean_a)
            of_b = _from_windows(gradient * by_mean) + 2 * b * _from_windows(gradient * by_square) + a * by_product
        return of_a, of_b, None, None


class _Terms:
    """The four factors of S, and its derivatives by window means."""

    def __init__(self, mean_a: Tensor, mean_b: Tensor, square_a: Tensor, square_b: Tensor, product: Tensor) -> None:
        means, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
        self.luminance = 2 * means + SSIM_C1
        self.structure = 2 * (product - means) + SSIM_C2
        self.energies = squares + SSIM_C1
        self.variances = square_a + square_b - squares + SSIM_C2
        self.divisor = (self.energies * self.variances).reciprocal_()
        self.similarity = self.luminance * self.structure * self.divisor

    @property
    def by_product(self) -> Tensor:
        """∂S/∂E[ab]."""
        return 2 * self.luminance * self.divisor

    def by_own(self, own: Tensor, other: Tensor) -> Moments:
        """∂S/∂E[x] and ∂S/∂E[x²] of the image x whose mean is ``own``."""
        by_square = -self.similarity / self.variances
        by_mean = 2 * other * (self.structure - self.luminance) * self.divisor
        by_mean -= 2 * own * (self.similarity / self.energies + by_square)
        return by_mean, by_square


def _reflect(image: Tensor) -> Tensor:
    return F.pad(image, (1, 1, 1, 1), mode="reflect")


def _window_mean(padded: Tensor) -> Tensor:
    """Means of the 3×3 windows of (H+2)×(W+2), H×W: first along y, then along x."""
    rows = padded[..., :-2, :] + padded[..., 1:-1, :]
    rows += padded[..., 2:, :]
    mean = rows[..., :-2] + rows[..., 1:-1]
    mean += rows[..., 2:]
    return mean.mul_(1 / 9)


def _from_windows(gradient: Tensor) -> Tensor:
    """The transpose of reflecting and taking window means: every pixel collects from the windows that it is in."""
    padded = _window_mean(F.pad(gradient, (2, 2, 2, 2)))
    padded[..., 2, :] += padded[..., 0, :]
    padded[..., -3, :] += padded[..., -1, :]
    padded[..., 2] += padded[..., 0]
    padded[..., -3] += padded[..., -1]
    return padded[..., 1:-1, 1:-1]
