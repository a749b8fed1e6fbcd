"""``geoseg simulate --out street``: a synthetic street with ground truth as a rosbag2."""

from __future__ import annotations

import argparse

HELP = "Render a synthetic street, with exact ground truth, into a rosbag2."
_FOCAL = 0.578  # focal length over image width of the default camera


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="folder of the new bag")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the drive (default 10)")
    parser.add_argument("--seed", type=int, default=3, help="which street (default 3)")
    parser.add_argument(
        "--size", default="640x192", metavar="WxH", help="image size in pixels (default 640x192)"
    )
    parser.add_argument("--fps", type=float, default=10.0, help="frames per second (default 10)")
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage of the bag (default mcap)"
    )
    parser.add_argument(
        "--compressed", action="store_true", help="write JPEG images (image_raw/compressed) instead of raw"
    )


def run(args: argparse.Namespace) -> int:
    """Render the street; 0 when the bag is complete."""
    import os
    import time

    from geoseg_ros.camera import PinholeCamera
    from geoseg_ros.errors import BagError, ConfigError
    from geoseg_ros.progress import progress_bar
    from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticStreet
    from geoseg_ros.training.data.synthetic.bag import write_street_bag

    width, height = parse_size(args.size)
    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}, expected 0 or more")
    if os.path.lexists(args.out):
        raise BagError(f"{args.out} exists already, expected a new name for the bag")
    focal = _FOCAL * width
    camera = PinholeCamera(
        width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, frame_id="camera_optical_frame"
    )
    street_config = StreetConfig(camera=camera, fps=args.fps, duration=args.seconds)
    with progress_bar() as progress:
        task = progress.add_task(f"building street {args.seed}", total=street_config.frames)
        street = SyntheticStreet(args.seed, street_config)
        progress.update(task, description=f"rendering street {args.seed}")
        started = time.perf_counter()
        write_street_bag(
            street, args.out, args.storage, args.compressed, advance=lambda: progress.advance(task)
        )
        rate = street_config.frames / (time.perf_counter() - started)
    print(f"{street_config.frames} frames in {args.out}, rendered and written at {rate:.1f} frames/s")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "WIDTHxHEIGHT"; ConfigError where it is something else or outside 16…4096."""
    from geoseg_ros.errors import ConfigError

    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--size is {text!r}, expected WIDTHxHEIGHT such as 640x192")
    width, height = (int(part) for part in parts)
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise ConfigError(f"--size is {width}x{height}, expected sides of 16 to 4096 pixels")
    return width, height
