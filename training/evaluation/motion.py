"""Motion segmentation on real clips with a labelled moving object."""

from __future__ import annotations

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import files
from geoseg_ros.training.data.folders import ASSUMED_FOCAL
from geoseg_ros.training.evaluation.suite import NANOSECONDS, Bench, Score, SuiteResult
from geoseg_ros.training.metrics.motion import MotionMetric

SEQUENCES = ("car-shadow", "drift-straight", "scooter-black")
FPS = 24


def davis(bench: Bench) -> SuiteResult:
    """DAVIS car-shadow, drift-straight and scooter-black, 854×480, from each clip's second frame on.

    Only the main object is labelled: recall on it is fair, IoU counts other moving things as false. The
    intrinsics are unknown; fx = fy = 0.9 · width and a centred principal point are assumed. Pixels pooled
    over all frames.
    """
    pooled = MotionMetric()
    scores, judged = [], 0
    for name in SEQUENCES:
        metric = MotionMetric()
        folder = bench.data / "davis_moving_objects" / name
        paths = bench.limited(files.image_paths(folder / "images"))
        bench.pipeline.reset()
        for i, path in enumerate(bench.track(paths, len(paths), f"davis {name}")):
            image = files.read_image(path)
            truth = files.read_label(folder / "masks" / f"{path.stem}.png")
            stamp = (i + 1) * NANOSECONDS // FPS
            result = bench.pipeline.step(
                image, assumed_camera(*image.shape[1::-1]), stamp, outputs={"motion"}
            )
            if i > 0:
                mask = bench.given(result.motion_mask, "motion")
                metric.update(mask, truth)
                pooled.update(mask, truth)
                judged += 1
        if judged == 0:
            raise ConfigError("davis needs at least two frames per sequence")
        of_sequence = metric.scores()
        note = f"IoU {of_sequence.moving_iou:.3f}"
        scores.append(Score(f"motion recall, {name}", of_sequence.moving_recall, higher=True, note=note))
    everything = pooled.scores()
    scores.append(Score("motion recall on the object", everything.moving_recall, higher=True))
    scores.append(Score("motion IoU", everything.moving_iou, higher=True, note="other movers count as false"))
    return SuiteResult(frames=judged, scores=scores)


def assumed_camera(width: int, height: int) -> PinholeCamera:
    """A guess at an unknown camera."""
    focal = ASSUMED_FOCAL * width
    return PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
