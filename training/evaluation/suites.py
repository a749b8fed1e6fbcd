"""The suites by name, and the loop over them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

from geoseg_ros.training.evaluation.suite import Bench, SuiteResult, SuiteSkipped


@dataclass(frozen=True)
class Suite:
    """``module.function`` of this package judges; ``folder`` under the data folder must exist, if one is
    named."""

    module: str
    function: str
    folder: str | None

    def load(self) -> Callable[[Bench], SuiteResult]:
        """The function; SuiteSkipped when a package that it needs is not installed."""
        try:
            module = importlib.import_module(f"geoseg_ros.training.evaluation.{self.module}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("geoseg_ros"):
                raise
            raise SuiteSkipped(f"the Python package {error.name} is not installed") from error
        return getattr(module, self.function)


SUITES = {
    "synthetic": Suite("synthetic", "synthetic", None),
    "camvid": Suite("semantics", "camvid", "camvid"),
    "kitti00": Suite("egomotion", "kitti00", "kitti00_color"),
    "kitti07": Suite("egomotion", "kitti07", "video_kitti"),
    "7scenes": Suite("depth", "seven_scenes", "7scenes_redkitchen_rgbd"),
    "depth_dgp": Suite("depth", "depth_dgp", "depth_dgp"),
    "flow_middlebury": Suite("flow", "flow_middlebury", "flow_middlebury"),
    "davis": Suite("motion", "davis", "davis_moving_objects"),
    "synthetic_cameras": Suite("synthetic", "synthetic_cameras", None),
    "synthetic_rooms": Suite("synthetic", "synthetic_rooms", None),
}


def run_suite(name: str, bench: Bench) -> SuiteResult:
    """Run one suite of SUITES; SuiteSkipped, with the reason, where it cannot run here."""
    suite = SUITES[name]
    if suite.folder is not None and not (bench.data / suite.folder).is_dir():
        raise SuiteSkipped(f"{bench.data / suite.folder} is absent")
    judge = suite.load()
    bench.pipeline.reset()
    return replace(judge(bench), protocol=inspect.getdoc(judge) or "")
