"""All rows, in the order of the table."""

from __future__ import annotations

from tests.readers.bones_rows import BONES_ROWS
from tests.readers.browser_rows import BROWSER_ROWS
from tests.readers.mesh_rows import MESH_ROWS
from tests.readers.splat_glb_rows import SPLAT_GLB_ROWS
from tests.readers.splat_rows import SPLAT_ROWS

ROWS = [*MESH_ROWS, *BONES_ROWS, *SPLAT_GLB_ROWS, *SPLAT_ROWS, *BROWSER_ROWS]
