"""``geoseg train RECIPE``: train a model from a recipe, resumable, with its progress in TensorBoard."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

HELP = "Train a model from a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``geoseg train``."""
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a recipe's name, a .yaml file, or the config.yaml of a former run"
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="change a value of the recipe, e.g. optimizer.lr=1e-3 or data.camvid=null",
    )
    text = "train on these bags (paths or globs) in place of the recipe's data"
    parser.add_argument("--bag", nargs="+", action="extend", metavar="BAG", help=text)
    parser.add_argument(
        "--out", type=Path, help="the run's folder (default: runs/NAME, NAME from the recipe)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in the folder, exactly where it was saved"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check recipe, data and memory with a few steps; writes nothing but the frame cache of bags",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or check a recipe with ``--dry-run``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin starve a shared machine
    from geoseg_ros.training.config import load_recipe, with_bags
    from geoseg_ros.training.data.bag_shape import in_shape_of
    from geoseg_ros.training.trainer import CHECKPOINT, train

    recipe = load_recipe(args.recipe, args.overrides)
    if args.bag:
        recipe = with_bags(recipe, args.bag)
        if not any(override.startswith("crop=") for override in args.overrides):
            recipe = in_shape_of(args.bag, recipe)
    if args.dry_run:
        from geoseg_ros.training.dry_run import dry_run

        print(dry_run(recipe))
        return 0
    former = Path(args.recipe).parent
    default = former if args.resume and (former / CHECKPOINT).exists() else Path("runs") / recipe.name
    print(train(recipe, args.out or default, args.resume))
    return 0
