"""The source of recorded bags: pairs or triplets of a robot's own camera, chosen by how far it moved."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg_ros.bags import SUFFIXES, is_bag
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.ground_truth import TRUTH
from geoseg_ros.labels import label_set
from geoseg_ros.training.data import files
from geoseg_ros.training.data.augmentation import AugmentConfig, Sample
from geoseg_ros.training.data.bag_images import BagSettings
from geoseg_ros.training.data.cache_folder import default_folder
from geoseg_ros.training.data.cache_room import LIMIT_GB
from geoseg_ros.training.data.cached_bag import CachedBag
from geoseg_ros.training.data.frame_cache import open_cache
from geoseg_ros.training.data.label_files import checked_ids, warn_of_absent_classes
from geoseg_ros.training.data.source import Source, SourceConfig, data_roots, missing_data
from geoseg_ros.training.data.triplets import BaselineConfig, Examples, select_examples

if TYPE_CHECKING:
    from geoseg_ros.training.data.depth_guidance import DepthGuide

_SMALLEST_SIDE = 16


@dataclass(frozen=True)
class BagConfig(SourceConfig):
    """One or many bags: ``path`` is a bag, a glob, or a list of them.

    ``weights``: one per entry of ``path``; an example of a bag is drawn in proportion to its entry's weight. Topics
    are found where they are not named. ``use_camera_info: false`` treats bags as uncalibrated. ``size`` [width,
    height] of the cached images; without it each bag's images keep their shape and just cover the recipe's crop at
    the largest scale of its augmentation. ``frames`` [first, last) of every bag's images. ``max_rate``: images per
    second at most. Poses are unknown inside gaps of the odometry of more than ``odometry_gap`` seconds. ``cache`` is
    the folder of the frame cache (default $GEOSEG_CACHE, else the user's), ``cache_gb`` what that folder may hold in all.

    With ``labels``, a label set, the source gives labelled stills in place of pairs: the images with ids of equal stamp on
    ``label_topic`` (default: the one that ends in gt/semantic/image); ``void`` ids are ignored.
    """

    path: Any
    weights: tuple[float, ...] = ()
    image_topic: str | None = None
    camera_info_topic: str | None = None
    odometry_topic: str | None = None
    use_camera_info: bool = True
    size: tuple[int, int] | None = None
    frames: tuple[int, int] | None = None
    three_frames: bool = False
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    max_rate: float | None = None
    odometry_gap: float = 0.5
    cache: str | None = None
    cache_gb: float = LIMIT_GB
    labels: str | None = None
    label_topic: str | None = None
    void: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        entries = [self.path] if isinstance(self.path, str) else self.path
        if not isinstance(entries, (list, tuple)) or not entries or not all(isinstance(e, str) and e for e in entries):
            raise ConfigError(f"path is {self.path!r}, expected a bag, a glob, or a list of them")
        object.__setattr__(self, "path", tuple(entries))
        if self.weights and len(self.weights) != len(self.path):
            raise ConfigError(
                f"weights has {len(self.weights)} entries, expected one per entry of path ({len(self.path)})"
            )
        if any(weight <= 0 for weight in self.weights):
            raise ConfigError(f"weights is {list(self.weights)}, expected numbers above 0")
        if self.size is not None and min(self.size) < _SMALLEST_SIDE:
            raise ConfigError(
                f"size is {list(self.size)}, expected [width, height] of at least {_SMALLEST_SIDE} pixels"
            )
        if self.labels is None and (self.label_topic is not None or self.void):
            raise ConfigError("label_topic or void is given without labels, expected labels: the label set of the ids")
        for name in ("max_rate", "odometry_gap", "cache_gb"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}, expected more than 0")

    def locate(self, data_root: str) -> list[tuple[Path, float]]:
        """Every bag with its weight, in name order within an entry of ``path``."""
        found: dict[Path, float] = {}
        for entry, weight in zip(self.path, self.weights or (1.0,) * len(self.path)):
            for bag in find_bags(entry, data_root):
                if bag in found:
                    raise ConfigError(f"the bag {bag} is named twice by path {list(self.path)}, expected once")
                found[bag] = weight
        return list(found.items())


def find_bags(entry: str, data_root: str) -> list[Path]:
    """The bags (folders or storage files) that a path or glob names, in the first root of
    :func:`~geoseg_ros.training.data.source.data_roots` that has any."""
    for root in data_roots(data_root):
        path = root / entry
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        bags = [match.resolve() for match in matches if is_bag(match) or match.suffix in SUFFIXES]
        if bags:
            return bags
        if matches:
            raise ConfigError(
                f"'{entry}' names {matches[0]}{' and others' if matches[1:] else ''}, expected bags (folders with "
                f"metadata.yaml, or {' or '.join(SUFFIXES)} files)"
            )
    raise missing_data(entry, data_root)


class Bag(Source):
    """Pairs or triplets of frames between which the camera moved: image, previous (and next), K, intrinsics_known.

    Where a bag of the source has odometry there are previous_distance and next_distance too, and where its
    ``/tf_static`` says how the camera is mounted, previous_from_current and next_from_current; NaN for bags without.

    Or labelled stills: image, semantic, K, intrinsics_known; guidance where a task adds it.
    """

    def __init__(
        self,
        config: BagConfig,
        augmentation: AugmentConfig,
        size: tuple[int, int],
        bags: list[tuple[Path, float]],
    ) -> None:
        super().__init__(config, augmentation, size)
        paths = [path for path, _ in bags]
        folder = Path(config.cache) if config.cache else default_folder()
        self._bags = open_cache(paths, _settings(config, augmentation, size), folder, config.cache_gb)
        self._labels = [self._checked_labels(bag, path) for bag, path in zip(self._bags, paths)] if config.labels else None
        self._guidance: list[list[np.ndarray]] | None = None
        self._paths = paths
        self._examples = [self._select(bag, path) for bag, path in zip(self._bags, paths)]
        shares = np.array([weight * len(part) for (_, weight), part in zip(bags, self._examples)])
        self._shares = shares / shares.sum()
        self._knows_distance = any(np.isfinite(bag.poses[:, :3, 3]).any() for bag in self._bags)
        self._knows_pose = any(bag.poses_of_camera and np.isfinite(bag.poses).any() for bag in self._bags)

    def _select(self, bag: CachedBag, path: Path) -> Examples:
        frames = files.slice_frames(self.config.frames, len(bag), str(path))
        if self._labels is not None:
            return Examples(np.arange(len(bag))[frames], None, None, still=0, far=0, gaps=0)
        return select_examples(bag, frames, self.config.baseline, self.config.three_frames, str(path))

    def _checked_labels(self, bag: CachedBag, path: Path) -> np.ndarray:
        if not len(bag):
            topic = self.config.label_topic or TRUTH["semantic"]
            raise BagError(f"{path}: no image has labels of equal stamp on {topic}, expected some")
        labels = label_set(self.config.labels)
        images = zip(bag.labels, bag.stamps, strict=True)
        where = f"{path}: the label image at"
        ids = [checked_ids(image, f"{where} {stamp / 1e9:.3f} s", labels, self.config.void) for image, stamp in images]
        warn_of_absent_classes(str(path), ids, labels)
        return np.stack(ids)

    def __len__(self) -> int:
        return sum(map(len, self._examples))

    def label_maps(self) -> Iterable[np.ndarray]:
        for ids, part in zip(self._labels or (), self._examples):
            yield from (ids[i] for i in part.current)

    def add_guidance(self, guide: DepthGuide, name: str) -> bool:
        if self._labels is None:
            return False
        self._guidance = [
            guide.depths(path.name, str(path), bag.signature, bag.images, bag.matrices)
            for path, bag in zip(self._paths, self._bags)
        ]
        return True

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        chosen = int(rng.choice(len(self._bags), p=self._shares))
        bag, examples = self._bags[chosen], self._examples[chosen]
        i = int(rng.integers(len(examples)))
        current = int(examples.current[i])
        sample = {
            "image": np.asarray(bag.images[current]),
            "K": bag.matrices[current],
            "intrinsics_known": bag.intrinsics_known[current],
        }
        if self._labels is not None:
            sample["semantic"] = self._labels[chosen][current]
        if self._guidance is not None:
            sample["guidance"] = self._guidance[chosen][current].astype(np.float32)
        for name, numbers in (("previous", examples.previous), ("next", examples.following)):
            if numbers is not None:
                other = int(numbers[i])
                sample[name] = np.asarray(bag.images[other])
                sample |= self._motion(name, bag, current, other)
        return sample

    def _motion(self, name: str, bag: CachedBag, current: int, other: int) -> Sample:
        motion: Sample = {}
        if self._knows_distance:
            motion[f"{name}_distance"] = np.linalg.norm(bag.poses[other, :3, 3] - bag.poses[current, :3, 3])
        if self._knows_pose:
            known = bag.poses_of_camera and np.isfinite(bag.poses[[current, other]]).all()
            pose = files.relative_pose(bag.poses[other], bag.poses[current]) if known else np.full((4, 4), np.nan)
            motion[f"{name}_from_current"] = pose
        return motion

    def summary(self) -> str:
        """Examples, what they come from, and why they are not more."""
        bags = self.describe()["bags"]
        names = ("images", "calibrated", "with_odometry", "still", "far", "gaps")
        images, calibrated, placed, still, far, gaps = (sum(bag[name] for bag in bags) for name in names)
        return (
            f"{len(self)} examples from {images} images ({calibrated} calibrated, {placed} with odometry) of {len(bags)} "
            f"bag{'s'[len(bags) == 1 :]}; left out {still} that move too little or end a run, {far} that move too far; "
            f"gaps: {gaps}"
        )

    def describe(self) -> dict[str, Any]:
        """What the bundle's provenance says, each bag's counts included."""
        bags = [
            {
                "name": name,
                "images": len(bag),
                "skipped": bag.skipped,
                "calibrated": int(bag.intrinsics_known.sum()),
                "with_odometry": int(np.isfinite(bag.poses[:, 0, 3]).sum()),
                "examples": len(part),
                "still": part.still,
                "far": part.far,
                "gaps": part.gaps,
            }
            for name, bag, part in zip([path.name for path in self._paths], self._bags, self._examples)
        ]
        return {**super().describe(), "bags": bags}


def _settings(config: BagConfig, augmentation: AugmentConfig, size: tuple[int, int]) -> BagSettings:
    scale = augmentation.scale[1]
    return BagSettings(
        size=config.size,
        cover=(1, 1) if config.size else (round(size[0] * scale), round(size[1] * scale)),
        image_topic=config.image_topic,
        camera_info_topic=config.camera_info_topic,
        odometry_topic=config.odometry_topic,
        use_camera_info=config.use_camera_info,
        max_rate=config.max_rate,
        odometry_gap=config.odometry_gap,
        labelled=config.labels is not None,
        label_topic=config.label_topic,
    )
