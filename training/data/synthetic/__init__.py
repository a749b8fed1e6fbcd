"""The synthetic street world: ray-cast streets with exact depth, semantics, flow, motion and pose, all by
seed."""

from geoseg_ros.training.data.synthetic.config import StreetConfig, default_camera, random_config
from geoseg_ros.training.data.synthetic.street import SyntheticFrame, SyntheticStreet

__all__ = ["StreetConfig", "SyntheticFrame", "SyntheticStreet", "default_camera", "random_config"]
