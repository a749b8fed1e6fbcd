"""Sources of real data: posed image folders, labelled stills, and video clips with known intrinsics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import label_set
from geoseg_ros.training.data import files
from geoseg_ros.training.data.augmentation import AugmentConfig, Sample
from geoseg_ros.training.data.source import IGNORE, PairIndex, SequenceConfig, Source, SourceConfig

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
    """A folder with images/ and labels/ of the same stems, 8-bit ids of the label set ``labels``; ``void``
    ids are ignored."""

    labels: str
    void: tuple[int, ...] = ()


class LabelledFolder(Source):
    """Labelled stills: image, semantic, and the K of a camera that is assumed to look along the image's centre."""

    def __init__(
        self, config: LabelledFolderConfig, augmentation: AugmentConfig, size: tuple[int, int], path: Path
    ) -> None:
        super().__init__(config, augmentation, size)
        classes = len(label_set(config.labels).names)
        ignored = {IGNORE, *config.void}
        table = np.array([IGNORE if i in ignored else i for i in range(256)], np.uint8)
        self._images, self._labels = [], []
        for image_path in files.image_paths(path / "images"):
            image = files.read_image(image_path)
            label_path = path / "labels" / f"{image_path.stem}.png"
            label = table[files.read_label(label_path)]
            if label.shape != image.shape[:2]:
                raise ConfigError(
                    f"{label_path} is {label.shape[::-1]}, its image {image.shape[1::-1]} (width, height)"
                )
            wrong = np.unique(label[(label >= classes) & (label != IGNORE)])
            if len(wrong):
                raise ConfigError(
                    f"{label_path} holds the ids {wrong.tolist()}, expected 0 … {classes - 1} of "
                    f"{config.labels}, {IGNORE}, or ids listed under 'void'"
                )
            self._images.append(image)
            self._labels.append(label)

    def __len__(self) -> int:
        return len(self._images)

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        i = int(rng.integers(len(self._images)))
        image = self._images[i]
        return {"image": image, "semantic": self._labels[i], "K": assumed_intrinsics(*image.shape[1::-1])}


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
