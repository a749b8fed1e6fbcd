"""Streets, what stands and drives on them, and the vehicle that carries the camera."""
