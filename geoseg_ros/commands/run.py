"""``geoseg run IN --out OUT``: process a bag, a video or a folder of images offline, without ROS."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from geoseg_ros.exports import Exports
    from geoseg_ros.frames import FrameSource
    from geoseg_ros.output_bag import OutputBag
    from geoseg_ros.pipeline import Pipeline
    from geoseg_ros.scale import Scale
    from geoseg_ros.video import VideoWriter

HELP = "Process a bag, video or image folder offline and write the node's topics to a bag."
EXIT_BAD_FRAMES = 1
DEFAULT_OUTPUTS = ("all",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", metavar="IN", help="bag folder, .mcap or .db3 file, video, or folder of images"
    )
    parser.add_argument(
        "--out", required=True, help="folder of the new bag, with the node's topics below /geoseg"
    )
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage of the new bag"
    )
    parser.add_argument("--model", help="model file (default: the one that comes with the package)")
    parser.add_argument("--image", metavar="TOPIC", help="image topic of the bag (default: its camera)")
    parser.add_argument(
        "--camera-info", metavar="TOPIC", help="camera_info topic (default: the one beside the image)"
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        default=DEFAULT_OUTPUTS,
        metavar="NAME",
        help="topics (depth/image) or groups (depth) to write, default all",
    )
    parser.add_argument(
        "--video", metavar="FILE", help="also draw all outputs side by side: .mp4, .webm, .mkv or .avi"
    )
    parser.add_argument("--depth-png", metavar="DIR", help="also write depth as 16-bit PNG images named by stamp")
    parser.add_argument(
        "--depth-unit",
        choices=("mm", "kitti"),
        default="mm",
        help="unit of these images: mm reaches to 65 m, kitti (1/256 m) to 256 m (default mm); 0 is unknown",
    )
    parser.add_argument(
        "--trajectory",
        metavar="FILE",
        help="also write the camera's poses in the first frame: FILE.tum (stamps, quaternions) or FILE.kitti",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--intrinsics", metavar="FILE", help="calibration in JSON or YAML; replaces camera_info"
    )
    parser.add_argument(
        "--camera-height",
        type=float,
        default=0.0,
        metavar="METRES",
        help="the camera's height above the road, for metric scale where the input has no odometry",
    )
    parser.add_argument("--fps", type=float, help="frame rate of a video or folder that does not say its own")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")


@dataclass
class Tally:
    """What a run did: frames, seconds by stage, problems by message."""

    frames: int = 0
    uncalibrated: int = 0
    still: int = 0
    scale: Scale | None = None
    seconds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    interrupted: bool = False


def run(args: argparse.Namespace) -> int:
    """Process the input; 0, or 1 when single frames were unusable, 130 when interrupted."""
    from rich.console import Console

    from geoseg_ros.bundle import default_bundle_path
    from geoseg_ros.cli import EXIT_INTERRUPTED
    from geoseg_ros.errors import BagError, ConfigError, VideoError
    from geoseg_ros.frames import open_frames
    from geoseg_ros.output_bag import OutputBag, select_topics
    from geoseg_ros.pipeline import Pipeline

    topics = select_topics(args.outputs)
    if args.max_frames is not None and args.max_frames < 1:
        raise ConfigError(f"--max-frames is {args.max_frames}, expected at least 1")
    if args.video is not None and Path(args.video).exists():
        raise VideoError(f"{args.video} exists already, expected a new name for the video")
    if Path(args.out).exists():
        raise BagError(f"{args.out} exists already, expected a new name for the bag")
    console = Console()
    with open_frames(args.input, args.image, args.camera_info, args.intrinsics, args.fps) as source:
        model = args.model or default_bundle_path()
        pipeline = Pipeline(model, device=args.device, camera_height=args.camera_height)
        _check_model(args, topics, pipeline)
        tally = Tally()
        try:
            with (
                OutputBag(args.out, topics, pipeline.labels, args.storage) as bag,
                _video(args, source) as video,
                _exports(args) as exports,
            ):
                _process(source, pipeline, bag, video, exports, args.max_frames, tally, console)
                tally.still = exports.trajectory.unknown
                if not tally.frames:
                    reason = f": {tally.problems[0]}" if tally.problems else ""
                    raise BagError(f"{args.input} holds no usable frame on {source.topic}{reason}")
        finally:
            if tally.frames:
                _summarise(console, args, source, pipeline, tally)
        if tally.interrupted:
            return EXIT_INTERRUPTED
    return EXIT_BAD_FRAMES if tally.problems else 0


def _check_model(args: argparse.Namespace, topics: list[str], pipeline: Pipeline) -> None:
    """ConfigError where something is asked for by name that the model cannot give."""
    from geoseg_ros.errors import ConfigError
    from geoseg_ros.messages import OUTPUTS

    asked = {} if "all" in args.outputs else {f"--outputs {topic}": OUTPUTS[topic].needs for topic in topics}
    asked |= {"--depth-png": {"depth"}} if args.depth_png is not None else {}
    asked |= {"--trajectory": {"ego_motion"}} if args.trajectory is not None else {}
    for option, needed in asked.items():
        if not pipeline.gives & needed:
            found = ", ".join(sorted(pipeline.gives))
            raise ConfigError(f"{option} needs {', '.join(sorted(needed))}, expected what the model gives: {found}")


def _video(args: argparse.Namespace, source: FrameSource) -> Any:
    from contextlib import nullcontext

    from geoseg_ros.video import VideoWriter

    return VideoWriter(args.video, source.fps) if args.video is not None else nullcontext()


def _exports(args: argparse.Namespace) -> Exports:
    from geoseg_ros.exports import Exports

    depth, trajectory = (None if path is None else Path(path) for path in (args.depth_png, args.trajectory))
    return Exports(depth, args.depth_unit, trajectory)


def _process(
    source: FrameSource,
    pipeline: Pipeline,
    bag: OutputBag,
    video: VideoWriter | None,
    exports: Exports,
    max_frames: int | None,
    tally: Tally,
    console: Console,
) -> None:
    from geoseg_ros.colorize import mosaic
    from geoseg_ros.interrupt import StopRequest
    from geoseg_ros.messages import needed_outputs
    from geoseg_ros.pipeline import ALL_OUTPUTS
    from geoseg_ros.scale import odometry_speed

    outputs = ALL_OUTPUTS if video is not None else needed_outputs(bag.topics) | exports.outputs
    total = min(filter(None, (source.count, max_frames)), default=None)
    with _progress(console) as progress, StopRequest() as stop:
        task = progress.add_task(source.topic, total=total)
        clock = time.perf_counter()
        for frame in source.frames(lambda problem: _note(problem, tally, progress.console)):
            tally.seconds["read"] += time.perf_counter() - clock
            speed = None if frame.odometry is None else odometry_speed(frame.odometry)
            perception = pipeline.step(frame.image, frame.camera, frame.stamp, outputs, speed)
            tally.seconds.update(perception.timings)
            clock = time.perf_counter()
            bag.write(perception, frame.frame_id)
            if video is not None:
                video.write(mosaic(perception, pipeline.labels))
            exports.write(perception)
            tally.seconds["write"] += time.perf_counter() - clock
            tally.frames += 1
            tally.scale = perception.scale
            tally.uncalibrated += frame.camera is None
            progress.advance(task)
            if stop.requested:
                tally.interrupted = True
                return
            if tally.frames == max_frames:
                return
            clock = time.perf_counter()


def _note(problem: Exception, tally: Tally, console: Console) -> None:
    """Keep a frame's problem; only the first ones are shown at once."""
    tally.problems.append(str(problem))
    if len(tally.problems) <= 5:
        console.print(f"skipped: {problem}", style="yellow", markup=False)


