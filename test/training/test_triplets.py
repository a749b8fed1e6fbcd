"""Which frames make examples: the nearest neighbours that the wanted baseline reaches, within runs; and the poses that
decide it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from drive_bags import MOUNT, body_pose
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.bags import build_message
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.training.data.cached_bag import CachedBag
from geoseg_ros.training.data.odometry import Track, odometry_fields, pose_fields
from geoseg_ros.training.data.static_frames import body_from_camera, static_edges
from geoseg_ros.training.data.triplets import BaselineConfig, run_numbers, select_examples

SECOND = 1_000_000_000


def bag_of(x, motion, stamps=None):
    """Frames of a camera at ``x`` metres (NaN unknown), whose picture moved ``motion`` pixels since the last frame."""
    count = len(x)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = x
    return CachedBag(
        images=np.zeros((count, 1, 1, 3), np.uint8),
        stamps=np.arange(count) * SECOND if stamps is None else np.asarray(stamps),
        matrices=np.tile(np.eye(3), (count, 1, 1)),
        intrinsics_known=np.ones(count, bool),
        motion=np.asarray(motion, np.float32),
        poses=poses,
        poses_of_camera=False,
        labels=np.empty((0, 0, 0), np.uint8),
        skipped=0,
        signature="",
    )


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 1.0, 4.0]), st.sampled_from([0, 0.5, 2, 9])), min_size=3, max_size=14
    ),
    unknown=st.sets(st.integers(0, 13)),
    late=st.sets(st.integers(1, 13), max_size=2),
    triplets=st.booleans(),
)
def test_examples_are_those_of_the_definition(steps, unknown, late, triplets):
    config = BaselineConfig(metres=(0.5, 3.0), pixels=(1.0, 8.0), reach=3)
    x = np.cumsum([step for step, _ in steps])
    x[[i for i in unknown if i < len(x)]] = np.nan
    motion = np.array([np.nan, *(pixels for _, pixels in steps[1:])])
    late = {i for i in late if i < len(x)} if len(steps) > 5 else set()
    stamps = np.cumsum([5 * SECOND if i in late else SECOND for i in range(len(x))])
    run = [sum(1 for i in late if i <= frame) for frame in range(len(x))]

    def neighbour(i, side):
        for step in range(1, config.reach + 1):
            j = i + side * step
            if not 0 <= j < len(x) or run[i] != run[j]:
                return None
            metres, pixels = abs(x[i] - x[j]), motion[min(i, j) + 1 : max(i, j) + 1].sum()
            value, (least, most) = (pixels, config.pixels) if np.isnan(metres) else (metres, config.metres)
            if value >= least:
                return j if value <= most else None
        return None

    expected = []
    for i in range(len(x)):
        sides = [neighbour(i, -1), *([neighbour(i, 1)] if triplets else [])]
        if None not in sides:
            expected.append((i, *sides))
    bag = bag_of(x, motion, stamps)
    if not expected:
        with pytest.raises(ConfigError, match="drive: none of .* images has neighbours"):
            select_examples(bag, slice(0, len(x)), config, triplets, "drive")
        return
    found = select_examples(bag, slice(0, len(x)), config, triplets, "drive")
    columns = [found.current, found.previous, *([found.following] if triplets else [])]
    assert list(zip(*(map(int, column) for column in columns))) == expected
    assert found.still + found.far == len(x) - len(expected)
    assert found.gaps == len(late)


def test_numbers_count_from_the_start_of_the_bag():
    found = select_examples(bag_of(np.arange(8.0), np.ones(8)), slice(3, 6), BaselineConfig(), True, "drive")
    assert (found.current, found.previous, found.following) == ([4], [3], [5])


def test_metres_may_be_left_out():
    bag = bag_of(np.arange(5.0), [np.nan, 0, 0, 4, 0])
    assert len(select_examples(bag, slice(0, 5), BaselineConfig(reach=1), False, "drive")) == 4
    assert select_examples(bag, slice(0, 5), BaselineConfig(metres=None, reach=1), False, "drive").current == [3]


def test_the_message_says_how_far_frames_are_apart():
    bag = bag_of([0, 0.01, 0.02, 0.03], [np.nan, 9, 9, 9])
    with pytest.raises(
        ConfigError,
        match=r"drive: none of 4 images has neighbours 0.03 to 5 metres away within 2 frames: 4 move less, 0 more, at "
        r"0 gaps; successive images are 0.01 metres apart \(median\)",
    ):
        select_examples(bag, slice(0, 4), BaselineConfig(reach=2), False, "drive")


def test_a_run_ends_at_gaps_backward_steps_and_new_calibrations():
    stamps = np.array([0, 100, 201, 300, 470, 570, 569, 669, 669, 770]) * 1_000_000
    matrices = np.tile(np.eye(3), (10, 1, 1))
    np.testing.assert_array_equal(run_numbers(stamps, matrices, 1.6), [0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    matrices[8:, 0, 0] = 2
    matrices[1:, 0, 0] = 3
    np.testing.assert_array_equal(run_numbers(stamps[:4], matrices[:4], 1.6), [0, 1, 1, 1])
    np.testing.assert_array_equal(run_numbers(stamps[:1], matrices[:1], 1.6), [0])


def odometry(stamp, pose, child="base_link", **changes):
    fields = {"header": {"stamp": stamp, "frame_id": "odom"}, **odometry_fields(pose, pose, 1.0, child)}
    message = build_message("nav_msgs/msg/Odometry", fields)
    for name, value in changes.items():
        setattr(message.pose.pose.position if name in "xyz" else message.pose.pose.orientation, name[-1], value)
    return message


def track_of(*messages):
    return Track.from_messages(messages, "bag: topic /odom")


@given(
    speed=st.floats(-5, 5), rate=st.floats(-2, 2), times=st.lists(st.integers(0, 4 * SECOND), min_size=1, max_size=5)
)
def test_even_motion_is_interpolated_exactly(speed, rate, times):
    """Straight ahead at a constant speed while turning at a constant rate, told twice a second."""

    def pose(time):
        return body_pose(speed * time, rate * time)

    track = track_of(*(odometry(i * SECOND // 2, pose(i / 2)) for i in range(9)))
    for found, time in zip(track.at(np.array(times), 1.0), times):
        np.testing.assert_allclose(found, pose(time / SECOND), atol=1e-6)


def test_poses_outside_and_in_gaps_are_unknown_but_those_of_messages_are_known():
    track = track_of(*(odometry(s * SECOND, body_pose(float(s))) for s in (1, 2, 5, 6)))
    times = np.array([0.99, 1.0, 1.5, 2.0, 2.1, 4.9, 5.0, 6.0, 6.01]) * SECOND
    found = track.at(times.astype(np.int64), max_gap=2.0)[:, 0, 3]
    np.testing.assert_allclose(found, [np.nan, 1, 1.5, 2, np.nan, np.nan, 5, 6, np.nan])
    assert np.isnan(track_of().at(np.array([1]), 1.0)).all()
    np.testing.assert_allclose(
        track_of(odometry(7, body_pose(3.0))).at(np.array([6, 7, 8]), 1.0)[:, 0, 3], [np.nan, 3, np.nan]
    )


def test_a_pose_told_at_its_instant_needs_no_neighbour():
    turnless = odometry(2 * SECOND, body_pose(2.0, 0.2), w=0.0)
    track = track_of(odometry(SECOND, body_pose(1.0, 0.1)), turnless, odometry(3 * SECOND, body_pose(3.0, 0.3)))
    found = track.at(np.array([1, 2, 3]) * SECOND, 5.0)
    np.testing.assert_allclose(found[[0, 2]], [body_pose(1.0, 0.1), body_pose(3.0, 0.3)], atol=1e-12)
    assert np.isnan(found[1, :3, :3]).all() and found[1, 0, 3] == 2.0


def test_messages_are_sorted_and_those_without_a_place_or_turn_leave_it_unknown():
    track = track_of(
        odometry(3 * SECOND, body_pose(3.0)),
        odometry(1 * SECOND, body_pose(1.0)),
        odometry(2 * SECOND, body_pose(9.0), x=float("nan")),
        odometry(4 * SECOND, body_pose(4.0), w=0.0),
    )
    found = track.at(np.array([2, 4]) * SECOND, 5.0)
    np.testing.assert_allclose(found[:, 0, 3], [2, 4])
    assert np.isfinite(found[0]).all() and np.isnan(found[1, :3, :3]).all()
    with pytest.raises(BagError, match="topic /odom: child_frame_id changes from 'base_link' to 'arm'"):
        track_of(odometry(1, np.eye(4)), odometry(2, np.eye(4), child="arm"))


def transforms(*edges):
    """Messages of (parent, child, 4×4 parent_from_child)."""
    items = []
    for parent, child, matrix in edges:
        fields = pose_fields(matrix, ("translation", "rotation"))
        header = {"stamp": 0, "frame_id": parent}
        items.append({"header": header, "child_frame_id": child, "transform": fields})
    return [build_message("tf2_msgs/msg/TFMessage", {"transforms": items})]


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_the_mounting_is_found_through_any_tree(order):
    edges = [
        ("base_footprint", "base_link", body_pose(0.1, 0.3)),
        ("base_footprint", "mast", body_pose(0.2, -0.5)),
        ("/mast", "camera", MOUNT),
    ]
    found = body_from_camera(static_edges(transforms(*(edges[i] for i in order))), "base_link", "/camera")
    np.testing.assert_allclose(found, np.linalg.inv(body_pose(0.1, 0.3)) @ body_pose(0.2, -0.5) @ MOUNT, atol=1e-12)


def test_frames_that_are_not_connected_have_no_mounting():
    edges = static_edges(transforms(("a", "b", np.eye(4)), ("c", "d", np.eye(4)), ("d", "c", np.eye(4))))
    assert body_from_camera(edges, "a", "d") is None
    np.testing.assert_array_equal(body_from_camera(edges, "x", "x"), np.eye(4))
    assert body_from_camera(edges, "", "") is None
    broken = SimpleNamespace(transforms=transforms(("a", "b", np.eye(4)))[0].transforms)
    broken.transforms[0].transform.translation.x = float("nan")
    assert static_edges([broken]) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"pixels": (3.0, 3.0)}, "pixels is"), ({"gap": 1.0}, "gap is 1.0"), ({"metres": (-1.0, 2.0)}, "metres is")],
)
def test_bounds_are_checked(change, message):
    with pytest.raises(ConfigError, match=message):
        BaselineConfig(**change)
