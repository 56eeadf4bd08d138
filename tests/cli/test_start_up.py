"""What the default path imports: a first sample would wait longer for diffusers than for its motion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("diffusers", "transformers", "peft", "tokenizers", "trimesh", "networkx", "torch._dynamo", "torch._inductor")
CODE = """
import sys
from animus3d_cli.main import main
def imported(*line):
    sys.argv = ["animus3d", *line, "--run", {run!r}]
    main()
    return [name for name in {heavy!r} if name in sys.modules]
imported("reconstruct", "assets/splats/deer.ply")
print("sample imports:", *imported("sample", "--prompt", "a walking deer", "--count", "1"))
print("distill imports:", *imported("distill", "--prompt", "a walking deer", "--steps", "1"))
"""


def test_the_default_prior_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    """A sentence is read, sampled and drawn; then followed, where torch's own optimisers import its compiler."""
    code = CODE.format(run=str(tmp_path / "run"), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "samples" / "samples.html").exists()
    said = [line.split() for line in done.stdout.splitlines() if " imports:" in line]
    assert said[0] == ["sample", "imports:"]
    assert set(said[1][2:]) <= {"torch._dynamo", "torch._inductor"}