def _progress(console: Console) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f} frames/s" if task.speed else "")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=console,
    )


def _summarise(
    console: Console, args: argparse.Namespace, source: FrameSource, pipeline: Pipeline, tally: Tally
) -> None:
    from rich.text import Text

    seconds = time.perf_counter() - tally.started
    rate = tally.frames / seconds
    stages = ", ".join(f"{stage} {1e3 * value / tally.frames:.1f}" for stage, value in tally.seconds.items())
    rows = {
        "input": f"{args.input}, {source.topic}",
        "frames": f"{tally.frames} in {seconds:.1f} s, {rate:.1f} frames/s on {pipeline.device}",
        "ms per frame": stages,
        "bag": args.out,
    }
    if tally.scale is not None and tally.scale.known:
        rows["scale"] = f"from {tally.scale.source}, {tally.scale.confidence:.0%} sure to be right within 10 %"
    if tally.uncalibrated:
        rows["uncalibrated"] = f"{tally.uncalibrated} frames: no depth, ego-motion and motion"
    if tally.problems:
        rows["unusable"] = f"{len(tally.problems)} times, first: {tally.problems[0]}"
    for name, path in (("video", args.video), ("depth", args.depth_png), ("trajectory", args.trajectory)):
        if path is not None:
            rows[name] = path
    if args.trajectory is not None and tally.still:
        rows["trajectory"] += f", standing still in {tally.still} frames without ego-motion"
    if tally.interrupted:
        rows["interrupted"] = "the outputs end early"
    for name, value in rows.items():
        console.print(Text.assemble((f"{name:<14}", "bold"), value), soft_wrap=True)
