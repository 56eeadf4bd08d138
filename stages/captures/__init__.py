"""Photos with known cameras: a NeRF ``transforms.json`` or a COLMAP sparse model, as one ``Capture``."""

from stages.captures.capture import Capture, Photo, PhotoView
from stages.captures.read import is_capture, read_capture

__all__ = ["Capture", "Photo", "PhotoView", "is_capture", "read_capture"]
