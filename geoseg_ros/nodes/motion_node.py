"""The perception node with only flow, motion and ego-motion as outputs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from geoseg_ros.messages import OUTPUTS
from geoseg_ros.nodes import perception_node


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    return perception_node.main(
        args, [topic for topic in OUTPUTS if topic.startswith(("flow/", "motion/", "ego_motion"))]
    )


if __name__ == "__main__":
    sys.exit(main())
