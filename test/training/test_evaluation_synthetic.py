"""The synthetic suite: perfect for an oracle, equal to the metrics for a network; its cache of streets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("embreex")

from geoseg_ros.bundle import Bundle  # noqa: E402
from geoseg_ros.camera import PinholeCamera  # noqa: E402
from geoseg_ros.errors import ConfigError  # noqa: E402
from geoseg_ros.labels import CAMVID_11  # noqa: E402
from geoseg_ros.networks import create_network  # noqa: E402
from geoseg_ros.perception import ALL_OUTPUTS, Perception  # noqa: E402
from geoseg_ros.pipeline import Pipeline  # noqa: E402
from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticFrame, SyntheticStreet  # noqa: E402
from geoseg_ros.training.evaluation import street_cache, synthetic  # noqa: E402
from geoseg_ros.training.evaluation.flow import dis_flow  # noqa: E402
from geoseg_ros.training.evaluation.suite import Bench, SuiteResult  # noqa: E402
from geoseg_ros.training.metrics.depth import depth_scores  # noqa: E402
from geoseg_ros.training.metrics.flow import FlowMetric  # noqa: E402
from geoseg_ros.training.metrics.motion import MotionMetric  # noqa: E402
from geoseg_ros.training.metrics.semantics import ConfusionMatrix  # noqa: E402

FRAMES = 6
SEMANTIC_SCORES = ("mIoU", "mIoU of categories", "pixel accuracy", "boundary F-score")
CAMERA = PinholeCamera(96, 64, 60.0, 60.0, 47.5, 31.5)


def config(seed: int) -> StreetConfig:
    return StreetConfig(camera=CAMERA, duration=FRAMES / 10)


@pytest.fixture(scope="module")
def streets() -> dict[int, list[SyntheticFrame]]:
    seeds = (synthetic.FIRST_SEED, synthetic.FIRST_SEED + 1)
    return {seed: list(SyntheticStreet(seed, config(seed)).frames(FRAMES)) for seed in seeds}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The suite on two small streets, with a cache of its own."""
    monkeypatch.setattr(synthetic, "STREETS", 2)
    monkeypatch.setattr(synthetic, "FRAMES", FRAMES)
    monkeypatch.setattr(synthetic, "default_config", config)
    monkeypatch.setattr(street_cache.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def run(pipeline: object, limit: int | None = None) -> SuiteResult:
    def plain(items: Iterable, total: int, description: str) -> Iterator:
        return iter(items)

    return synthetic.synthetic(Bench(pipeline, Path(), limit, plain))


def values(result: SuiteResult) -> dict[str, float]:
    return {score.name: score.value for score in result.scores}


class Oracle:
    """Answers with the truth, its metres scaled by ``scale``."""

    labels = CAMVID_11

    def __init__(self, streets: dict[int, list[SyntheticFrame]], scale: float) -> None:
        self.frames = [frame for street in streets.values() for frame in street]
        self.scale = scale
        self.resets = 0
        self._previous: SyntheticFrame | None = None

    def reset(self) -> None:
        self.resets += 1
        self._previous = None

    def step(self, image, camera, stamp, outputs=ALL_OUTPUTS) -> Perception:
        frame = self.frames.pop(0)
        assert np.array_equal(image, frame.image)
        assert (camera, stamp) == (CAMERA, frame.stamp)
        motion = None
        if self._previous is not None:
            step = np.linalg.inv(self._previous.world_from_camera) @ frame.world_from_camera
            step[:3, 3] *= self.scale
            motion = SimpleNamespace(previous_from_current=step)
        self._previous = frame
        return Perception(
            stamp=stamp,
            image=image,
            semantic=frame.semantic,
            depth=frame.depth * np.float32(self.scale),
            flow=-frame.flow_to_previous,
            motion_mask=frame.motion_mask,
            ego_motion=motion,
        )


def test_an_oracle_is_perfect_up_to_its_scale(small, streets):
    oracle = Oracle(streets, scale=0.5)
    result = run(oracle)
    scores = values(result)
    assert result.frames == 2 * FRAMES
    assert oracle.resets == 2
    for name in ("depth AbsRel, median-scaled", "flow EPE", "translation error, aligned", "rotation error"):
        assert scores[name] == pytest.approx(0.0, abs=1e-5), name
    for name in ("semantic mIoU", "motion IoU, moving class", "motion mean IoU, per image"):
        assert scores[name] == pytest.approx(1.0), name
    assert scores["depth AbsRel, metric"] == pytest.approx(0.5, abs=1e-3)
    assert [score.passed for score in result.scores if score.bar is not None] == [True] * 4


def test_a_network_scores_what_the_metrics_say(small, streets):
    torch.manual_seed(0)
    weights = create_network("perception", {"encoder": "lite"}).state_dict()
    bundle = Bundle("perception", {"encoder": "lite"}, CAMVID_11, (96, 64), weights=weights)
    result = run(Pipeline(bundle, device="cpu"))

    semantics, flow, dis, motion = ConfusionMatrix(11), FlowMetric(), FlowMetric(), MotionMetric()
    depth = []
    for frames in streets.values():
        pipeline, previous = Pipeline(bundle, device="cpu"), None
        for frame in frames:
            seen = pipeline.step(frame.image, CAMERA, frame.stamp)
            semantics.update(seen.semantic, frame.semantic)
            depth.append(depth_scores(seen.depth, frame.depth, median_scaling=True).abs_rel)
            if previous is not None:
                flow.update(-seen.flow, frame.flow_to_previous)
                dis.update(dis_flow(frame.image, previous.image), frame.flow_to_previous)
                motion.update(seen.motion_mask, frame.motion_mask)
            previous = frame
    scores = values(result)
    assert scores["semantic mIoU"] == semantics.mean_iou
    assert scores["semantic pixel accuracy"] == semantics.pixel_accuracy
    assert result.confusion.tolist() == semantics.counts.tolist()
    np.testing.assert_array_equal(list(result.per_class.values()), semantics.iou)
    assert "semantic boundary F-score" in scores and "semantic calibration error" in scores
    assert scores["depth AbsRel, median-scaled"] == pytest.approx(np.mean(depth))
    assert scores["flow EPE"] == flow.scores().epe
    assert scores["flow EPE of OpenCV DIS"] == dis.scores().epe
    assert scores["motion IoU, moving class"] == motion.scores().moving_iou
    bars = {score.name: score.bar for score in result.scores if score.bar is not None}
    assert bars == {
        "depth AbsRel, median-scaled": 0.15,
        "semantic mIoU": 0.60,
        "flow EPE": 0.5 * dis.scores().epe,
        "motion IoU, moving class": 0.60,
    }


class DepthOnly(Oracle):
    """Like a model that has learned depth and ego-motion alone; its first frame's flow is unknown."""

    def step(self, *args, **kwargs) -> Perception:
        result = super().step(*args, **kwargs)
        flow = np.full_like(result.flow, np.nan) if result.ego_motion is None else None
        return replace(result, semantic=None, motion_mask=None, flow=flow)


class SemanticsOnly(Oracle):
    def step(self, image, camera, stamp, outputs=ALL_OUTPUTS) -> Perception:
        result = super().step(image, camera, stamp, outputs)
        return Perception(stamp=stamp, image=image, semantic=result.semantic)


def test_what_a_model_does_not_give_is_not_judged(small, streets):
    perfect = values(run(SemanticsOnly(streets, scale=1.0)))
    assert perfect == dict.fromkeys((f"semantic {name}" for name in SEMANTIC_SCORES), pytest.approx(1.0))
    result = run(DepthOnly(streets, scale=1.0))
    assert result.per_class == {} and result.sections == [] and result.confusion is None
    assert {name.split()[0] for name in values(result)} == {"depth", "translation", "rotation", "ATE,"}
    assert values(result)["depth AbsRel, metric"] == pytest.approx(0.0, abs=1e-5)


def test_a_segmenter_is_judged_by_its_semantics_alone(small, streets):
    torch.manual_seed(0)
    config = {"encoder": "lite"}
    weights = create_network("fpn", config).state_dict()
    result = run(Pipeline(Bundle("fpn", config, CAMVID_11, (96, 64), weights=weights), device="cpu"))
    assert set(values(result)) == {f"semantic {name}" for name in (*SEMANTIC_SCORES, "calibration error")}
    assert 0 <= values(result)["semantic mIoU"] <= 1
    assert result.frames == 2 * FRAMES and set(result.per_class) == set(CAMVID_11.names)


def test_a_limit_counts_frames(small, streets):
    assert run(Oracle(streets, 1.0), limit=FRAMES + 2).frames == FRAMES + 2


def test_streets_are_rendered_once_and_a_damaged_file_again(small, streets, monkeypatch):
    folder = street_cache.cache_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    seed = synthetic.FIRST_SEED
    first = street_cache.street_frames(seed, config(seed), FRAMES, folder)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again = street_cache.street_frames(seed, config(seed), FRAMES, folder)
    monkeypatch.setattr(street_cache, "SyntheticStreet", None)
    loaded = street_cache.street_frames(seed, config(seed), FRAMES, folder)
    for frames in (first, again, loaded):
        for frame, truth in zip(frames, streets[seed], strict=True):
            assert (frame.index, frame.stamp) == (truth.index, truth.stamp)
            for name in street_cache.ARRAYS:
                np.testing.assert_array_equal(getattr(frame, name), getattr(truth, name))
    with pytest.raises(TypeError):
        street_cache.street_frames(seed + 1, config(seed), FRAMES, folder)


def test_a_cache_folder_of_somebody_else_is_refused(small, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"geoseg_ros-streets-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="expected a folder of user"):
        street_cache.cache_folder()
