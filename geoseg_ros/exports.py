"""What ``geoseg run`` writes besides its bag, for programs that read no bags: depth images and the trajectory."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from geoseg_ros.depth_files import DepthFolder
from geoseg_ros.errors import ConfigError
from geoseg_ros.perception import Perception
from geoseg_ros.trajectory_files import Trajectory, check_trajectory_path, write_trajectory


class Exports:
    """A context manager. ``depth``: folder of 16-bit PNGs in ``depth_unit``; ``trajectory``: .tum or .kitti file.

    The files take their names at the end, also after an exception if there was a frame. Raises ConfigError for
    paths that exist or cannot be written.
    """

    def __init__(self, depth: Path | None, depth_unit: str, trajectory: Path | None) -> None:
        if trajectory is not None:
            check_trajectory_path(trajectory)
            if trajectory.exists():
                raise ConfigError(f"trajectory {trajectory} exists already, expected a new name")
        self.outputs = {name for name, path in (("depth", depth), ("ego_motion", trajectory)) if path is not None}
        self.trajectory = Trajectory()
        self._path = trajectory
        self._depth = None if depth is None else DepthFolder(depth, depth_unit)

    def write(self, perception: Perception) -> None:
        """The next frame; without depth it has no image."""
        if self._depth is not None and perception.depth is not None:
            self._depth.write(perception.depth, perception.stamp)
        self.trajectory.add(perception.stamp, perception.ego_motion)

    def __enter__(self) -> Exports:
        return self

    def __exit__(self, *exception: object) -> None:
        with ExitStack() as stack:
            if self._depth is not None:
                stack.callback(self._depth.close)
            if self._path is not None and self.trajectory.poses:
                write_trajectory(self._path, self.trajectory.stamps, self.trajectory.poses)
