"""``geoseg convert KIND IN --out BAG``: data sets, image folders and videos as rosbag2 recordings."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Convert a data set, an image folder or a video into a rosbag2."
KINDS = ("kitti_raw", "kitti_odometry", "folder", "video", "camvid", "cityscapes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=f"what IN is: {', '.join(KINDS)}")
    parser.add_argument(
        "path",
        metavar="IN",
        type=Path,
        help="a drive of KITTI raw (DATE/DATE_drive_NNNN_sync); a sequence of KITTI odometry (sequences/NN); "
        "a folder of images with intrinsics.json and poses.txt; a video file; a split of CamVid; "
        "leftImg8bit of Cityscapes, or a split or city in it",
    )
    parser.add_argument("--out", required=True, help="folder of the new bag")
    parser.add_argument(
        "--frames", nargs=2, type=int, metavar=("FIRST", "LAST"), help="only these images, LAST excluded"
    )
    parser.add_argument("--camera", type=int, help="which of KITTI's cameras, 0 to 3 (default 2, left colour)")
    parser.add_argument("--intrinsics", type=Path, help="calibration file, JSON or YAML (folder, video, camvid)")
    parser.add_argument(
        "--poses", type=Path, help="text file with a 3x4 camera-to-world matrix per image (folder, video)"
    )
    parser.add_argument("--fps", type=float, help="images per second (folder, video)")
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage of the bag (default mcap)"
    )


def run(args: argparse.Namespace) -> int:
    """Convert; 0 when the bag is complete. A conversion that fails or is interrupted leaves nothing."""
    import os

    from geoseg_ros.errors import BagError
    from geoseg_ros.progress import progress_bar
    from geoseg_ros.training.data.importers import open_recording
    from geoseg_ros.training.data.importers.recording import write_recording

    if os.path.lexists(args.out):
        raise BagError(f"{args.out} exists already, expected a new name for the bag")
    options = {name: getattr(args, name) for name in ("camera", "intrinsics", "poses", "fps")}
    recording = open_recording(args.kind, args.path, **options)
    if args.frames is not None:
        recording = recording.cut(*args.frames)
    with progress_bar() as progress:
        task = progress.add_task(f"converting {args.path.name}", total=len(recording.stamps))
        count = write_recording(recording, args.out, args.storage, advance=lambda: progress.advance(task))
    poses = "no poses" if recording.track is None else f"{len(recording.track.stamps)} poses"
    print(f"{count} images and {poses} in {args.out}")
    return 0
