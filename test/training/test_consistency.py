"""Temporal consistency: known motion and known mistakes give known values; folders ask for it by --clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from geoseg_ros.cli import main
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.perception import Perception
from geoseg_ros.training.evaluation.clip import ClipJudge
from geoseg_ros.training.evaluation.semantics import labelled_folder
from geoseg_ros.training.evaluation.suite import Bench
from geoseg_ros.training.metrics.consistency import ConsistencyMetric
from geoseg_ros.training.metrics.errors import MetricError

HEIGHT, WIDTH, SHIFT = 4, 12, 2


def flow(x, height=HEIGHT, width=WIDTH):
    return np.tile(np.float32([x, 0]), (height, width, 1))


def ids(*columns):
    """Class ids by column, H×W uint8."""
    return np.tile(np.array(columns, np.uint8), (HEIGHT, 1))


BEFORE = ids(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)
AFTER = ids(9, 9, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
"""All has moved right by SHIFT; of class 9 there is no telling before."""


def test_what_moves_along_is_consistent_and_what_comes_in_is_not_judged():
    metric = ConsistencyMetric(11)
    metric.update(BEFORE, AFTER, flow(-SHIFT), flow(SHIFT))
    # On the grid of the frame before the last two columns leave the image: there the way back is unknown, and not asked for.
    assert metric.mean_iou == 1.0 and metric.pairs == 1
    assert metric.judged == pytest.approx((WIDTH - SHIFT) / WIDTH)
    assert metric.matrix.present.tolist() == [True] * 3 + [False] * 8


def test_a_flicker_costs_by_hand():
    metric = ConsistencyMetric(11)
    flickers = ids(9, 9, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2)
    metric.update(BEFORE, flickers, flow(-SHIFT), flow(SHIFT))
    # Class 1: one of four columns kept; class 2 found in five, of which two were there; class 0 as before.
    assert metric.mean_iou == pytest.approx((1 + 1 / 4 + 2 / 5) / 3)
    metric.update(BEFORE, AFTER, flow(-SHIFT), flow(SHIFT))
    assert metric.mean_iou == pytest.approx((1 + 5 / 8 + 4 / 7) / 3) and metric.pairs == 2, "pixels of all pairs together"


def test_hidden_pixels_are_not_judged():
    metric = ConsistencyMetric(11)
    back = flow(SHIFT)
    back[:, :4] = -5.0  # what was class 0 went elsewhere: the ways there and back do not cancel
    metric.update(BEFORE, ids(*[9] * 6, 1, 1, 1, 1, 2, 2), flow(-SHIFT), back)
    assert metric.mean_iou == 1.0 and metric.judged == pytest.approx(6 / WIDTH)
    assert np.isnan(ConsistencyMetric(2).mean_iou) and np.isnan(ConsistencyMetric(2).judged)


def test_sizes_must_agree():
    with pytest.raises(MetricError, match="expected one size"):
        ConsistencyMetric(11).update(BEFORE, AFTER[:2], flow(0), flow(0))


def texture(shift):
    """A smooth random picture 96×64, moved right by ``shift`` pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    wide = cv2.resize(noise, (160, 80), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(wide[:64, 32 - shift : 128 - shift])


def split_at(column):
    found = np.zeros((64, 96), np.uint8)
    found[:, column:] = 1
    return found


def test_the_flow_between_frames_is_found():
    judge = ClipJudge(11)
    for i in range(3):
        judge.update(texture(4 * i), split_at(40 + 4 * i), str(i))
    (score,) = judge.scores()
    assert score.value > 0.97 and score.note.startswith("2 pairs") and score.higher
    still = ClipJudge(11)
    for i in range(3):
        still.update(texture(4 * i), split_at(40), str(i))  # the border stays while the picture moves
    assert still.scores()[0].value == pytest.approx((36 / 40 + 52 / 56) / 2, abs=0.02)
    assert ClipJudge(11).scores() == []


class Told:
    """A pipeline that finds class 0 left of a border that moves with the picture."""

    labels, device = CAMVID_11, "cpu"
    bundle = type("Bundle", (), {"provenance": {}})

    def reset(self):
        self.frames = 0

    def step(self, image, camera, stamp, outputs):
        found = split_at(40 + 4 * self.frames)
        self.frames += 1
        return Perception(stamp=stamp, image=image, camera=None, semantic=found, confidence=None)


@pytest.fixture
def clip(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / "clip" / name).mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"clip/images/{i}.png"), texture(4 * i))
        cv2.imwrite(str(tmp_path / f"clip/labels/{i}.png"), split_at(40 + 4 * i))
    return tmp_path / "clip"


def test_a_folder_is_judged_as_a_clip_where_one_says_so(clip, monkeypatch, capsys):
    def judge(**options):
        bench = Bench(Told(), clip, None, lambda items, total, name: iter(items))
        result = labelled_folder(bench, CAMVID_11, **options)
        return {score.name: score.value for score in result.scores}, result.protocol

    scores, protocol = judge()
    assert "temporal consistency" not in scores and "DIS" not in protocol
    scores, protocol = judge(clip=True)
    assert scores["temporal consistency"] > 0.97 and scores["mIoU"] == 1.0 and "DIS" in protocol
    monkeypatch.setattr("geoseg_ros.pipeline.Pipeline", lambda *arguments, **options: Told())
    assert main(["evaluate", "model.safetensors", "--labelled", str(clip), "--clip"]) == 0
    assert "temporal consistency" in capsys.readouterr().out
    assert main(["evaluate", "model.safetensors", "--clip"]) == 2
    assert "--clip is given without --labelled" in capsys.readouterr().err


def test_a_clip_has_one_size():
    judge = ClipJudge(1)
    judge.update(np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8), "a.png")
    with pytest.raises(ConfigError, match=r"b.png is \(96, 32\), the frame before \(96, 64\)"):
        judge.update(np.zeros((32, 96, 3), np.uint8), np.zeros((32, 96), np.uint8), "b.png")
