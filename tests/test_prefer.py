"""prefer: what is compared is alike but for the motion, and the page cannot tell which is which."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stages.errors import AnimusError, BadInput, MissingStage
from stages.events import silent
from stages.prefer import PreferConfig, put_together, view_of
from stages.prefer import run as prefer
from stages.reporting.record import distinct_names
from stages.run_dir import RunDir
from tests.exporting.runs import PROMPT, small_splat
from tests.reporting.runs import run_with

QUICK = PreferConfig(frames=3, size=32)


def test_the_page_holds_random_names_only_and_the_key_the_rest(tmp_path: Path) -> None:
    paths = [
        run_with(tmp_path / method / verb, prompt=verb).path for verb in ("walk", "jump") for method in ("x1", "x2")
    ]
    key_path = prefer(paths, QUICK, silent, out=tmp_path / "page.html")
    page, key = (tmp_path / "page.html").read_text(encoding="utf-8"), json.loads(key_path.read_text())
    assert key_path.name == "page.key.json"
    told = {one["prompt"]: {clip["name"]: clip["run"] for clip in one["clips"].values()} for one in key["sets"]}
    assert told == {
        verb: {method: str(tmp_path / method / verb) for method in ("x1", "x2")} for verb in ("walk", "jump")
    }
    code = re.sub(r">[\w+/=]{200,}</script>", "></script>", page)
    for name in ("x1", "x2", str(tmp_path), "motion.mp4", "field"):
        assert name not in code
    names = [name for one in key["sets"] for name in one["clips"]]
    assert len(names) == 4 and all(page.count(f'id="{name}" data-mime="video/mp4"') == 1 for name in names)
    assert page.count("<script") == page.count("</script") and page.count("image/webp") == 1


def test_no_prompt_breaks_out_of_the_page(tmp_path: Path) -> None:
    paths = [run_with(tmp_path / name, prompt=PROMPT).path for name in "ab"]
    prefer(paths, QUICK, silent, out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    study = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)
    assert study and json.loads(study[1])["sets"][0]["prompt"] == PROMPT


def test_all_of_a_set_are_seen_alike(tmp_path: Path) -> None:
    """One view for the set, wide enough for the widest motion."""
    paths = [run_with(tmp_path / name).path for name in "ab"]
    scene = put_together(paths, "cpu")[0]
    view = view_of(scene.assets, QUICK)
    for asset in scene.assets:
        low, high = asset.box()
        assert (view.low <= low).all() and (view.high >= high).all()


def test_runs_of_a_seed_are_compared_where_each_seed_has_several(tmp_path: Path) -> None:
    paths = {
        (seed, name): run_with(tmp_path / f"seed-{seed}" / name, seed=seed).path for seed in (0, 1) for name in "ab"
    }

    def names(*wanted: tuple[int, str]) -> list[list[str]]:
        scenes = put_together([paths[one] for one in wanted], "cpu")
        return [distinct_names(scene.paths) for scene in scenes]

    assert names(*paths) == [["a", "b"], ["a", "b"]]
    assert names((0, "a"), (1, "a")) == [["seed-0", "seed-1"]]
    assert names((0, "a"), (1, "a"), (0, "b")) == [["seed-0/a", "seed-0/b", "seed-1/a"]]


def test_a_page_that_has_a_key_is_kept(tmp_path: Path) -> None:
    paths = [run_with(tmp_path / name).path for name in "ab"]
    key = prefer(paths, QUICK, silent, out=tmp_path / "page.html")
    before = key.read_bytes(), (tmp_path / "page.html").read_bytes()
    with pytest.raises(BadInput, match="can only be counted with it"):
        prefer(paths, QUICK, silent, out=tmp_path / "page.html")
    assert before == (key.read_bytes(), (tmp_path / "page.html").read_bytes())


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (BadInput, "only run of its asset with the prompt 'a jumping goat'"),
        (BadInput, "only run of its asset with the prompt 'a walking goat'"),
        (MissingStage, r"b has no motion yet\. Run first: animus3d distill"),
        (BadInput, "so many at once"),
        (BadInput, r"End it in \.html"),
        (BadInput, "is not a run"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, error: type[AnimusError], match: str) -> None:
    paths, out = [run_with(tmp_path / "a").path], tmp_path / "page.html"
    if "jumping" in match:
        paths += [run_with(tmp_path / "c").path, run_with(tmp_path / "b", prompt="a jumping goat").path]
    elif "walking" in match:
        paths += [run_with(tmp_path / "b", count=30).path]  # the same words about another asset
    elif "no motion" in match:
        bare = RunDir(tmp_path / "b")
        bare.put_asset(small_splat(), "goat.ply", force=True)
        paths += [bare.path]
    elif "many" in match:
        paths += [run_with(tmp_path / str(index)).path for index in range(6)]
    elif "not a run" in match:
        paths += [tmp_path]
    else:
        out = tmp_path / "page.txt"
    with pytest.raises(error, match=match):
        prefer(paths, QUICK, silent, out=out)
    assert not list(tmp_path.glob("page*"))
