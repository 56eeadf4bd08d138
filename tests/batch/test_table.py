"""Tables of jobs: what they may look like, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.batch.settings import asset_name, sets, settings_of
from stages.errors import BadInput
from stages.jobs.job import Job
from stages.jobs.table import product, read_table


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "jobs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path) -> list[Job]:
    return read_table(path, sets, settings_of)


def refused(folder: Path, text: str, encoding: str = "utf-8") -> str:
    with pytest.raises(BadInput) as caught:
        read(table(folder, text, encoding))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_become_settings_of_the_stages(tmp_path: Path) -> None:
    text = "asset,prompt,seed,prior,distill.motion,render.frames,fit-lora.rank,refined\n"
    text += 'deer.ply,"it jumps, then rests",3,,skeleton,7,2,true\n\nfox.glb,a running fox,,,field,,,\n'
    deer, fox = read(table(tmp_path, text))
    assert (deer.asset, deer.prompt) == ("deer.ply", "it jumps, then rests")
    assert deer.file == str(tmp_path / "deer.ply")
    settings = settings_of(deer.settings)
    assert (settings.distill.seed, settings.lora.seed, settings.refine.seed) == (3, 3, 3)
    assert (settings.distill.motion.kind, settings.render.frames, settings.lora.rank) == ("skeleton", 7, 2)
    assert settings.refined and settings.rigged
    assert settings_of(fox.settings).distill.motion.kind == "hexplane"
    assert settings_of(fox.settings).render.frames is None


def test_presets_are_those_of_the_command_line() -> None:
    from stages.distill import PRESETS

    assert settings_of({}).distill == PRESETS["default"]
    assert settings_of({"objective": "msd"}).distill == PRESETS["points-msd"]
    assert settings_of({"objective": "msd"}).compares and not settings_of({}).compares
    assert settings_of({"prior": "embedded-video"}).distill == PRESETS["video"]
    assert settings_of({"objective": "sds"}).distill.score.objective == "sds"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_any_language_and_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    [job] = read(table(tmp_path, "prompt,asset\r\nein hüpfendes Reh 🦌,Reh_ü.ply\r\n", encoding))
    assert (job.asset, job.prompt) == ("Reh_ü.ply", "ein hüpfendes Reh 🦌")
    assert job.name.isascii()


def test_names_tell_jobs_apart_and_stay(tmp_path: Path) -> None:
    lines = "deer.ply,it walks,1\ndeer.ply,it walks,2\ndeer.ply,it runs,1\nother/deer.ply,it walks,1\n"
    jobs = read(table(tmp_path, "asset,prompt,seed\n" + lines))
    assert len({job.name for job in jobs}) == 4
    again = read(table(tmp_path, "seed,asset,prompt\n2,deer.ply,it walks\n"))
    assert again[0].name == jobs[1].name


def test_assets_are_shared_by_jobs_that_can(tmp_path: Path) -> None:
    plain = asset_name("deer.ply", {"seed": "1"})
    assert plain == asset_name("deer.ply", {"seed": "2", "render.frames": "3"})
    others = [{"up": "z"}, {"motion": "skeleton"}, {"objective": "msd"}, {"objective": "msd", "seed": "1"}]
    assert len({plain, *(asset_name("deer.ply", one) for one in others), asset_name("x/deer.ply", {})}) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("asset,prompt,distil.seed\na.ply,b,1\n", ("'distil.seed'", "distill.seed")),
        ("asset,prompt,hexplan.features\na.ply,b,1\n", ("'hexplan.features'", "hexplane.features")),
        ("asset,prompt,rate\na.ply,b,1\n", ("'rate'",)),
        ("asset,seed\na.ply,1\n", ("'prompt'",)),
        ("asset,prompt,seed,seed\na.ply,b,1,1\n", ("two columns", "'seed'")),
        ("asset,prompt,seed\na.ply,b,1\na.ply,c,x\n", ("line 3", "'x'")),
        ("asset,prompt,seed\na.ply,b,1\n\n\na.ply,,3\n", ("line 5", "no prompt")),
        ('asset,prompt\n"a\nb.ply",b\n,c\n', ("line 4", "no asset")),
        ("asset,prompt\na.ply,it walks, slowly\n", ("line 2", "3 cells")),
        ("asset,prompt\na.ply,b\nc.ply,d\na.ply,b\n", ("line 4", "line 2")),
        ("asset,prompt,name\na.ply,b,../up\n", ("line 2", "'../up'")),
        ("asset,prompt,name\na.ply,b,One\na.ply,c,one\n", ("line 3", "line 2")),
        ("asset,prompt,motion\na.ply,b,wings\n", ("line 2", "'wings'", "skeleton")),
        ("asset,prompt,objective\na.ply,b,best\n", ("line 2", "'best'")),
        ("asset,prompt,video\na.ply,b,avi\n", ("line 2", "'avi'")),
        ("asset,prompt\n", ("no jobs",)),
        ("", ("'asset'",)),
        ('asset,prompt\n"a.ply,b\n', ("line 2", "CSV")),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    told = refused(tmp_path, text)
    assert "jobs.csv" in told and all(one in told for one in said), told


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    assert "UTF-8" in refused(tmp_path, "asset,prompt\nReh_ü.ply,b\n", "latin-1")
    with pytest.raises(BadInput, match=r"none\.csv"):
        read(tmp_path / "none.csv")


def test_many_bad_lines_are_one_line(tmp_path: Path) -> None:
    told = refused(tmp_path, "asset,prompt,seed\n" + "a.ply,b,x\n" * 50)
    assert "line 2" in told and "47 more" in told


def test_every_asset_with_every_sentence(tmp_path: Path) -> None:
    for name in ("b.ply", "a.glb", "notes.txt", ".hidden.ply"):
        (tmp_path / name).touch()
    (tmp_path / "said.txt").write_text("it walks\n\n# it sleeps\nit runs\nit walks\n", encoding="utf-8")
    jobs = product(tmp_path, tmp_path / "said.txt", (".ply", ".glb"), settings_of)
    assert [(job.asset, job.prompt) for job in jobs] == [
        ("a.glb", "it walks"), ("a.glb", "it runs"), ("b.ply", "it walks"), ("b.ply", "it runs"),
    ]  # fmt: skip
    for wrong in ((tmp_path / "none", tmp_path / "said.txt"), (tmp_path, tmp_path / "none")):
        with pytest.raises(BadInput, match="none"):
            product(*wrong, (".ply",), settings_of)
