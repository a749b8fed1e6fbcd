"""Differentiable projective geometry on image batches.

Tensors are B×C×H×W. Pixels are (x, y) with integer centres; depth is z in metres, not ray length; K is a
pinhole matrix B×3×3 without skew; a pose T = a_from_b, B×4×4, takes points of frame b into frame a.
Everything is computed in float32 at least, also under autocast: half precision cannot resolve a pixel. Small
matrices are multiplied element by element, so that TF32 settings do not touch coordinates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

MIN_DEPTH = 1e-6
"""Metres in front of the camera below which a point is not projected."""

MIN_DEPTH_RATIO = 1e-3
"""z in the other camera over z in this one below which rigid flow is not valid."""


def _full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs ``function`` outside autocast with half-precision tensor arguments promoted to float32."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        def promote(value: Any) -> Any:
            is_half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
            return value.float() if is_half else value

        device = next(
            (value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), "cpu"
        )
        args, kwargs = tuple(map(promote, args)), {key: promote(value) for key, value in kwargs.items()}
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return wrapper


def pixel_grid(
    height: int, width: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Coordinates (x, y) of every pixel, 1×2×H×W."""
    x, y = _axes(height, width, device, dtype)
    return torch.stack([x.expand(height, width), y.expand(height, width)]).unsqueeze(0)


@_full_precision
def backproject(depth: Tensor, K: Tensor) -> Tensor:
    """Depth B×1×H×W and K B×3×3 to points B×3×H×W of the camera frame, metres."""
    return _linear(_inverse_intrinsics(K), depth.shape) * depth


@_full_precision
def transform(points: Tensor, T: Tensor) -> Tensor:
    """Points B×3×H×W of frame b under T = a_from_b, B×4×4, to points of frame a."""
    columns = T[:, :3, :, None, None]
    return (
        columns[:, :, 0] * points[:, 0:1]
        + columns[:, :, 1] * points[:, 1:2]
        + columns[:, :, 2] * points[:, 2:3]
        + columns[:, :, 3]
    )


