"""Examples for the self-supervised task: random triplets with poses, a teacher and a network that know nothing."""

from __future__ import annotations

import torch

from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.tasks import create_task

WIDTH, HEIGHT = 64, 32


def images(count, seed):
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def intrinsics(count=2):
    return torch.tensor([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]).repeat(count, 1, 1)


def pose(x=0.0, z=0.0, count=2):
    matrix = torch.eye(4).repeat(count, 1, 1)
    matrix[:, 0, 3], matrix[:, 2, 3] = x, z
    return matrix


def triplet(frames=("image", "previous", "next"), count=2):
    data = {name: images(count, seed) for seed, name in enumerate(frames)}
    data |= {f"{name}_clean": data[name] for name in frames} | {"K": intrinsics(count)}
    return data | {"previous_from_current": pose(z=0.5), "next_from_current": pose(z=-0.5)}


def save_teacher(path):
    torch.manual_seed(0)
    network = create_network("perception")
    torch.nn.init.zeros_(network.motion_head.predict.bias)  # half of what it sees moves
    torch.nn.init.normal_(network.motion_head.predict.weight)
    save_bundle(Bundle("perception", {}, CAMVID_11, (WIDTH, HEIGHT), weights=network.state_dict()), path)
    return str(path)


def perception_task(loss):
    torch.manual_seed(0)
    data = {"drive": {"kind": "any"}}
    settings = {"name": "perception", "encoder": "lite"}
    recipe = Recipe(task="self_supervised", steps=1, crop=(WIDTH, HEIGHT), data=data, loss=loss, network=settings)
    return create_task("self_supervised", recipe)


def reached(network):
    return {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
