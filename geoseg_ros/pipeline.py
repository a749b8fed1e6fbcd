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
from geoseg_ros.depth_memory import DepthMemory
from geoseg_ros.egomotion import PoseEstimate, refine_pose, twist, unrefined_pose
from geoseg_ros.errors import ConfigError, ImageError
from geoseg_ros.motion import LEARNED, MOTION_METHODS, segment_motion
from geoseg_ros.networks.encoder import STRIDE
from geoseg_ros.networks.perception import HEADS, PerceptionOutput, State
from geoseg_ros.perception import ALL_OUTPUTS, EgoMotion, Perception
from geoseg_ros.projection import rigid_flow
from geoseg_ros.road_plane import RoadPlane, fit_road_plane, road_ids
from geoseg_ros.scale import MetricScale, Scale, check_camera_height
from geoseg_ros.scale_drift import ScaleDrift
from geoseg_ros.stream_settings import StreamSettings

__all__ = ["ALL_OUTPUTS", "EgoMotion", "Perception", "Pipeline", "network_size"]

NANOSECONDS = 1_000_000_000
UNKNOWN_VARIANCE = 1e6
"""Variance, (m/s)² or (rad/s)², that says: do not use this value."""

SKY_FROM = 20.0
"""In the network's lengths: what is called sky and thought nearer is a bright wall."""


