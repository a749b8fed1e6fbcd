"""Rates, ages and losses from arrival times written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.arrivals import NO_STAMP, Arrivals, ArrivalWriter, ages, read_arrivals, stamp_of_serialised
from geoseg_ros.bags.types import build_message, serialise
from geoseg_ros.demo.measurement import diagnostic_values, drops, measure
from geoseg_ros.errors import BagError

MS = 1_000_000
START = 1_700_000_000_000_000_000


def arrivals(rows: list[tuple[int, int, int]], size: int = 1000) -> Arrivals:
    """Rows of (stamp, published, received), all in ms; the clock of publication runs from START."""
    table = np.array(rows, np.int64).reshape(-1, 3) * MS
    return Arrivals(table[:, 0], table[:, 1] + START, table[:, 2] + START, np.full(len(rows), size, np.int64))


@pytest.fixture
def recorded() -> dict[str, Arrivals]:
    """Five images at 10 Hz; those at 0, 200, 400 ms are answered: depth 30, 40, 50 ms later, then flow."""
    return {
        "/camera/image": arrivals([(t, t, t + 1) for t in range(0, 500, 100)]),
        "/geoseg/depth/image": arrivals([(0, 29, 30), (200, 239, 240), (400, 449, 450)], size=500_000),
        "/geoseg/flow/image": arrivals([(0, 34, 35), (200, 244, 245), (400, 454, 455)]),
        "/geoseg/semantic/label_info": arrivals([(77, 1, 2)]),
        "/diagnostics": arrivals([(5, 5, 6)]),
    }


def test_numbers_of_a_small_run(recorded: dict[str, Arrivals]) -> None:
    measured = measure(
        recorded, "/camera/image", "/geoseg", {"dropped: skipped for a newer frame": "2", "state": "active"}
    )
    assert (measured.published, measured.answered) == (5, 3)
    assert measured.input_rate == pytest.approx(10.0)
    assert measured.output_rate == pytest.approx(2 / 0.420)
    np.testing.assert_allclose(measured.frame_ages, [0.035, 0.045, 0.055])
    np.testing.assert_allclose(measured.frame_times, [0.0, 0.2, 0.4])
    np.testing.assert_array_equal(measured.frame_stamps, [0, 200 * MS, 400 * MS])
    assert measured.age_p50 == pytest.approx(0.045)
    assert measured.age_p99 == pytest.approx(0.045 + 0.98 * 0.010)
    assert measured.drops == {"skipped for a newer frame": 2}
    depth = next(one for one in measured.topics if one.topic == "/geoseg/depth/image")
    assert (depth.messages, depth.age_p50) == (3, pytest.approx(0.040))
    assert depth.rate == pytest.approx(2 / 0.420)
    assert depth.bandwidth == pytest.approx(2 * 0.5 / 0.420)
    labels = next(one for one in measured.topics if one.topic.endswith("label_info"))
    assert labels.messages == 1 and math.isnan(labels.age_p50) and math.isnan(labels.rate)
    assert [one.topic for one in measured.topics] == sorted(t for t in recorded if t.startswith("/geoseg/"))


def test_an_answer_to_an_image_that_the_recorder_missed_counts_but_has_no_age(
    recorded: dict[str, Arrivals],
) -> None:
    recorded["/camera/image"] = arrivals([(t, t, t + 1) for t in range(100, 500, 100)])
    measured = measure(recorded, "/camera/image", "/geoseg", published=5)
    assert (measured.published, measured.answered) == (5, 3)
    np.testing.assert_allclose(measured.frame_ages, [0.045, 0.055])


def test_rate_over_time_follows_a_camera_that_slows_down() -> None:
    times = [*range(0, 2000, 100), *range(2000, 4001, 500)]
    recorded = {"/image": arrivals([(t, t, t) for t in times])}
    centres, rates = measure(recorded, "/image", "/geoseg").input_rates
    assert rates[0] == pytest.approx(10.0) and rates[-1] == pytest.approx(2.0)
    assert centres[0] == pytest.approx(0.5) and (np.diff(rates) <= 1e-9).all()


def test_a_run_without_outputs_has_no_ages() -> None:
    measured = measure({"/image": arrivals([(0, 0, 1), (100, 100, 101)])}, "/image", "/geoseg")
    assert (measured.published, measured.answered) == (2, 0)
    assert math.isnan(measured.age_p50) and math.isnan(measured.output_rate) and len(measured.frame_ages) == 0
    assert measure({}, "/image", "/geoseg").published == 0
    assert measure({}, "/image", "/geoseg", published=7).published == 7


def test_ages_of_a_loop_count_from_the_latest_publication() -> None:
    source = arrivals([(0, 0, 0), (100, 100, 100), (0, 200, 200), (100, 300, 300)])
    output = arrivals([(0, 20, 20), (0, 230, 230), (100, 340, 340), (50, 400, 400)])
    stamps, values = ages(output, source)
    np.testing.assert_array_equal(stamps, [0, 0, 100 * MS])
    np.testing.assert_allclose(values, [0.020, 0.030, 0.040])


def test_latest_diagnostics_count() -> None:
    def array(received: str) -> SimpleNamespace:
        values = [
            SimpleNamespace(key="images received", value=received),
            SimpleNamespace(key="dropped: bad input", value="1"),
        ]
        other = SimpleNamespace(name="camera", message="x", values=[])
        return SimpleNamespace(
            status=[SimpleNamespace(name="geoseg: perception", message="running", values=values), other]
        )

    values = diagnostic_values([array("3"), array("9")], "geoseg")
    assert values == {"status": "running", "images received": "9", "dropped: bad input": "1"}
    assert drops(values) == {"bad input": 1}


def test_arrivals_round_trip(tmp_path: Path) -> None:
    writer = ArrivalWriter(tmp_path / "a.csv")
    writer.write("/b", 5, 10, 20, 300)
    writer.write("/a", NO_STAMP, 11, 21, 301)
    writer.write("/b", 6, 12, 22, 302)
    writer.close()
    read = read_arrivals(tmp_path / "a.csv")
    assert read["/a"].stamp.tolist() == [NO_STAMP]
    assert [
        read["/b"].stamp.tolist(),
        read["/b"].published.tolist(),
        read["/b"].received.tolist(),
        read["/b"].bytes.tolist(),
    ] == [[5, 6], [10, 12], [20, 22], [300, 302]]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "has the columns , expected topic"),
        ("topic,x\n", "has the columns topic,x"),
        ("topic,stamp,published,received,bytes\n/a,1,2\n", "line 2 is malformed"),
        ("topic,stamp,published,received,bytes\n/a,1,2,3,4,5\n", "line 2 is malformed"),
        ("topic,stamp,published,received,bytes\n/a,1,x,3,4\n", "line 2 is malformed"),
    ],
)
def test_a_malformed_arrivals_file_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BagError, match=problem):
        read_arrivals(tmp_path / "a.csv")
    with pytest.raises(BagError, match="cannot read"):
        read_arrivals(tmp_path / "none.csv")


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_stamp_of_serialised_is_the_header_stamp(seconds: int, nanoseconds: int) -> None:
    stamp = seconds * 10**9 + nanoseconds
    for msgtype in ("sensor_msgs/msg/Image", "geometry_msgs/msg/TwistWithCovarianceStamped"):
        data = serialise(build_message(msgtype, {"header": {"stamp": stamp, "frame_id": "camera"}}), msgtype)
        assert stamp_of_serialised(data) == stamp
