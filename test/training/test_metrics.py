"""Metrics on hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoseg_ros.training.metrics.boundary import BoundaryMetric, boundary_pixels
from geoseg_ros.training.metrics.calibration import CalibrationMetric
from geoseg_ros.training.metrics.depth import DepthScores, depth_scores, eigen_crop, mean_depth_scores
from geoseg_ros.training.metrics.egomotion import (
    EgoMotionMetric,
    EgoMotionScores,
    aligning_scale,
    chain,
    rotation_angle,
    steps_of,
)
from geoseg_ros.training.metrics.errors import MetricError
from geoseg_ros.training.metrics.flow import FlowMetric
from geoseg_ros.training.metrics.motion import MotionMetric
from geoseg_ros.training.metrics.semantics import ConfusionMatrix


def ego_motion_scores(prediction: list[np.ndarray], target: list[np.ndarray]) -> EgoMotionScores:
    metric = EgoMotionMetric()
    metric.update(prediction, target)
    return metric.scores()


def step(forward: float = 1.0, yaw: float = 0.0, side: float = 0.0) -> np.ndarray:
    """previous_from_current of a camera (x right, z forward) that moves, then turns right by ``yaw``
    radians."""
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(yaw)
    pose[0, 2], pose[2, 0] = math.sin(yaw), -math.sin(yaw)
    pose[:3, 3] = (side, 0.0, forward)
    return pose


def test_depth_scores_by_hand():
    target = np.array([[2.0, 4.0, 10.0, np.nan, np.inf, 0.0, 100.0]])
    predicted = np.array([[3.0, 4.0, 5.0, 1.0, 1.0, 1.0, 1.0]])
    scores = depth_scores(predicted, target, median_scaling=False)
    assert scores.abs_rel == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert scores.sq_rel == pytest.approx((0.5 + 0 + 2.5) / 3)
    assert scores.rmse == pytest.approx(math.sqrt((1 + 0 + 25) / 3))
    assert scores.rmse_log == pytest.approx(math.sqrt((math.log(1.5) ** 2 + math.log(2) ** 2) / 3))
    assert (scores.delta_1, scores.delta_2, scores.delta_3) == (1 / 3, 2 / 3, 2 / 3)
    assert scores.scale == 1.0


def test_median_scaling_finds_the_scale_and_metric_does_not():
    target = np.array([[1.0, 2.0, 6.0]])
    scaled = depth_scores(target / 4, target, median_scaling=True)
    assert scaled.abs_rel == pytest.approx(0.0)
    assert scaled.scale == pytest.approx(4.0)
    assert depth_scores(target / 4, target, median_scaling=False).abs_rel == pytest.approx(0.75)


def test_unknown_predictions_count_as_farthest_and_predictions_are_clamped():
    target = np.array([[10.0, 10.0, 10.0]])
    predicted = np.array([[np.nan, np.inf, 500.0]])
    assert depth_scores(predicted, target, median_scaling=False).abs_rel == pytest.approx(7.0)
    assert depth_scores(predicted, target, median_scaling=False, max_depth=20.0).abs_rel == pytest.approx(1.0)


def test_eigen_crop_and_empty_images():
    crop = eigen_crop(375, 1242)
    rows, columns = np.nonzero(crop)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (153, 371, 44, 1197)
    target = np.where(crop, np.nan, 5.0)
    assert depth_scores(target, target, False, crop=crop) is None
    with pytest.raises(MetricError, match="no image"):
        mean_depth_scores([])
    with pytest.raises(MetricError, match=r"\(1, 2\), target \(2, 1\)"):
        depth_scores(np.ones((1, 2)), np.ones((2, 1)), False)


def test_mean_depth_scores_averages_images():
    near = depth_scores(np.array([[2.0]]), np.array([[1.0]]), False)
    far = depth_scores(np.array([[3.0, 3.0, 3.0]]), np.array([[3.0, 3.0, 3.0]]), False)
    mean = mean_depth_scores([near, far])
    assert isinstance(mean, DepthScores)
    assert mean.abs_rel == pytest.approx(0.5)
    assert mean.delta_1 == pytest.approx(0.5)


def test_confusion_matrix_by_hand():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([[0, 0, 1], [1, 2, 3]]), np.array([[0, 1, 1], [1, 255, 0]]))
    # Class 0: 1 right of 2, one stray. Class 1: 2 right of 3. Classes 2 and 3 are not in the truth.
    np.testing.assert_allclose(matrix.iou, [1 / 3, 2 / 3, np.nan, np.nan])
    assert matrix.mean_iou == pytest.approx(0.5)
    assert matrix.pixel_accuracy == pytest.approx(3 / 5)
    assert matrix.mean_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert matrix.frequency_weighted_iou == pytest.approx((2 * 1 / 3 + 3 * 2 / 3) / 5)
    other = ConfusionMatrix(4)
    other.update(np.array([2]), np.array([2]))
    matrix.merge(other)
    assert matrix.counts.sum() == 6
    assert matrix.iou[2] == 1.0


def test_confusion_matrix_refuses_what_it_cannot_count():
    matrix = ConfusionMatrix(3)
    with pytest.raises(MetricError, match="prediction holds class 5, expected 0..2"):
        matrix.update(np.array([5]), np.array([0]))
    with pytest.raises(MetricError, match="target holds class 3"):
        matrix.update(np.array([0]), np.array([3]))
    with pytest.raises(MetricError, match="same size"):
        matrix.update(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(MetricError, match="cannot merge 2"):
        matrix.merge(ConfusionMatrix(2))
    matrix.update(np.array([255]), np.array([255]))
    assert math.isnan(matrix.mean_iou)


def test_flow_metric_needs_both_outlier_conditions_and_pools_pixels():
    metric = FlowMetric()
    target = np.array([[[100.0, 0.0], [10.0, 0.0], [0.0, 0.0], [np.nan, 0.0]]])
    predicted = np.array([[[104.0, 0.0], [14.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    metric.update(predicted, target)  # 4 px is 4 % of 100 but 40 % of 10; 2 px is less than 3
    metric.update(
        np.full((1, 1, 2), np.nan), np.full((1, 1, 2), 3.0)
    )  # unknown prediction: zero flow, √18 px off
    scores = metric.scores()
    assert scores.epe == pytest.approx((4 + 4 + 2 + math.sqrt(18)) / 4)
    assert scores.fl_all == pytest.approx(2 / 4)
    assert scores.epe_per_image == pytest.approx((10 / 3 + math.sqrt(18)) / 2)
    assert scores.fl_all_per_image == pytest.approx((1 / 3 + 1) / 2)
    assert (scores.pixels, scores.images) == (4, 2)
    metric.update(predicted, target, np.zeros((1, 4), dtype=bool))
    assert metric.scores() == scores
    with pytest.raises(MetricError, match="no image"):
        FlowMetric().scores()


def test_motion_metric_per_image_and_pooled():
    metric = MotionMetric()
    # Image 1: truth 2 moving of 4; one found, one stray.
    metric.update(np.array([[255, 255, 0, 0]]), np.array([[255, 0, 255, 0]]))
    # Image 2: nothing moves, nothing predicted.
    metric.update(np.zeros((1, 4)), np.zeros((1, 4)))
    scores = metric.scores()
    assert scores.pixel_accuracy == pytest.approx((0.5 + 1) / 2)
    assert scores.mean_accuracy == pytest.approx((0.5 + 1) / 2)
    assert scores.mean_iou == pytest.approx((1 / 3 + 1) / 2)
    assert scores.frequency_weighted_iou == pytest.approx((1 / 3 + 1) / 2)
    assert scores.moving_iou == pytest.approx(1 / 3)
    assert scores.moving_recall == pytest.approx(1 / 2)
    metric.update(np.ones((1, 4)), np.zeros((1, 4)), valid=np.zeros((1, 4), dtype=bool))
    assert metric.scores() == scores


def test_chain_undoes_steps_of():
    poses = chain([step(1.0, 0.1), step(2.0, -0.2), step(0.5)])
    np.testing.assert_allclose(chain(steps_of(poses)), poses, atol=1e-12)


def test_rotation_angle_and_scale():
    assert rotation_angle(np.eye(3), step(0, 0.25)[:3, :3]) == pytest.approx(math.degrees(0.25))
    assert aligning_scale(np.array([[0, 0, 2.0]]), np.array([[1.0, 0, 6.0]])) == pytest.approx(3.0)
    assert aligning_scale(np.zeros((2, 3)), np.ones((2, 3))) == 1.0
    assert aligning_scale(-np.ones((2, 3)), np.ones((2, 3))) == 0.0, "driving backwards is not a scale"


def test_ego_motion_is_perfect_up_to_scale():
    target = [step(1.0, 0.05 * i) for i in range(8)]
    predicted = [pose.copy() for pose in target]
    for pose in predicted:
        pose[:3, 3] *= 0.5
    scores = ego_motion_scores(predicted, target)
    assert scores.ate == pytest.approx(0.0, abs=1e-9)
    assert scores.translation == pytest.approx(0.0, abs=1e-9)
    assert scores.step_translation == pytest.approx(0.0, abs=1e-9)
    assert scores.rotation == pytest.approx(0.0, abs=1e-9)
    assert scores.scale == pytest.approx(2.0)
    assert 40 < scores.translation_metric < 50  # half of the chord, which is shorter than the path
    assert (scores.snippets, scores.skipped) == (5, 0)


def test_ego_motion_errors_by_hand():
    target = [step(1.0)] * 4
    # Sideways by 0.1 per step: positions (0.1 i, 0, i); s = Σi²/(1.01 Σi²).
    sideways = [step(1.0, side=0.1)] * 4
    scores = ego_motion_scores(sideways, target)
    s = 1 / 1.01
    per_metre = math.hypot(0.1 * s, s - 1)
    assert scores.translation == pytest.approx(100 * per_metre)
    assert scores.step_translation == pytest.approx(100 * per_metre)
    assert scores.translation_metric == pytest.approx(10.0)
    assert scores.ate == pytest.approx(per_metre * math.sqrt((0 + 1 + 4 + 9 + 16) / 5))
    turning = [step(1.0)] * 3 + [step(1.0, yaw=math.radians(2.0))]
    assert ego_motion_scores(turning, target).rotation == pytest.approx(2.0 / 4)


def test_uneven_steps_cancel_at_the_end_but_not_step_by_step():
    target = [step(1.0)] * 4
    scores = ego_motion_scores([step(1.5), step(0.5), step(0.5), step(1.5)], target)
    assert scores.translation < 8
    assert scores.step_translation == pytest.approx(50, abs=5)


def test_ego_motion_skips_standing_and_refuses_nonsense():
    drive = [step(0.0)] * 4 + [step(1.0)] * 4
    scores = ego_motion_scores(drive, drive)
    assert (scores.snippets, scores.skipped) == (4, 1)
    with pytest.raises(MetricError, match="no snippet of 5 frames moves 0.5 m; 1 stood still"):
        ego_motion_scores([step(0.0)] * 4, [step(0.0)] * 4)
    with pytest.raises(MetricError, match="no snippet"):
        ego_motion_scores([step()] * 3, [step()] * 3)
    with pytest.raises(MetricError, match="got 3 predicted and 4 true steps"):
        ego_motion_scores([step()] * 3, [step()] * 4)


def test_drives_are_pooled_by_snippet():
    metric = EgoMotionMetric()
    metric.update([step(1.0, side=0.1)] * 5, [step(1.0)] * 5)
    metric.update([step(1.0)] * 4, [step(1.0)] * 4)
    s = 1 / 1.01
    assert metric.scores().translation == pytest.approx(100 * math.hypot(0.1 * s, s - 1) * 2 / 3)
    assert metric.scores().snippets == 3


def test_a_prediction_of_none_of_the_classes_is_wrong_and_no_ones_stray():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 255, 1, 255]), np.array([0, 0, 1, 255]))
    np.testing.assert_allclose(matrix.iou, [1 / 2, 1.0])
    assert matrix.pixel_accuracy == pytest.approx(2 / 3)
    np.testing.assert_allclose(matrix.accuracy, [1 / 2, 1.0])


def test_gathered_classes_forgive_confusion_inside_a_group():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 1, 2, 2, 3, 255]), np.array([1, 1, 1, 2, 2, 3]))
    groups = matrix.gathered([[0, 1], [2, 3]])
    # Group 0: two right, one taken for group 1. Group 1: two right, one stray, one none of the classes.
    np.testing.assert_allclose(groups.iou, [2 / 3, 2 / 4])
    assert groups.pixel_accuracy == pytest.approx(4 / 6)
    with pytest.raises(MetricError, match=r"groups are \[\[0, 1\], \[1, 2\]\], expected each of 4 classes once"):
        matrix.gathered([[0, 1], [1, 2]])


def columns(*ids, height=5):
    """A label map whose columns have these ids."""
    return np.tile(np.array(ids, np.uint8), (height, 1))


def test_boundary_pixels_touch_another_known_class():
    labels = np.array([[0, 0, 1], [0, 255, 1], [2, 255, 255]], np.uint8)
    expected = [[False, True, True], [True, False, False], [True, False, False]]
    np.testing.assert_array_equal(boundary_pixels(labels), expected)
    assert not boundary_pixels(columns(3, 3, 3)).any()


@pytest.mark.parametrize(("tolerance", "expected"), [(0, 0.0), (1, 0.0), (2, 1.0)])
def test_a_shifted_border_counts_within_the_tolerance(tolerance, expected):
    metric = BoundaryMetric(2, tolerance)
    metric.update(columns(0, 0, 0, 0, 1, 1), columns(0, 0, 1, 1, 1, 1))  # shifted by two pixels
    np.testing.assert_allclose(metric.per_class, expected)
    assert metric.mean == expected


def test_boundary_precision_and_recall_by_hand():
    metric = BoundaryMetric(3, 0)
    truth, found = columns(0, 0, 1, 1, 1, 1), columns(0, 0, 1, 2, 1, 1)
    metric.update(found, truth)
    # Class 0: its border is found. Class 1: the true border, column 2, is found; columns 2 and 4 are predicted.
    # Class 2 has a border in the prediction alone: it is in no truth.
    np.testing.assert_allclose(metric.per_class, [1.0, 2 * 0.5 * 1 / 1.5, np.nan])
    metric.update(columns(0, 0, 0, 0, 0, 0), truth)  # nothing found
    np.testing.assert_allclose(metric.per_class, [0.5, 1 / 3, np.nan])
    metric.update(columns(1, 1, 1, 1, 1, 1), columns(1, 1, 1, 1, 1, 1))  # no border in either
    assert metric.mean == pytest.approx((0.5 + 1 / 3) / 2)


def test_what_is_not_known_makes_no_boundary():
    metric = BoundaryMetric(2, 0)
    truth = columns(0, 255, 255, 1)
    metric.update(columns(0, 0, 1, 1), truth)
    assert math.isnan(metric.mean)
    with pytest.raises(MetricError, match="same size"):
        metric.update(columns(0), truth)
    with pytest.raises(MetricError, match="tolerance is -1"):
        BoundaryMetric(2, -1)


def test_calibration_error_by_hand():
    metric = CalibrationMetric()
    confidence = np.array([0.61, 0.63, 0.97, 0.99])  # bins (0.6, 0.667] and (0.933, 1]
    metric.update(confidence, np.array([True, False, True, True]))
    assert metric.error == pytest.approx((2 * abs(0.5 - 0.62) + 2 * abs(1 - 0.98)) / 4)
    mean, accuracy = metric.reliability()
    np.testing.assert_allclose(mean, [0.62, 0.98])
    np.testing.assert_allclose(accuracy, [0.5, 1.0])
    assert metric.pixels.sum() == 4 and len(metric.pixels) == 15


def test_calibration_bins_are_open_below_and_closed_above():
    metric = CalibrationMetric(bins=2)
    metric.update(np.array([0.0, 0.5, 0.500001, 1.0]), np.ones(4, bool))
    assert metric.pixels.tolist() == [2, 2]
    with pytest.raises(MetricError, match="confidence holds 1.5, expected 0 … 1"):
        metric.update(np.array([1.5]), np.ones(1, bool))
    with pytest.raises(MetricError, match="confidence holds nan"):
        metric.update(np.array([np.nan]), np.ones(1, bool))
    with pytest.raises(MetricError, match="expected the same shape"):
        metric.update(np.ones(2), np.ones(3, bool))
    assert math.isnan(CalibrationMetric().error)