def network_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Input size of the network for an image: the same aspect ratio, about ``area`` pixels, multiples of 32."""
    scale = (area / (width * height)) ** 0.5
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (width, height))


class Pipeline:
    """Streaming perception with one model.

    Args:
        model: a bundle, or the path of a model file.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``float32``, ``float16``, ``bfloat16``, or ``auto`` (:mod:`geoseg_ros.backends.precision`).
        backend: a name in :data:`geoseg_ros.backends.BACKENDS`.
        input_area: pixels of the network's input; ``None`` takes the model's own.
        motion_method: one of :data:`geoseg_ros.motion.MOTION_METHODS`.
        camera_height: metres above the road, 0 where unknown; gives metric scale where odometry does not.
        settings: how one frame helps the next, and how ego-motion follows from flow and depth.

    Attribute ``gives``: the outputs of :data:`ALL_OUTPUTS` that the model can give; others stay ``None``.

    Raises:
        BundleError, ConfigError: the model or a setting cannot be used.
    """

    def __init__(
        self,
        model: Bundle | str | Path,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        input_area: int | None = None,
        motion_method: str = LEARNED,
        camera_height: float = 0.0,
        settings: StreamSettings = StreamSettings(),
    ):
        if motion_method not in MOTION_METHODS:
            raise ConfigError(f"motion_method is {motion_method!r}; expected one of {', '.join(MOTION_METHODS)}")
        self.motion_method = motion_method
        self.bundle = model if isinstance(model, Bundle) else load_bundle(model)
        self.labels = self.bundle.labels
        self.device = _resolve_device(device)
        self.input_area = input_area or self.bundle.input_size[0] * self.bundle.input_size[1]
        self.backend = create_backend(backend, self.bundle, self.device, precision)
        self.gives = _outputs_of(self.backend.heads)
        self._pose_from_depth = "flow" in self.backend.heads  # else a network of its own judges how far the camera moved
        self.metric = bool(self.bundle.provenance.get("metric", False))
        self._dynamic = np.isin(np.arange(256), self.labels.dynamic_ids)
        self._sky = np.isin(np.arange(256), self.labels.sky_ids)
        self._road = np.isin(np.arange(256), road_ids(self.labels))
        self._camera_height = self._checked_height(camera_height)
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget the previous frame and the metric scale."""
        self._state: State | None = None
        self._stamp: int | None = None
        self._camera: PinholeCamera | tuple[int, int] | None = None
        self.scale = MetricScale(self.metric, self._camera_height)
        self._drift = ScaleDrift(self._settings.scale_memory, self._settings.road_share)
        self._memory = DepthMemory(self._settings.depth_memory)

    def warm_up(self, width: int, height: int, camera: PinholeCamera | None = None) -> None:
        """Run two blank frames of this size so that the first real one is not slow; without a camera with some other."""
        if camera is None:
            camera = PinholeCamera(width, height, width, width, (width - 1) / 2, (height - 1) / 2)
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
        speed: float | None = None,
    ) -> Perception:
        """Process the next frame of the stream.

        Args:
            image: H×W×3 uint8 RGB as the camera gave it (distorted where the camera is).
            camera: its calibration for this size, or ``None``: then depth, ego-motion and motion stay ``None``.
            stamp: nanoseconds. A stamp that does not advance forgets the previous frame.
            outputs: the outputs wanted, of :data:`ALL_OUTPUTS`; others stay ``None`` and are not computed.
            speed: m/s of the camera since the previous frame, from odometry; gives depth and ego-motion metric scale.

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
        classes = self._fill_semantic(result, raw, size, outputs)
        clock.lap("semantic")
        depth = None if raw.depth is None else raw.depth[0, 0].float().cpu().numpy()
        estimate = None
        if raw.previous_from_current is not None:
            estimate = self._ego_pose(raw, depth, network_camera, classes)
        clock.lap("ego_motion")
        road = self._road_plane(depth, network_camera, classes)
        if depth is not None and self._pose_from_depth:
            still = np.ones(depth.shape, bool) if classes is None else ~self._dynamic[classes]
            steady = self._steady_scale(depth, network_camera, estimate, still, dt, road)
            depth, estimate, road = depth * np.float32(steady), estimate and estimate.scaled(steady), road and road.scaled(steady)
        result.scale = self._metric_scale(estimate, None if speed is None else abs(speed) * dt, road)
        if estimate is not None and "ego_motion" in outputs:
            result.ego_motion = _ego_motion(estimate, dt, result.scale)
        clock.lap("scale")
        shape = image.shape[:2]
        if "depth" in outputs and depth is not None:
            merged = depth
            if self._pose_from_depth:
                pose = None if estimate is None else estimate.previous_from_current
                merged = self._memory.update(depth, network_camera.matrix, pose, still, dt)
            result.depth = _resize(merged * np.float32(result.scale.factor), shape, cv2.INTER_LINEAR)
        else:
            self._memory.forget()
        clock.lap("depth")
        if "flow" in outputs and "flow" in self.gives and (raw.flow is not None or previous is None):
            result.flow = _published_flow(raw.flow, shape)
        clock.lap("flow")
        if "motion" in outputs and estimate is not None:
            self._fill_motion(result, raw, depth, network_camera, estimate, classes)
        clock.lap("motion")
        result.timings = clock.laps
        return result

    def _fill_semantic(
        self, result: Perception, raw: PerceptionOutput, size: tuple[int, int], outputs: Collection[str]
    ) -> np.ndarray | None:
        """Class ids and confidence at the image's size; returns the ids at the network's ``size``, width and height."""
        if raw.logits is None:
            return None
        shape = result.image.shape[:2]
        probability, ids = raw.logits[0].softmax(0).max(0)
        classes = ids.to(torch.uint8).cpu().numpy()
        if "semantic" in outputs:
            result.semantic = _resize(classes, shape, cv2.INTER_NEAREST)
        if "confidence" in outputs:
            result.confidence = _resize(probability.cpu().numpy(), shape, cv2.INTER_LINEAR)
        return _resize(classes, size[::-1], cv2.INTER_NEAREST)

    def _ego_pose(
        self, raw: PerceptionOutput, depth: np.ndarray, camera: PinholeCamera, classes: np.ndarray | None
    ) -> PoseEstimate:
        """The network's pose, refined to explain its flow with its depth, the sky's being infinite, where nothing can move by
        itself. The flow is a mean of what was matched and of what depth and pose then made of it."""
        pose = raw.previous_from_current[0].double().cpu().numpy()
        if raw.flow is None:
            return unrefined_pose(pose)
        weights = None
        if classes is not None:
            depth = np.where(self._sky[classes] & (depth > SKY_FROM), np.float32(np.inf), depth)
            weights = 1.0 - self._dynamic[classes].astype(np.float32)
        corrected, share = _channels_last(raw.flow), np.float32(self._settings.matched_share)
        matched = _resize(_channels_last(raw.flow_levels[0]), corrected.shape[:2], cv2.INTER_LINEAR)
        flow = corrected + share * (matched - corrected)
        return refine_pose(flow, depth, camera.matrix, pose, weights, depth_std=self._settings.depth_std)

    def _steady_scale(
        self,
        depth: np.ndarray,
        camera: PinholeCamera,
        estimate: PoseEstimate | None,
        still: np.ndarray,
        dt: float,
        road: RoadPlane | None,
    ) -> float:
        """What makes this frame's lengths those of the frames before."""
        pose = None if estimate is None else estimate.previous_from_current
        return self._drift.update(depth, camera.matrix, pose, still, dt, road and road.height)

    def _road_plane(
        self, depth: np.ndarray | None, camera: PinholeCamera | None, classes: np.ndarray | None
    ) -> RoadPlane | None:
        """The road below the camera, where depth and classes at the network's size show one."""
        if depth is None or classes is None or not self._road.any():
            return None
        return fit_road_plane(depth, self._road[classes], camera.matrix)

    def _metric_scale(self, estimate: PoseEstimate | None, distance: float | None, road: RoadPlane | None) -> Scale:
        """The stream's scale after this frame: ``distance`` metres driven, the road in the network's lengths."""
        if estimate is not None and distance is not None:
            self.scale.drove(float(np.linalg.norm(estimate.previous_from_current[:3, 3])), distance)
        if road is not None:
            self.scale.saw_road(road)
        return self.scale.current

    def _checked_height(self, height: float) -> float:
        check_camera_height(height)
        if height > 0 and not self._road.any():
            raise ConfigError(
                f"camera_height is {height:g} m, but the model knows no road ({', '.join(self.labels.names)}); expected 0"
            )
        return height

    def _fill_motion(
        self,
        result: Perception,
        raw: PerceptionOutput,
        depth: np.ndarray,
        camera: PinholeCamera,
        estimate: PoseEstimate,
        classes: np.ndarray,
    ) -> None:
        """Probability and mask of own motion at the image's size; none from a network without flow."""
        if raw.flow is None:
            return
        shape = result.image.shape[:2]
        if self.motion_method == LEARNED:
            probability = raw.motion[0, 0].sigmoid().float().cpu().numpy()
            mask = probability > 0.5
        else:
            pose = torch.from_numpy(estimate.previous_from_current).float()[None]
            matrix = torch.from_numpy(camera.matrix).float()[None]
            rigid, _ = rigid_flow(torch.from_numpy(depth)[None, None], matrix, pose)
            rotation = estimate.previous_from_current[:3, :3]
            at_infinity = camera.matrix @ rotation @ np.linalg.inv(camera.matrix)
            probability, mask = segment_motion(
                _channels_last(raw.flow), _channels_last(rigid), self._dynamic[classes], at_infinity, self.motion_method
            )
        result.motion_probability = _resize(probability, shape, cv2.INTER_LINEAR)
        result.motion_mask = _resize(mask.astype(np.uint8) * 255, shape, cv2.INTER_NEAREST)


