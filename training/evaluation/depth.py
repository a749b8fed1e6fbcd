"""Depth on real images with measured depth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import files
from geoseg_ros.training.evaluation.suite import Bench, Score, SuiteResult, folder_camera
from geoseg_ros.training.metrics.depth import DepthScores, depth_scores, mean_depth_scores

INDOOR_MAX_DEPTH = 10.0
ROAD_MAX_DEPTH = 80.0
SEVEN_SCENES_STRIDE = 8
MILLIMETRES = 1000.0
DGP_UNITS = 256.0


def seven_scenes(bench: Bench) -> SuiteResult:
    """7-Scenes redkitchen: every 8th of 400 hand-held indoor frames, Kinect depth up to 10 m at 320×240.

    The predicted 640×480 depth is shrunk to the truth's size by area averaging. Mean of per-image scores.
    """
    folder = bench.data / "7scenes_redkitchen_rgbd"
    paths = bench.limited(files.image_paths(folder / "images")[::SEVEN_SCENES_STRIDE])
    pairs = [(path, folder / "depth" / f"{path.stem}.png", folder / "intrinsics.json") for path in paths]
    return _stills(bench, pairs, MILLIMETRES, INDOOR_MAX_DEPTH, "7scenes")


def depth_dgp(bench: Bench) -> SuiteResult:
    """Nine images from a standing car (TRI DGP), lidar depth up to 80 m. Mean of per-image scores."""
    folder = bench.data / "depth_dgp"
    images = bench.limited(sorted(folder.glob("*.jpg")))
    if not images:
        raise ConfigError(f"the folder {folder} holds no .jpg files")
    pairs = [(path, path.with_name(f"{path.stem}_depth.png"), path.with_suffix(".json")) for path in images]
    return _stills(bench, pairs, DGP_UNITS, ROAD_MAX_DEPTH, "depth_dgp")


def depth_table(
    scaled: list[DepthScores], metric: list[DepthScores], bar: float | None = None
) -> list[Score]:
    """The rows that every depth suite prints."""
    with_scale, without = mean_depth_scores(scaled), mean_depth_scores(metric)
    spread = np.std([scores.scale for scores in scaled]) / with_scale.scale
    return [
        Score("depth AbsRel, median-scaled", with_scale.abs_rel, bar=bar),
        Score("depth AbsRel, metric", without.abs_rel, note=f"scale {with_scale.scale:.2f} ± {spread:.0%}"),
        Score("depth δ < 1.25, median-scaled", with_scale.delta_1, higher=True),
        Score("depth RMSE, metric", without.rmse, "m"),
    ]


def read_depth(path: Path, units_per_metre: float) -> np.ndarray:
    """A 16-bit depth image as H×W float32 metres, 0 where unknown."""
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
        found = "nothing that can be decoded" if depth is None else f"{depth.dtype} {depth.shape}"
        raise ConfigError(f"the depth image {path} is {found}, expected 16 bits in one channel")
    return depth.astype(np.float32) / units_per_metre


def _stills(
    bench: Bench, samples: list[tuple[Path, Path, Path]], units_per_metre: float, max_depth: float, name: str
) -> SuiteResult:
    """Scores over (image, depth, intrinsics) files, each image on its own."""
    scaled, metric = [], []
    for image_path, depth_path, intrinsics in bench.track(samples, len(samples), name):
        image, truth = files.read_image(image_path), read_depth(depth_path, units_per_metre)
        camera = folder_camera(intrinsics, image.shape[1::-1])
        bench.pipeline.reset()
        depth = bench.given(bench.pipeline.step(image, camera, 1, outputs={"depth"}).depth, "depth")
        if depth.shape != truth.shape:
            depth = cv2.resize(depth, truth.shape[::-1], interpolation=cv2.INTER_AREA)
        for collected, median_scaling in ((scaled, True), (metric, False)):
            scores = depth_scores(depth, truth, median_scaling, max_depth=max_depth)
            if scores is not None:
                collected.append(scores)
    return SuiteResult(frames=len(scaled), scores=depth_table(scaled, metric))
