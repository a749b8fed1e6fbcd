"""The arguments that all studies take."""

from __future__ import annotations

import argparse
from pathlib import Path

from geoseg_ros.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """``--out``, ``--data``, ``--processes``, ``--frames``, ``--set``."""
    parser.add_argument("--out", type=Path, default=out, help="folder of runs and table (default: %(default)s)")
    text = "folder of the real data (default: %(default)s)"
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=text)
    text = "parallel processes per run (default: %(default)s; on a CPU one per core)"
    parser.add_argument("--processes", type=int, default=2, metavar="N", help=text)
    parser.add_argument("--frames", type=int, metavar="N", help="judge at most N frames per suite, for a quick look")
    text = "change a value of every run's recipe; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def check_arguments(args: argparse.Namespace) -> None:
    """ConfigError for values that mean nothing; makes the folder."""
    if args.processes < 1:
        raise ConfigError(f"processes is {args.processes}, expected at least 1")
    if not args.data.is_dir():
        raise ConfigError(f"the data folder {args.data} does not exist")
    args.out.mkdir(parents=True, exist_ok=True)
