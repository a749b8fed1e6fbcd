"""Depth and ego-motion from image sequences without labels.

Each example is a frame with its previous and, for triplets, its next one. Depth of the frame and poses to the others synthesise
the frame from the others' pixels; how unlike it looks is the loss. One set of switches (:class:`SelfSupervisedLoss`) makes the
published systems, each a recipe: plain L1, Monodepth2, SC-SfMLearner, learned intrinsics (Gordon et al.), velocity-supervised
scale (PackNet-SfM), known poses, semantic exclusion of what may move (SGDepth), SegDepth's boundary loss. What depth, pose and
camera come from is in ``depth_and_pose``, the view synthesis in ``reprojection``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from geoseg_ros.bundle import Bundle
from geoseg_ros.colorize import colorize_depth
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.projection import invert_pose
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.losses.boundary import boundary_loss, boundary_weights
from geoseg_ros.training.losses.depth import scale_drift_loss, scale_invariant_loss, sky_loss
from geoseg_ros.training.losses.pose import velocity_loss
from geoseg_ros.training.losses.smoothness import mean_normalise, multi_scale_smoothness
from geoseg_ros.training.schema import parse
from geoseg_ros.training.tasks import DATA_LICENCE, Batch, register_task
from geoseg_ros.training.tasks.depth_and_pose import CURRENT, SOURCES, Data, Prediction, depth_and_pose
from geoseg_ros.training.tasks.learned_camera import FocalLength, describe_learned_camera, learned_camera
from geoseg_ros.training.tasks.mask_network import MaskNetwork
from geoseg_ros.training.tasks.reprojection import Frame, Rule, full_size_depths, reprojection, synthesise
from geoseg_ros.training.tasks.sizes import check_crops, input_size, network_settings
from geoseg_ros.training.tasks.teacher import Teacher

MASK_NETWORK, CAMERA = "mask_network", "learned_camera"
"""What training adds to the network, and the model file does not hold."""


@dataclass(frozen=True)
class SelfSupervisedLoss:
    """What is learned from images, and the weights of the loss terms (0 switches one off).

    error, combine, automask, only_inside, consistency_mask: see :class:`~.reprojection.Rule`. ``scales``: how many sizes of
    disparity, each at full size when compared (Monodepth2). ``both_directions``: every source is also synthesised from the
    frame. ``poses``: the network's, or those that the data gives. ``hide_intrinsics``: the network's camera is used even where
    the data knows it. ``teacher``: a ``perception`` model file, or ``default``; ``exclude`` leaves out what it calls of a dynamic
    class, or moving by itself; ``scale_drift`` holds the scale of depth to the teacher's, where ``velocity`` does not hold it to
    odometry; ``shape_drift`` holds all else of it, where the photometric error does not object; ``sky`` keeps far what it calls
    sky. ``camera``: of what flow says against a still scene, by which ``perception`` learns one focal length for images of unknown
    or hidden intrinsics; 0: there are none. ``velocity`` grows over its first ``velocity_ramp`` steps.
    """

    error: Literal["ssim_l1", "l1"] = "ssim_l1"
    combine: Literal["minimum", "mean"] = "minimum"
    automask: bool = True
    only_inside: bool = False
    consistency_mask: bool = False
    scales: int = 4
    both_directions: bool = False
    poses: Literal["learned", "given"] = "learned"
    hide_intrinsics: bool = False
    teacher: str | None = None
    exclude: Literal["nothing", "dynamic", "moving"] = "nothing"
    photometric: float = 1.0
    smoothness: float = 1e-3
    geometry: float = 0.0
    velocity: float = 0.0
    velocity_ramp: int = 0
    scale_drift: float = 0.0
    shape_drift: float = 0.0
    sky: float = 0.0
    boundary: float = 0.0
    camera: float = 0.0

    def __post_init__(self) -> None:
        if self.velocity and self.poses == "given":
            raise ConfigError("velocity is a loss on learned poses, but poses is 'given'; expected velocity 0")
        if self.consistency_mask and self.combine == "minimum":
            raise ConfigError("consistency_mask weighs each source on its own; expected combine: mean")
        if self.teacher is None and (self.exclude != "nothing" or self.boundary or self.sky or self.holds_depth):
            raise ConfigError(
                "exclude, boundary, sky, scale_drift and shape_drift need a teacher, a perception model file; teacher is null"
            )
        if self.velocity_ramp < 0:
            raise ConfigError(f"velocity_ramp is {self.velocity_ramp}, expected 0 or more steps")

    @property
    def rule(self) -> Rule:
        """The part that decides how errors become a loss."""
        return Rule(self.error, self.combine, self.automask, self.only_inside, self.consistency_mask)

    @property
    def needs_source_depth(self) -> bool:
        """Whether depth of the sources is compared or learned."""
        return self.both_directions or self.consistency_mask or self.geometry > 0

    @property
    def holds_depth(self) -> bool:
        """Whether depth is compared with the teacher's."""
        return self.scale_drift > 0 or self.shape_drift > 0

    @property
    def metric(self) -> bool:
        """Whether training says what a metre is."""
        return self.poses == "given" or self.velocity > 0 or self.scale_drift > 0


