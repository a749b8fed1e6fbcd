"""All that moves, placed at an instant: its mesh in the world, where each part was before, and where it may
be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.training.data.synthetic.atlas import Atlas
from geoseg_ros.training.data.synthetic.ground import Ground
from geoseg_ros.training.data.synthetic.materials import MaterialTable
from geoseg_ros.training.data.synthetic.mesh import Mesh, apply, merge
from geoseg_ros.training.data.synthetic.mover import Mover, body_poses
from geoseg_ros.training.data.synthetic.tracer import TracedMesh

MOVING_SPEED = 0.2  # m/s: slower counts as standing
_RANGE = 140.0  # metres; movers farther from the camera are left out
_BEHIND = (
    25.0  # metres; movers farther behind the camera are left out (nearer ones may cast shadows into view)
)
_NEAR = 0.3


@dataclass(frozen=True)
class MovingParts:
    """P rigid parts at one instant: their mesh, the part of each triangle, ``previous_from_current`` (P×4×4,
    world points of a part to where they were), ``moves`` (P bool: faster than MOVING_SPEED), ``seen`` (H×W
    bool: pixels that may see one).
    """

    mesh: TracedMesh
    part_of_triangle: np.ndarray
    previous_from_current: np.ndarray
    moves: np.ndarray
    seen: np.ndarray


class MovingScene:
    """The movers of a street, ready to be placed at any time."""

    def __init__(self, movers: Sequence[Mover], ground: Ground, table: MaterialTable, atlas: Atlas) -> None:
        self._movers, self._ground, self._table, self._atlas = movers, ground, table, atlas
        self._meshes = [merge([part.mesh for part in mover.figure.parts]) for mover in movers]
        self._vertex_counts = [np.array([len(p.mesh.vertices) for p in m.figure.parts]) for m in movers]
        self._triangle_counts = [np.array([len(p.mesh.faces) for p in m.figure.parts]) for m in movers]

    def at(
        self, time: float, before: float, world_from_camera: np.ndarray, camera: PinholeCamera
    ) -> MovingParts | None:
        """The movers near the camera at a time, and where they were before; None where there are none."""
        camera_from_world = np.linalg.inv(world_from_camera)
        bodies = body_poses(self._movers, self._ground, time)
        chosen = [index for index, body in enumerate(bodies) if _near(camera_from_world @ body[:, 3])]
        if not chosen:
            return None
        movers = [self._movers[index] for index in chosen]
        now, then, moves = [], [], []
        for mover, body, past in zip(
            movers, bodies[chosen], body_poses(movers, self._ground, before), strict=True
        ):
            now += mover.part_poses(body, time)
            then += mover.part_poses(past, before)
            speed = abs(mover.distance(time) - mover.distance(before)) / (time - before)
            moves += [speed > MOVING_SPEED] * len(mover.figure.parts)
        poses = np.array(now)
        mesh = merge([self._meshes[index] for index in chosen])
        vertex_part = np.repeat(
            np.arange(len(poses)), np.concatenate([self._vertex_counts[i] for i in chosen])
        )
        placed = _placed(mesh, poses.astype(np.float32), vertex_part)
        figure_starts = np.cumsum([0] + [len(self._meshes[index].vertices) for index in chosen[:-1]])
        return MovingParts(
            TracedMesh(placed, self._table, self._atlas),
            np.repeat(
                np.arange(len(poses), dtype=np.int32),
                np.concatenate([self._triangle_counts[i] for i in chosen]),
            ),
            np.array(then) @ np.linalg.inv(poses),
            np.array(moves),
            _seen(placed.vertices, figure_starts, camera_from_world, camera),
        )


def _near(position: np.ndarray) -> bool:
    """Whether a position in the camera's optical frame lies where a mover may matter."""
    return position[2] > -_BEHIND and float(np.linalg.norm(position[:3])) < _RANGE


def _placed(mesh: Mesh, poses: np.ndarray, vertex_part: np.ndarray) -> Mesh:
    rotation = poses[vertex_part, :3, :3]
    vertices = np.einsum("nij,nj->ni", rotation, mesh.vertices) + poses[vertex_part, :3, 3]
    return Mesh(vertices, np.einsum("nij,nj->ni", rotation, mesh.normals), mesh.uv, mesh.faces, mesh.material)


def _seen(
    vertices: np.ndarray, starts: np.ndarray, camera_from_world: np.ndarray, camera: PinholeCamera
) -> np.ndarray:
    """Pixels inside the bounding rectangle of some figure; starts: the first vertex of each."""
    points = apply(camera_from_world[:3], vertices)
    z = np.maximum(points[:, 2], 1e-6)
    pixels = np.stack(
        [points[:, 0] / z * camera.fx + camera.cx, points[:, 1] / z * camera.fy + camera.cy], -1
    )
    low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
    near, far = np.minimum.reduceat(points[:, 2], starts), np.maximum.reduceat(points[:, 2], starts)
    mask = np.zeros((camera.height, camera.width), bool)
    size = np.array([camera.width, camera.height])
    for (x0, y0), (x1, y1), closest in zip(
        np.clip(low - 1, 0, size).astype(int), np.clip(high + 2, 0, size).astype(int), near
    ):
        if closest < _NEAR:
            x0, y0, (x1, y1) = 0, 0, size
        mask[y0:y1, x0:x1] = True
    return mask if (far > 0).any() else np.zeros_like(mask)
