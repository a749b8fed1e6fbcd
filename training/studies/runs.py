"""What studies share: runs trained to their end, models judged by the suites; both go on where they were stopped."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg_ros.bundle import load_bundle
from geoseg_ros.errors import ConfigError, TrainingError
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.config import differing_keys, load_recipe
from geoseg_ros.training.evaluation.report import write_json
from geoseg_ros.training.evaluation.suite import Bench, SuiteSkipped
from geoseg_ros.training.evaluation.suites import run_suite
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.trainer import BUNDLE, CONFIG

SCORES = "scores.json"

Scores = dict[str, dict[str, float | None]]
"""Suite name → score name → value; None where it is not finite. A suite that could not run is absent."""


def train_to_end(recipe: str, overrides: Sequence[str], folder: Path, processes: int) -> Path:
    """The model file of ``recipe`` with ``overrides``, trained in ``folder`` by ``processes`` parallel processes.

    A finished run is left as it is, an interrupted one goes on. Raises ConfigError where the folder holds a run of other
    settings, TrainingError where training fails. Ctrl-C lets the run save its checkpoint.
    """
    wanted = load_recipe(recipe, overrides)
    config, model = folder / CONFIG, folder / BUNDLE
    started = config.exists()
    if started:
        different = differing_keys(load_recipe(str(config)), wanted)
        if different:
            raise ConfigError(f"{folder} holds a run with another {', '.join(different)}; give another --out or remove it")
    if model.exists() and load_bundle(model).provenance.get("steps") == wanted.steps:
        return model
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "geoseg_ros.cli", "train", recipe, *overrides, "--out", str(folder)]
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    with subprocess.Popen(
        [*command, *(["--resume"] if started else [])], env={"OMP_NUM_THREADS": threads, **os.environ}
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if code != 0:
        raise TrainingError(f"the run {folder} ended with exit code {code}; its log is {folder / 'log.txt'}")
    return model


def judge(model: Path, suites: Sequence[str], data: Path, frames: int | None, folder: Path) -> Scores:
    """What the suites say of a model file; kept in ``folder``, and asked again only where the model or the question changed."""
    question = {
        "model": hashlib.sha256(model.read_bytes()).hexdigest(), "suites": list(suites), "frames": frames
    }  # fmt: skip
    file = folder / SCORES
    if file.exists():
        known = json.loads(file.read_text())
        if known.get("question") == question:
            return known["scores"]
    bench = Bench(Pipeline(model), data, frames, lambda items, total, description: iter(items))
    scores: Scores = {}
    skipped: dict[str, str] = {}
    for suite in suites:
        try:
            result = run_suite(suite, bench)
        except (SuiteSkipped, NothingToJudge) as reason:
            skipped[suite] = str(reason)
            continue
        scores[suite] = {s.name: s.value if math.isfinite(s.value) else None for s in result.scores}
    folder.mkdir(parents=True, exist_ok=True)
    write_json({"question": question, "scores": scores, "skipped": skipped}, file)
    return scores