@register_task("self_supervised")
class SelfSupervisedTask:
    """Trains ``monodepth`` (``network.name``, the default) or ``perception`` by view synthesis; see the module's text.

    ``network.input_size`` [width, height] is the size that the model file asks for at run time, by default the crop.
    """

    def __init__(self, recipe: Recipe) -> None:
        check_crops(recipe)
        self.recipe = recipe
        self.loss = parse(SelfSupervisedLoss, recipe.loss, "loss")
        self.architecture = recipe.network.get("name", "monodepth")
        self.input_size = input_size(recipe)
        self.network: nn.Module = create_network(self.architecture, network_settings(recipe))
        self.camera = FocalLength() if self.loss.camera else None
        self.model = depth_and_pose(
            self.network, self.loss.scales, self.loss.poses == "learned", self.loss.hide_intrinsics, self.camera
        )
        if self.camera is not None:
            self.network.add_module(CAMERA, self.camera)
        if self.loss.boundary:
            self.network.add_module(MASK_NETWORK, MaskNetwork())
        self.teacher = None if self.loss.teacher is None else Teacher(self.loss.teacher, recipe.data_root)
        self.autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    def step(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of every source's losses; scalars are named source/term."""
        weights = {**asdict(self.loss), "velocity": self.loss.velocity * self._ramp(step)}
        terms, scalars = [], {}
        for name, data in batch.items():
            prediction, frames, poses = self._predict(name, data)
            for term, value in self._losses(name, data, prediction, frames, poses).items():
                terms.append(weights[term] * value)
                scalars[f"{name}/{term}"] = value.detach()
            if self.loss.hide_intrinsics:
                scalars.update({f"{name}/fx": prediction.intrinsics[:, 0, 0].detach().mean()})
                scalars.update({f"{name}/fy": prediction.intrinsics[:, 1, 1].detach().mean()})
        return torch.stack(terms).sum(), scalars

    def _ramp(self, step: int) -> float:
        return min(1.0, (step + 1) / max(1, self.loss.velocity_ramp))

    def _predict(self, name: str, data: Data) -> tuple[Prediction, dict[str, Frame], dict[str, Tensor]]:
        """What the network says, the frames with full-size depth, and source_from_current of every source."""
        sources = [source for source in SOURCES if source in data]
        if not sources:
            raise ConfigError(f"data.{name}: examples have one frame, expected a source of image sequences")
        predicted = (CURRENT, *sources) if self.loss.needs_source_depth else (CURRENT,)
        prediction = self.model.predict(data, predicted, sources, self.autocast)
        frames = {}
        for frame in (CURRENT, *sources):
            clean = data[f"{frame}_clean"].contiguous()
            depths = full_size_depths(prediction.inverse_depth.get(frame, ()), *clean.shape[-2:])
            frames[frame] = Frame(clean, depths, self._excluded(data, frame, prediction))
        poses = prediction.poses
        if self.loss.poses == "given":
            poses = {source: _given(name, data, f"{source}_from_current") for source in sources}
        return prediction, frames, poses

    def _losses(
        self, name: str, data: Data, prediction: Prediction, frames: dict[str, Frame], poses: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        loss, intrinsics = self.loss, prediction.intrinsics
        sources = list(poses)
        synthesised = [
            reprojection(
                frames[CURRENT], [frames[s] for s in sources], [poses[s] for s in sources], intrinsics, loss.rule
            )
        ]
        if loss.both_directions:
            for s in sources:
                back = invert_pose(poses[s])
                synthesised.append(reprojection(frames[s], [frames[CURRENT]], [back], intrinsics, loss.rule))
        photometric, geometry = (torch.stack(values).mean() for values in zip(*synthesised))
        smooth = [CURRENT, *sources] if loss.both_directions else [CURRENT]
        losses = {
            "photometric": photometric,
            "smoothness": torch.stack(
                [multi_scale_smoothness(prediction.inverse_depth[frame], frames[frame].image) for frame in smooth]
            ).mean(),
        }
        if loss.geometry:
            losses["geometry"] = geometry
        if loss.velocity:
            velocity = [velocity_loss(poses[s], self._distance(name, data, s)) for s in sources]
            losses["velocity"] = torch.stack(velocity).mean()
        if loss.holds_depth:
            losses.update(self._drift(name, data, frames[CURRENT].depths[0], intrinsics.detach()))
        if loss.sky:
            losses["sky"] = self._sky(data, prediction)
        if prediction.camera is not None:
            losses["camera"] = prediction.camera
        if loss.boundary:
            losses["boundary"] = self._boundary(data, prediction)
        return losses

    def _drift(self, name: str, data: Data, depth: Tensor, intrinsics: Tensor) -> dict[str, Tensor]:
        """From the depth that the teacher sees in two frames: of the scale, where no odometry says it, and of the shape, which is
        all that is left."""
        other = next(source for source in SOURCES if source in data)
        with self.autocast():
            reference = self.teacher.depth(data[f"{CURRENT}_clean"], data[f"{other}_clean"], intrinsics)
        unscaled = reference
        if self.loss.velocity:
            told = self._distance(name, data, other).isfinite().view(-1, 1, 1, 1)
            unscaled = torch.where(told, torch.nan, reference)
        return {
            "scale_drift": scale_drift_loss(depth, unscaled, inverse=False),
            "shape_drift": scale_invariant_loss(depth, reference, inverse=False, variance_focus=1.0),
        }

    def _sky(self, data: Data, prediction: Prediction) -> Tensor:
        with self.autocast():
            sky = self.teacher.sky(data[f"{CURRENT}_clean"], prediction.intrinsics.detach())
        return sky_loss(prediction.inverse_depth[CURRENT][0], sky)

    def _boundary(self, data: Data, prediction: Prediction) -> Tensor:
        with self.autocast():
            foreground = self.teacher.dynamic(data[f"{CURRENT}_clean"], prediction.intrinsics.detach())
            disparity = mean_normalise(prediction.inverse_depth[CURRENT][0])
            logits = self.network.get_submodule(MASK_NETWORK)(disparity)
        return boundary_loss(logits, foreground, boundary_weights(foreground))

    def _excluded(self, data: Data, frame: str, prediction: Prediction) -> Tensor | None:
        """What may move in a frame; the teacher's motion is asked of the current frame only."""
        image, intrinsics = data[f"{frame}_clean"], prediction.intrinsics.detach()
        with self.autocast():
            if self.loss.exclude == "dynamic":
                return self.teacher.dynamic(image, intrinsics)
            if self.loss.exclude == "moving" and frame == CURRENT:
                other = next(source for source in SOURCES if source in data)
                return self.teacher.moving(image, data[f"{other}_clean"], intrinsics)
        return None

    def _distance(self, name: str, data: Data, source: str) -> Tensor:
        """Metres driven between the frame and a source, NaN unknown; from given poses where there is no odometry."""
        distance, pose = data.get(f"{source}_distance"), data.get(f"{source}_from_current")
        if distance is not None:
            return distance
        if pose is not None:
            return pose[:, :3, 3].norm(dim=1)
        if self.loss.scale_drift:
            return torch.full((len(data["K"]),), torch.nan, device=data["K"].device)
        raise ConfigError(
            f"data.{name}: examples have no {source}_distance, which the velocity loss needs; bags give it for images "
            "within their nav_msgs/Odometry"
        )

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Per source: the first frame, its depth, and the frame synthesised from its first neighbour."""
        pictures = {}
        for name, data in batch.items():
            first = {key: value[:1] for key, value in data.items()}
            prediction, frames, poses = self._predict(name, first)
            source, pose = next(iter(poses.items()))
            view = synthesise(frames[CURRENT], frames[source], pose, prediction.intrinsics, 0, self.loss.rule)
            depth = frames[CURRENT].depths[0][0, 0].cpu().numpy()
            pictures[name] = np.concatenate([_picture(frames[CURRENT].image), colorize_depth(depth), _picture(view.image)])
        return pictures

    def bundle(self, provenance: dict[str, Any]) -> Bundle:
        """The network's weights with what runs them; a learned camera goes with them."""
        provenance, camera = {**provenance, "metric": self.loss.metric}, None
        found = self.network.pose_network.camera if getattr(self.network.config, "learns_intrinsics", False) else self.camera
        if found is not None:
            camera = learned_camera(found, self.recipe.crop)
            provenance["learned_camera"] = describe_learned_camera(found, self.recipe.crop)
        return Bundle(
            architecture=self.architecture,
            config=asdict(self.network.config),
            labels=CAMVID_11,
            input_size=self.input_size,
            camera=camera,
            provenance=provenance,
            licence=DATA_LICENCE,
            weights={
                name: value.detach().cpu()
                for name, value in self.network.state_dict().items()
                if not name.startswith((f"{MASK_NETWORK}.", f"{CAMERA}."))
            },
        )


def _given(name: str, data: Data, key: str) -> Tensor:
    if key not in data:
        raise ConfigError(
            f"data.{name}: examples have no {key}, but loss.poses is 'given'; bags give it for images within their "
            "nav_msgs/Odometry where /tf_static connects its body with the camera"
        )
    return data[key]


def _picture(image: Tensor) -> np.ndarray:
    return (image[0].permute(1, 2, 0).float().clamp(0, 1).cpu().numpy() * 255).astype(np.uint8)