@_full_precision
def project(points: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Points B×3×H×W and K B×3×3 to pixels B×2×H×W and z B×1×H×W.

    z is clamped to MIN_DEPTH in the division, so that pixels stay finite; where the returned z is not
    positive they mean nothing.
    """
    z = points[:, 2:3]
    focal, centre = _focal_and_centre(K)
    return points[:, :2] / z.clamp(min=MIN_DEPTH) * focal + centre, z


@_full_precision
def sample(image: Tensor, pixels: Tensor, padding: str = "border") -> Tensor:
    """Bilinear values of image B×C×H×W at pixels B×2×h×w, as B×C×h×w.

    Outside the image: ``border`` repeats its edge, ``zeros`` is 0. A NaN pixel reads the pixel (0, 0).
    """
    height, width = image.shape[-2:]
    size = pixels.new_tensor([width, height]).view(1, 2, 1, 1)
    grid = (torch.nan_to_num(pixels) * 2 + 1) / size - 1
    grid = grid.permute(0, 2, 3, 1)
    dtype = torch.promote_types(image.dtype, grid.dtype)
    return functional.grid_sample(
        image.to(dtype), grid.to(dtype), mode="bilinear", padding_mode=padding, align_corners=False
    )


@_full_precision
def warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Image B×C×H×W seen from the grid that ``flow`` B×2×H×W (pixels) starts at.

    Returns the image sampled at grid + flow and a mask B×1×H×W, true where that lies inside the image. With
    flow_to_previous and the previous image this reconstructs the current image.
    """
    x, y = _axes(*flow.shape[-2:], flow.device, flow.dtype)
    pixels = torch.cat([flow[:, :1] + x, flow[:, 1:] + y], dim=1)
    return sample(image, pixels), _inside(pixels, *image.shape[-2:])


@_full_precision
def rigid_flow(depth: Tensor, K: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """The optical flow that camera motion alone causes in a still scene.

    depth B×1×H×W of this camera (metres; +inf is infinitely far and feels rotation only), K B×3×3 of both
    cameras, T = other_from_this B×4×4. Returns the flow B×2×H×W to the other image and a mask B×1×H×W, true
    where depth is positive and the point lies in front of the other camera (it may leave the image). Flow is
    0 where the mask is not true. T = previous_from_current gives flow_to_previous.
    """
    flow, _, valid, _ = _reproject(depth, K, T)
    return flow, valid


@_full_precision
def rigid_flow_and_parallax(depth: Tensor, K: Tensor, T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`rigid_flow` and its derivative by the logarithm of inverse depth, B×2×H×W in pixels, and the mask.

    To first order the parallax is the part of the flow that translation causes.
    """
    flow, ratio, valid, shift = _reproject(depth, K, T)
    x, y = _axes(*flow.shape[-2:], flow.device, flow.dtype)
    moved = torch.cat(
        [shift[:, :1] - (x + flow[:, :1]) * shift[:, 2:], shift[:, 1:2] - (y + flow[:, 1:]) * shift[:, 2:]], dim=1
    )
    return flow, torch.where(valid, moved / ratio, torch.zeros_like(moved)), valid


@_full_precision
def inverse_warp(
    image_src: Tensor, depth_tgt: Tensor, K: Tensor, T_src_from_tgt: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The source image B×C×H×W seen from the target camera, through the target's depth B×1×H×W.

    Returns the image, a mask B×1×H×W (true where the point has depth, lies in front of the source camera and
    inside its image) and the point's z in the source camera B×1×H×W (0 where it has none).
    """
    flow, ratio, valid, _ = _reproject(depth_tgt, K, T_src_from_tgt)
    warped, inside = warp(image_src, flow)
    finite = torch.isfinite(depth_tgt)
    z = torch.where(finite, depth_tgt, torch.ones_like(depth_tgt)) * ratio
    z = torch.where(valid, torch.where(finite, z, torch.full_like(z, torch.inf)), torch.zeros_like(z))
    return warped, valid & inside, z


@_full_precision
def pose_from_vector(v: Tensor) -> Tensor:
    """Axis-angle (rad) and translation (metres), B×6, to poses B×4×4 (Rodrigues' formula; smooth at zero)."""
    wx, wy, wz = v[:, :3].unbind(-1)
    squared = (v[:, :3] * v[:, :3]).sum(-1)
    small = squared < 1e-6
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)[:, None, None]
    half = torch.sin(angle / 2) / angle
    second = torch.where(small, 0.5 - squared / 24, 2 * half * half)[:, None, None]
    zero = torch.zeros_like(wx)
    skew = torch.stack([zero, -wz, wy, wz, zero, -wx, -wy, wx, zero], dim=-1).view(-1, 3, 3)
    rotation = torch.eye(3, device=v.device, dtype=v.dtype) + first * skew + second * _product(skew, skew)
    return _pose(rotation, v[:, 3:])


@_full_precision
def vector_from_pose(T: Tensor) -> Tensor:
    """Inverse of :func:`pose_from_vector`, B×6; the angle lies in 0 ... pi. By the unit quaternion."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in T[:, :3, :3].unbind(-2))
    outer = torch.stack(
        [
            *(1 + xx + yy + zz, zy - yz, xz - zx, yx - xy),
            *(zy - yz, 1 + xx - yy - zz, yx + xy, xz + zx),
            *(xz - zx, yx + xy, 1 - xx + yy - zz, zy + yz),
            *(yx - xy, xz + zx, zy + yz, 1 - xx - yy + zz),
        ],
        dim=-1,
    ).view(-1, 4, 4)  # four times the outer product of the quaternion (w, x, y, z) with itself
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quaternion = functional.normalize(outer[torch.arange(len(T), device=T.device), largest], dim=-1)
    quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    scalar, axis = quaternion[:, :1], quaternion[:, 1:]
    squared = (axis * axis).sum(-1, keepdim=True)
    small = squared < 1e-8
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    factor = torch.where(small, 2 / scalar.clamp(min=0.5), 2 * torch.atan2(sine, scalar) / sine)
    return torch.cat([axis * factor, T[:, :3, 3]], dim=-1)


@_full_precision
def invert_pose(T: Tensor) -> Tensor:
    """b_from_a of T = a_from_b, B×4×4."""
    rotation = T[:, :3, :3].transpose(1, 2)
    return _pose(rotation, -_product(rotation, T[:, :3, 3:])[..., 0])


def _reproject(depth: Tensor, K: Tensor, T: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Flow B×2×H×W, z_other / z_this B×1×H×W, validity, and K t / z B×3×H×W; in inverse depth, so that infinity is an
    ordinary value.

    The homogeneous pixel p moves by d = K (R - 1) K⁻¹ p + K t / z; flow = (d_xy - p d_z) / (1 + d_z). Working
    with the difference keeps small motions exact.
    """
    x, y = _axes(*depth.shape[-2:], depth.device, depth.dtype)
    known = depth > 0
    inverse_depth = torch.where(known, depth, torch.ones_like(depth)).reciprocal()
    turn = T[:, :3, :3] - torch.eye(3, device=T.device, dtype=T.dtype)
    homography = _product(_product(K, turn), _inverse_intrinsics(K))
    shift = _product(K, T[:, :3, 3:])[..., None] * inverse_depth
    moved = _linear(homography, depth.shape) + shift
    ratio = 1 + moved[:, 2:]
    valid = known & (ratio > MIN_DEPTH_RATIO)
    scale = torch.where(valid, ratio, torch.ones_like(ratio)).reciprocal()
    scale = torch.where(valid, scale, torch.zeros_like(scale))
    flow = torch.cat([moved[:, :1] - x * moved[:, 2:], moved[:, 1:2] - y * moved[:, 2:]], dim=1) * scale
    return flow, ratio, valid, shift


def _axes(height: int, width: int, device: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x as a 1×W row, y as an H×1 column: broadcasting them costs no memory."""
    x = torch.arange(width, device=device, dtype=dtype)
    y = torch.arange(height, device=device, dtype=dtype)
    return x.view(1, width), y.view(height, 1)


def _linear(matrix: Tensor, shape: torch.Size) -> Tensor:
    """matrix B×3×3 times every homogeneous pixel (x, y, 1), B×3×H×W."""
    x, y = _axes(*shape[-2:], matrix.device, matrix.dtype)
    columns = matrix[..., None, None]
    return columns[:, :, 0] * x + (columns[:, :, 1] * y + columns[:, :, 2])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of small batches, element by element."""
    return (left[:, :, :, None] * right[:, None, :, :]).sum(2)


def _focal_and_centre(K: Tensor) -> tuple[Tensor, Tensor]:
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], dim=-1)[..., None, None]
    return focal, K[:, :2, 2, None, None]


def _inverse_intrinsics(K: Tensor) -> Tensor:
    fx, fy, cx, cy = K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([1 / fx, zero, -cx / fx, zero, 1 / fy, -cy / fy, zero, zero, one], dim=-1).view(
        -1, 3, 3
    )


def _inside(pixels: Tensor, height: int, width: int) -> Tensor:
    x, y = pixels[:, :1], pixels[:, 1:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _pose(rotation: Tensor, translation: Tensor) -> Tensor:
    upper = torch.cat([rotation, translation[..., None]], dim=-1)
    last = rotation.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(rotation), 1, 4)
    return torch.cat([upper, last], dim=1)
