"""One camera stream through the network: image in, :class:`Perception` out. Owns the previous frame's state; no ROS."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from geoseg_ros.backends import create_backend
from geoseg_ros.bundle import Bundle, load_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.egomotion import refine_pose, twist
from geoseg_ros.errors import ConfigError, ImageError
from geoseg_ros.motion import segment_motion
from geoseg_ros.networks.encoder import STRIDE
from geoseg_ros.networks.perception import PerceptionOutput, State
from geoseg_ros.perception import ALL_OUTPUTS, EgoMotion, Perception
from geoseg_ros.projection import rigid_flow

__all__ = ["ALL_OUTPUTS", "EgoMotion", "Perception", "Pipeline", "network_size"]

NANOSECONDS = 1_000_000_000
UNKNOWN_VARIANCE = 1e6
"""Variance, (m/s)² or (rad/s)², that says: do not use this value."""


def network_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Input size of the network for an image: the same aspect ratio, about ``area`` pixels, multiples of 32."""
    scale = (area / (width * height)) ** 0.5
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (width, height))


class Pipeline:
    """Streaming perception with one model.

    Args:
        model: a bundle, or the path of a model file.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``float32``, ``float16`` or ``bfloat16``.
        backend: a name in :data:`geoseg_ros.backends.BACKENDS`.
        input_area: pixels of the network's input; ``None`` takes the model's own.

    Raises:
        BundleError, ConfigError: the model or a setting cannot be used.
    """

    def __init__(
        self,
        model: Bundle | str | Path,
        device: str = "auto",
        precision: str = "float32",
        backend: str = "auto",
        input_area: int | None = None,
    ):
        self.bundle = model if isinstance(model, Bundle) else load_bundle(model)
        self.labels = self.bundle.labels
        self.device = _resolve_device(device)
        self.input_area = input_area or self.bundle.input_size[0] * self.bundle.input_size[1]
        self.backend = create_backend(backend, self.bundle, self.device, precision)
        self.metric = bool(self.bundle.provenance.get("metric", False))
        self._dynamic = torch.tensor(self.labels.dynamic_ids, dtype=torch.long)
        self.reset()

    def reset(self) -> None:
        """Forget the previous frame."""
        self._state: State | None = None
        self._stamp: int | None = None
        self._camera: PinholeCamera | None = None

    def warm_up(self, width: int, height: int, camera: PinholeCamera | None = None) -> None:
        """Run two blank frames of this size so that the first real one is not slow."""
        blank = np.zeros((height, width, 3), np.uint8)
        for stamp in range(2):
            self.step(blank, camera, stamp)
        self.reset()

    def step(
        self,
        image: np.ndarray,
        camera: PinholeCamera | None,
        stamp: int,
        outputs: Collection[str] = ALL_OUTPUTS,
    ) -> Perception:
        """Process the next frame of the stream.

        Args:
            image: H×W×3 uint8 RGB as the camera gave it (distorted where the camera is).
            camera: its calibration for this size, or ``None``: then depth, ego-motion and motion stay ``None``.
            stamp: nanoseconds. A stamp that does not advance forgets the previous frame.
            outputs: the outputs wanted, of :data:`ALL_OUTPUTS`; others stay ``None`` and are not computed.

        Raises:
            ImageError: the image is not H×W×3 uint8, or its size is not the camera's.
            ConfigError: an unknown output.
        """
        _check(image, camera, outputs)
        clock = _Stopwatch()
        if self._stamp is not None and stamp <= self._stamp:
            self.reset()
        if camera is not None and camera.is_distorted:
            image = cv2.remap(image, *camera.rectification_maps(), cv2.INTER_LINEAR)
            camera = camera.rectified()
        clock.lap("rectify")

        height, width = image.shape[:2]
        size = network_size(width, height, self.input_area)
        network_camera = None if camera is None else camera.resize(*size)
        if (network_camera or size) != self._camera:
            self._state = None
        tensor = _to_tensor(image, size)
        intrinsics = None
        if network_camera is not None:
            intrinsics = torch.from_numpy(network_camera.matrix).float()[None]
        clock.lap("resize")

        previous = self._state
        dt = 0.0 if self._stamp is None else (stamp - self._stamp) / NANOSECONDS
        raw = self.backend.run(tensor, intrinsics, previous, _heads(outputs))
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        self._state, self._stamp, self._camera = raw.state, stamp, network_camera or size
        clock.lap("network")

        result = Perception(stamp=stamp, image=image, camera=camera)
        self._fill(result, raw, outputs, network_camera, dt, clock)
        result.timings = clock.laps
        return result

    def _fill(
        self,
        result: Perception,
        raw: PerceptionOutput,
        outputs: Collection[str],
        network_camera: PinholeCamera | None,
        dt: float,
        clock: _Stopwatch,
    ) -> None:
        """Post-processing: from network outputs at network size to arrays at the image's size."""
        shape = result.image.shape[:2]
        dynamic = None
        if raw.logits is not None:
            probability, ids = raw.logits[0].softmax(0).max(0)
            dynamic = torch.isin(ids.cpu(), self._dynamic).numpy()
            if "semantic" in outputs:
                result.semantic = _resize(ids.to(torch.uint8).cpu().numpy(), shape, cv2.INTER_NEAREST)
            if "confidence" in outputs:
                result.confidence = _resize(probability.float().cpu().numpy(), shape, cv2.INTER_LINEAR)
        clock.lap("semantic")
        if "depth" in outputs and raw.depth is not None:
            result.depth = _resize(raw.depth[0, 0].float().cpu().numpy(), shape, cv2.INTER_LINEAR)
        clock.lap("depth")
        if "flow" in outputs:
            result.flow = self._published_flow(raw.flow, shape)
        clock.lap("flow")
        if raw.previous_from_current is None or dynamic is None:
            return
        flow = raw.flow[0].float().cpu()
        depth = raw.depth.float().cpu()
        estimate = refine_pose(
            flow.permute(1, 2, 0).numpy(),
            depth[0, 0].numpy(),
            network_camera.matrix,
            raw.previous_from_current[0].double().cpu().numpy(),
            weights=1.0 - dynamic.astype(np.float32),
        )
        if "ego_motion" in outputs:
            result.ego_motion = self._ego_motion(estimate, dt)
        clock.lap("ego_motion")
        if "motion" in outputs:
            pose = torch.from_numpy(estimate.previous_from_current).float()[None]
            rigid, _ = rigid_flow(depth, torch.from_numpy(network_camera.matrix).float()[None], pose)
            probability, mask = segment_motion(
                flow.permute(1, 2, 0).numpy(), rigid[0].permute(1, 2, 0).numpy(), dynamic
            )
            result.motion_probability = _resize(probability.astype(np.float32), shape, cv2.INTER_LINEAR)
            result.motion_mask = _resize(mask.astype(np.uint8) * 255, shape, cv2.INTER_NEAREST)
        clock.lap("motion")

    def _published_flow(self, flow: Tensor | None, shape: tuple[int, int]) -> np.ndarray:
        """The negative of flow_to_previous at the image's size; NaN where there is no previous frame."""
        if flow is None:
            return np.full((*shape, 2), np.nan, np.float32)
        array = flow[0].permute(1, 2, 0).float().cpu().numpy()
        scale = np.array([shape[1] / array.shape[1], shape[0] / array.shape[0]], np.float32)
        return _resize(array, shape, cv2.INTER_LINEAR) * -scale

    def _ego_motion(self, estimate, dt: float) -> EgoMotion:
        linear, angular = twist(estimate.previous_from_current, dt)
        covariance = estimate.covariance / dt**2
        if not self.metric:
            covariance[:3, :3] = np.eye(3) * UNKNOWN_VARIANCE
        source = "model" if self.metric else "none"
        return EgoMotion(estimate.previous_from_current, dt, linear, angular, covariance, source)


