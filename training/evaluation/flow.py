"""Optical flow on real image pairs, beside OpenCV's DIS flow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import files
from geoseg_ros.training.evaluation.suite import Bench, Score, SuiteResult
from geoseg_ros.training.metrics.flow import FlowMetric


def flow_middlebury(bench: Bench) -> SuiteResult:
    """Middlebury RubberWhale and Venus: flow from frame10 to frame11, all pixels pooled over both pairs.

    frame10 is the current image and frame11 the previous one, so that flow_to_previous is the published
    truth. Small motions at a size far from a street camera's; no camera is given. DIS (medium) runs on the
    same pairs in grey.
    """
    model, dis = FlowMetric(), FlowMetric()
    names = bench.limited(["RubberWhale", "Venus"])
    for name in bench.track(names, len(names), "flow_middlebury"):
        folder = bench.data / "flow_middlebury" / name
        current, previous = (files.read_image(folder / f"{frame}.png") for frame in ("frame10", "frame11"))
        truth, valid = read_flow(folder / "flow10.npz")
        bench.pipeline.reset()
        bench.pipeline.step(previous, None, 1, outputs={"flow"})
        flow = bench.given(bench.pipeline.step(current, None, 2, outputs={"flow"}).flow, "flow")
        model.update(flow_to_previous(flow), truth, valid)
        dis.update(dis_flow(current, previous), truth, valid)
    return SuiteResult(frames=len(names), scores=flow_table(model, dis))


def flow_to_previous(published: np.ndarray) -> np.ndarray:
    """The published flow (x_current − x_previous) as flow_to_previous on the same grid."""
    return -published


def flow_table(model: FlowMetric, dis: FlowMetric, share_of_dis: float | None = None) -> list[Score]:
    """The rows that every flow suite prints; the bar is ``share_of_dis`` times DIS's EPE."""
    scores, reference = model.scores(), dis.scores()
    bar = None if share_of_dis is None else share_of_dis * reference.epe
    return [
        Score("flow EPE", scores.epe, "px", bar=bar, note=f"{scores.epe / reference.epe:.2f} of DIS"),
        Score("flow EPE of OpenCV DIS", reference.epe, "px"),
        Score("flow Fl-all", 100 * scores.fl_all, "%", note=f"DIS {100 * reference.fl_all:.1f} %"),
    ]


def dis_flow(current: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """flow_to_previous (H×W×2) of OpenCV's DIS, medium preset, on two RGB images turned grey."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (current, previous)]
    return _dis().calc(*grey, None)


def read_flow(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(flow H×W×2 float32, valid H×W bool) of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            flow, valid = arrays["flow"], arrays["valid"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"the flow {path} cannot be read: {error}") from error
    if flow.ndim != 3 or flow.shape[2] != 2 or valid.shape != flow.shape[:2]:
        raise ConfigError(f"the flow {path} is {flow.shape}, valid {valid.shape}; expected H×W×2 and H×W")
    return flow, valid.astype(bool)


@lru_cache(maxsize=1)
def _dis() -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
