"""All rows, in the order of the table."""

from __future__ import annotations

from tests.readers.mesh_rows import MESH_ROWS

ROWS = [*MESH_ROWS]
