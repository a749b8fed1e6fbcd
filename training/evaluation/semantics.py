"""Semantics on CamVid's validation clip."""

from __future__ import annotations

import numpy as np

from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data import files
from geoseg_ros.training.evaluation.suite import NANOSECONDS, Bench, Score, SuiteResult
from geoseg_ros.training.metrics.semantics import ConfusionMatrix

CAMVID_VOID = 11
CAMVID_FPS = 15
CAMVID_BAR = 0.45


def camvid(bench: Bench) -> SuiteResult:
    """CamVid val: 101 labelled frames at 480×360, one confusion matrix over all labelled pixels.

    No camera is given, so semantics alone run. mIoU is the mean over the classes that occur in the truth. The
    clip lies in a hole of one training drive, which flatters every model.
    """
    bench.require_labels(CAMVID_11.names)
    folder = bench.data / "camvid" / "val"
    paths = bench.limited(files.image_paths(folder / "images"))
    matrix = ConfusionMatrix(len(CAMVID_11.names))
    bench.pipeline.reset()
    for i, path in enumerate(bench.track(paths, len(paths), "camvid")):
        stamp = (i + 1) * NANOSECONDS // CAMVID_FPS
        result = bench.pipeline.step(files.read_image(path), None, stamp, outputs={"semantic"})
        label = files.read_label(folder / "labels" / f"{path.stem}.png")
        semantic = bench.given(result.semantic, "semantics")
        matrix.update(semantic, np.where(label == CAMVID_VOID, np.uint8(matrix.ignore), label))
    return SuiteResult(
        frames=len(paths),
        scores=[
            Score(
                "mIoU", matrix.mean_iou, bar=CAMVID_BAR, higher=True, note=f"{matrix.present.sum()} classes"
            ),
            Score("pixel accuracy", matrix.pixel_accuracy, higher=True),
        ],
        per_class=dict(zip(CAMVID_11.names, map(float, matrix.iou), strict=True)),
    )
