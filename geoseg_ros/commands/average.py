"""``geoseg average MODEL=SHARE … --out FILE``: the mean of several models' weights as a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from geoseg_ros.errors import ConfigError

HELP = "Write the mean of the weights of several model files of one network."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", nargs="+", metavar="MODEL[=SHARE]", help="model files, each with its share in the mean (default: 1)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the model file to write")


def run(args: argparse.Namespace) -> int:
    """Average and write; ConfigError or BundleError where the models do not fit together."""
    from geoseg_ros.bundle import save_bundle
    from geoseg_ros.training.weight_average import average_models

    shares: dict[Path, float] = {}
    for text in args.models:
        path, share = parse_model(text)
        if path in shares:
            raise ConfigError(f"{path} is given twice, expected each model once with its share")
        shares[path] = share
    save_bundle(average_models(shares), args.out)
    print(args.out)
    return 0


def parse_model(text: str) -> tuple[Path, float]:
    """``PATH`` or ``PATH=SHARE``; what follows the last ``=`` is a share where it is a number."""
    path, _, share = text.rpartition("=")
    if not path:
        return Path(text), 1.0
    try:
        return Path(path), float(share)
    except ValueError:
        return Path(text), 1.0
