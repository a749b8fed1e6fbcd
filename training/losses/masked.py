"""Means over the pixels that count, in full precision.

Every loss of this folder computes in float32 (or float64 when given it), also under bf16 autocast, and
returns a scalar tensor. A mask with no pixel gives a zero that still carries a gradient of zero, never NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """``values`` as float32; float64 stays float64."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def masked_mean(values: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Mean of ``values`` over ``mask`` (bool), weighted by ``weight`` (>= 0), both broadcastable.

    Values outside the mask are dropped, so they may be anything finite or not; to keep gradients clean too,
    the caller replaces non-finite *inputs* before any arithmetic (``known_or``), because 0 · inf is NaN in
    the backward pass.
    """
    if mask is None and weight is None:
        return values.mean()
    weights = torch.ones_like(values) if weight is None else full_precision(weight).expand_as(values)
    if mask is not None:
        values = torch.where(mask, values, 0.0)
        weights = torch.where(mask, weights, 0.0)
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1.0)


def known_or(values: Tensor, default: float, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``values`` with every non-finite or not ``valid`` (bool, broadcastable) entry replaced by ``default``.

    Returns (clean values in full precision, bool mask of the entries kept).
    """
    values = full_precision(values)
    known = torch.isfinite(values)
    if valid is not None:
        known = known & valid.bool()
    return torch.where(known, values, default), known
