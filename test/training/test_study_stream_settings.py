"""The study of a stream's settings drives once with each value, and goes on where it was stopped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from geoseg_ros.stream_settings import StreamSettings
from geoseg_ros.training.studies import stream_settings as study

VALUES = {"road_share": (0.5, 1.0), "depth_std": (0.15,)}


def test_each_variant_differs_from_the_installed_settings_in_one_value():
    assert list(study.variants(VALUES)) == [
        ("as installed", StreamSettings()),
        ("road_share 1", StreamSettings(road_share=1.0)),
        ("depth_std 0.15", StreamSettings(depth_std=0.15)),
    ]


def test_the_same_command_goes_on_where_the_study_was_stopped(tmp_path, monkeypatch):
    """It is interrupted at its third drive; the second call drives that one alone. Another model file is driven anew."""
    model = tmp_path / "bundle.safetensors"
    model.write_bytes(b"weights")
    driven, stop = [], [True]

    def drive(bench):
        assert bench.limit == 9
        if stop[0] and len(driven) == 2:
            raise KeyboardInterrupt
        driven.append(bench.pipeline.settings)
        return {"kitti00": {"translation": len(driven), "step_translation": 3.0}, "streets": {"depth AbsRel, metric": 0.1}}

    monkeypatch.setattr(study, "Pipeline", lambda model, settings: SimpleNamespace(settings=settings))
    monkeypatch.setattr(study, "judge", drive)
    with pytest.raises(KeyboardInterrupt):
        study.compare(tmp_path, VALUES, model, tmp_path, 9)
    stop[0] = False
    text = study.compare(tmp_path, VALUES, model, tmp_path, 9)
    assert driven == [settings for _, settings in study.variants(VALUES)]
    assert text == (tmp_path / "table.md").read_text()
    assert [line.split(" | ")[:5] for line in text.splitlines()[2:]] == [
        ["| as installed", "–", "0.1000", "1.00", "3.00"],
        ["| road_share 1", "–", "0.1000", "2.00", "3.00"],
        ["| depth_std 0.15", "–", "0.1000", "3.00", "3.00"],
    ]
    model.write_bytes(b"other weights")
    study.compare(tmp_path, VALUES, model, tmp_path, 9)
    assert len(driven) == 6
