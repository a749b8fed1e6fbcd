"""Sources of real data: posed image folders, labelled stills, and video clips with known intrinsics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import label_set
from geoseg_ros.training.data import files
from geoseg_ros.training.data.augmentation import AugmentConfig, Sample
from geoseg_ros.training.data.label_files import labelled_images, read_labelled, warn_of_absent_classes
from geoseg_ros.training.data.source import PairIndex, SequenceConfig, Source, SourceConfig

if TYPE_CHECKING:
    from geoseg_ros.training.data.depth_guidance import DepthGuide

ASSUMED_FOCAL = 0.9
"""Focal length over image width of cameras that are not known."""


@dataclass(frozen=True)
class PosedFolderConfig(SequenceConfig):
    """A folder with images/, intrinsics.json and poses.txt; ``frames`` = [first, last) of the images in name
    order."""

    frames: tuple[int, int] | None = None


class PosedFolder(Source):
    """Image pairs or triplets with metric poses: image, previous, K, previous_from_current, previous_distance; with
    three frames next, next_from_current, next_distance."""

    def __init__(
        self, config: PosedFolderConfig, augmentation: AugmentConfig, size: tuple[int, int], path: Path
    ) -> None:
        super().__init__(config, augmentation, size)
        paths = files.image_paths(path / "images")
        poses = files.read_poses(path / "poses.txt")
        if len(poses) != len(paths):
            raise ConfigError(f"{path} holds {len(paths)} images and {len(poses)} poses, expected as many")
        chosen = files.slice_frames(config.frames, len(paths), str(path))
        self._images = [files.read_image(image) for image in paths[chosen]]
        self._poses = poses[chosen]
        self._matrix = files.read_intrinsics(
            path / "intrinsics.json", None, files.check_one_size(self._images, str(path))
        )
        self._index = PairIndex([len(self._images)], config.strides, str(path), config.frames_per_sample)

    def __len__(self) -> int:
        return len(self._images)

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        _, current, stride = self._index.draw(rng)
        sample = {"image": self._images[current], "K": self._matrix}
        for name, other in _neighbours(current, stride, self.config.frames_per_sample):
            pose = files.relative_pose(self._poses[other], self._poses[current])
            sample[name] = self._images[other]
            sample[f"{name}_from_current"] = pose
            sample[f"{name}_distance"] = np.linalg.norm(pose[:3, 3])
        return sample


def _neighbours(current: int, stride: int, frames: int) -> list[tuple[str, int]]:
    """(name, frame number) of the frames that go with the current one."""
    return [("previous", current - stride), ("next", current + stride)][: frames - 1]


@dataclass(frozen=True, kw_only=True)
class LabelledFolderConfig(SourceConfig):
    """A folder with images/ and labels/ of the same stems, 8-bit ids of the label set ``labels`` or its colours; ``void``
    ids are ignored."""

    labels: str
    void: tuple[int, ...] = ()


class LabelledFolder(Source):
    """Labelled stills: image, semantic, and the K of a camera that is assumed to look along the image's centre; guidance
    where a task adds it."""

    def __init__(
        self, config: LabelledFolderConfig, augmentation: AugmentConfig, size: tuple[int, int], path: Path
    ) -> None:
        super().__init__(config, augmentation, size)
        labels = label_set(config.labels)
        self._path = path
        self._pairs = labelled_images(path)
        read = [read_labelled(image, label, labels, config.void) for image, label in self._pairs]
        self._images, self._labels = [image for image, _ in read], [ids for _, ids in read]
        self._guidance: list[np.ndarray] | None = None
        warn_of_absent_classes(str(path), self._labels, labels)

    def __len__(self) -> int:
        return len(self._images)

    def label_maps(self) -> list[np.ndarray]:
        return self._labels

    def add_guidance(self, guide: DepthGuide, name: str) -> bool:
        states = [(image.name, stat.st_size, stat.st_mtime_ns) for image, _ in self._pairs for stat in [image.stat()]]
        matrices = [assumed_intrinsics(*image.shape[1::-1]) for image in self._images]
        self._guidance = guide.depths(name, str(self._path), json.dumps(states), self._images, matrices)
        return True

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        i = int(rng.integers(len(self._images)))
        image = self._images[i]
        sample = {"image": image, "semantic": self._labels[i], "K": assumed_intrinsics(*image.shape[1::-1])}
        if self._guidance is not None:
            sample["guidance"] = self._guidance[i].astype(np.float32)
        return sample


def assumed_intrinsics(width: int, height: int) -> np.ndarray:
    """3×3 of a camera of ordinary field of view."""
    focal = ASSUMED_FOCAL * width
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


@dataclass(frozen=True)
class ClipConfig(SequenceConfig):
    """A video file of a rectified camera; ``intrinsics`` is a JSON file beside it (default: same stem),
    ``section`` its part."""

    intrinsics: str | None = None
    section: str | None = None
    frames: tuple[int, int] | None = None


class Clip(Source):
    """Image pairs or triplets without poses: image, previous, K; with three frames next."""

    def __init__(
        self, config: ClipConfig, augmentation: AugmentConfig, size: tuple[int, int], path: Path
    ) -> None:
        super().__init__(config, augmentation, size)
        frames = files.read_clip(path)
        self._images = frames[files.slice_frames(config.frames, len(frames), str(path))]
        intrinsics = path.parent / config.intrinsics if config.intrinsics else path.with_suffix(".json")
        self._matrix = files.read_intrinsics(
            intrinsics, config.section, files.check_one_size(self._images, str(path))
        )
        self._index = PairIndex([len(self._images)], config.strides, str(path), config.frames_per_sample)

    def __len__(self) -> int:
        return len(self._images)

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        _, current, stride = self._index.draw(rng)
        neighbours = _neighbours(current, stride, self.config.frames_per_sample)
        return {
            "image": self._images[current],
            **{name: self._images[other] for name, other in neighbours},
            "K": self._matrix,
        }
