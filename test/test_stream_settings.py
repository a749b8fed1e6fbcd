"""What a stream's settings may be."""

from __future__ import annotations

import math

import pytest

from geoseg_ros.errors import ConfigError
from geoseg_ros.stream_settings import StreamSettings


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"depth_memory": -0.3}, "depth_memory is -0.3 s, expected 0 or more"),
        ({"scale_memory": -1.0}, "scale_memory is -1 s, expected 0 or more"),
        ({"scale_memory": math.nan}, "scale_memory is nan s, expected 0 or more"),
        ({"road_share": 2.0}, "road_share is 2, expected 0 … 1"),
        ({"depth_std": 0.0}, "depth_std is 0, expected more than 0"),
        ({"matched_share": -0.1}, "matched_share is -0.1, expected 0 … 1"),
    ],
)
def test_settings_that_mean_nothing_are_named(setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        StreamSettings(**setting)
