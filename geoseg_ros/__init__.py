"""geoseg_ros: semantics, depth, optical flow, ego-motion and motion segmentation from one calibrated camera."""

__version__ = "0.1.0"