class _Stopwatch:
    """Seconds by stage."""

    def __init__(self):
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage], self._last = now - self._last, now


def _heads(outputs: Collection[str]) -> frozenset[str]:
    heads = set()
    if {"semantic", "confidence", "motion", "ego_motion"} & set(outputs):
        heads.add("semantic")
    heads |= {"depth", "flow"} & set(outputs)
    if {"motion", "ego_motion"} & set(outputs):
        heads |= {"depth", "flow", "pose"}
    return frozenset(heads)


def _resolve_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but torch finds no CUDA device here; expected cpu or auto")
    return device


def _check(image: np.ndarray, camera: PinholeCamera | None, outputs: Collection[str]) -> None:
    unknown = set(outputs) - ALL_OUTPUTS
    if unknown:
        raise ConfigError(f"outputs has {sorted(unknown)}; expected some of {sorted(ALL_OUTPUTS)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ImageError(f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (height, width, 3)")
    if camera is not None and (camera.height, camera.width) != image.shape[:2]:
        raise ImageError(
            f"image is {image.shape[1]}×{image.shape[0]} but its camera is {camera.width}×{camera.height}; "
            "expected the same size"
        )


def _to_tensor(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """H×W×3 uint8 to 1×3×h×w float32 in 0…1."""
    shrinking = size[0] * size[1] < image.shape[0] * image.shape[1]
    resized = _resize(image, size[::-1], cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return torch.tensor(resized).permute(2, 0, 1)[None].float() / 255.0


def _resize(array: np.ndarray, shape: tuple[int, int], interpolation: int) -> np.ndarray:
    if array.shape[:2] == tuple(shape):
        return array
    return cv2.resize(array, (shape[1], shape[0]), interpolation=interpolation)
