"""Where a bag keeps its ground truth: beside the camera, in the conventions of the node's outputs."""

from __future__ import annotations

from collections.abc import Iterable

TRUTH = {
    "semantic": "gt/semantic/image",
    "depth": "gt/depth/image",
    "flow": "gt/flow/image",
    "motion": "gt/motion/mask",
}
"""Ground truth by name, and how its topic ends."""

TRUTH_ODOMETRY = "gt/odom"


def truth_topics(topics: Iterable[str], label_topic: str | None = None) -> dict[str, str]:
    """Of a bag's topics those that hold ground truth, by the names of :data:`TRUTH`; that of semantics is ``label_topic`` where
    it is given, whether the bag has it or not."""
    names = list(topics)
    found = {name: topic for name, ending in TRUTH.items() if (topic := _ending(names, ending))}
    return found if label_topic is None else {**found, "semantic": label_topic}


def true_odometry(topics: Iterable[str]) -> str | None:
    """Of a bag's topics the one that holds the camera's true odometry."""
    return _ending(topics, TRUTH_ODOMETRY)


def _ending(topics: Iterable[str], ending: str) -> str | None:
    return min((topic for topic in topics if topic.endswith("/" + ending)), default=None)
