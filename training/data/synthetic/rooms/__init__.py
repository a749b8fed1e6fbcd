"""Rooms, corridors and halls, what stands in them, and the camera that is carried through."""
