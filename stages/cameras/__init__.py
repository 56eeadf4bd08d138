"""A camera, and where to put one around an asset."""

from stages.cameras.camera import Camera, fitting_radius, orbit_camera, sample_orbit_cameras, upright_camera

__all__ = ["Camera", "fitting_radius", "orbit_camera", "sample_orbit_cameras", "upright_camera"]