class _Stopwatch:
    """Seconds by stage."""

    def __init__(self):
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage], self._last = now - self._last, now


def _ego_motion(estimate: PoseEstimate, dt: float, scale: Scale) -> EgoMotion:
    """The estimate as a velocity in metres, its covariance as wide as the scale is uncertain."""
    estimate = estimate.scaled(scale.factor)
    pose = estimate.previous_from_current
    linear, angular = twist(pose, dt)
    covariance = estimate.covariance / dt**2
    if scale.known:
        covariance[:3, :3] += scale.relative_std**2 * np.outer(linear, linear)
    else:
        covariance[:3, :3] = np.eye(3) * UNKNOWN_VARIANCE
    return EgoMotion(pose, dt, linear, angular, covariance, scale.source)


def _heads(outputs: Collection[str]) -> frozenset[str]:
    """The network's heads that the outputs need: depth and flow, which correct each other by parallax, need all."""
    if {"motion", "depth", "flow"} & set(outputs):
        return frozenset(HEADS)
    heads = set()
    if {"semantic", "confidence", "ego_motion"} & set(outputs):
        heads.add("semantic")
    if "ego_motion" in outputs:
        heads |= {"depth", "flow", "pose"}
    return frozenset(heads)


def _outputs_of(heads: Collection[str]) -> frozenset[str]:
    """The outputs that a network with these heads can give."""
    needed = {
        "semantic": {"semantic"},
        "confidence": {"semantic"},
        "depth": {"depth"},
        "flow": {"flow"},
        "ego_motion": {"pose"},
        "motion": {"pose", "flow", "motion"},
    }
    return frozenset(output for output in ALL_OUTPUTS if needed[output] <= set(heads))


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


def _channels_last(flow: Tensor) -> np.ndarray:
    """1×2×h×w to h×w×2 float32."""
    return flow[0].permute(1, 2, 0).float().cpu().numpy()


def _published_flow(flow: Tensor | None, shape: tuple[int, int]) -> np.ndarray:
    """The negative of flow_to_previous at the image's size; NaN where there is no previous frame."""
    if flow is None:
        return np.full((*shape, 2), np.nan, np.float32)
    array = _channels_last(flow)
    scale = np.array([shape[1] / array.shape[1], shape[0] / array.shape[0]], np.float32)
    return _resize(array, shape, cv2.INTER_LINEAR) * -scale


def _to_tensor(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """H×W×3 uint8 to 1×3×h×w float32 in 0…1."""
    shrinking = size[0] * size[1] < image.shape[0] * image.shape[1]
    resized = _resize(image, size[::-1], cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return torch.tensor(resized).permute(2, 0, 1)[None].float() / 255.0


def _resize(array: np.ndarray, shape: tuple[int, int], interpolation: int) -> np.ndarray:
    if array.shape[:2] == tuple(shape):
        return array
    return cv2.resize(array, (shape[1], shape[0]), interpolation=interpolation)
