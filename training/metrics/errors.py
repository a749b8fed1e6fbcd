"""What a metric says when it is given something that it cannot judge."""

from geoseg_ros.errors import GeosegError


class MetricError(GeosegError, ValueError):
    """Prediction and truth do not fit together."""


class NothingToJudge(MetricError):
    """No pixel or snippet was left to judge."""
