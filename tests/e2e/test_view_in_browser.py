"""The page of ``view`` in headless Chromium, with bones whose names try to be more than names."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.files import readable
from stages.run_dir import RunDir
from stages.skeletons.stored import rig_metadata, rig_tensors
from stages.view import LOOK_S, ViewConfig, Viewer
from tests.campaigns.hostile_texts import FLAG, PIECES
from tests.exporting.browser import BROWSER, chromium, until
from tests.gaussians.test_ply import splat
from tests.motion.test_skeletal import arm

if BROWSER is None:
    pytest.skip("Chromium is not installed: nothing here can open a page", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")

NAMES = (" ".join(PIECES[:20]), "half \ud83d, \udcff, a\0b, " + " ".join(PIECES[20:24]))


def test_names_of_bones_are_text(tmp_path: Path) -> None:
    run, rig = RunDir(tmp_path / "run"), arm()
    rig = replace(rig, joints=replace(rig.joints, names=NAMES))
    chosen = torch.arange(len(rig.skin.vertices)) % 30
    run.put_asset(replace(splat(1, count=30).select(chosen), means=rig.skin.vertices), "arm.ply", force=False)
    folder = run.stage("rig")
    folder.begin(config={}, inputs={}, total_steps=1, force=False)
    folder.write_result("weights.safetensors", rig_tensors(rig), rig_metadata(rig))
    folder.finish(1)
    viewer = Viewer(run, ViewConfig(port=18140))
    try:
        viewer.bones.names.value = True
        viewer.tick(1.5 * LOOK_S)
        labels = [label.text for label in viewer.bones.labels]
        assert labels == [readable(name) for name in NAMES] != list(NAMES)
        with chromium() as browser:
            page, errors = browser.new_page(), []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
            page.goto(f"http://127.0.0.1:{viewer.port}")
            until(page, "document.body.innerText.includes('Gaussians')")
            ends = time.monotonic() + 3.0
            while time.monotonic() < ends:
                viewer.tick(1.5 * LOOK_S + time.monotonic())
                page.wait_for_timeout(200)
            assert not page.evaluate(f"() => window.{FLAG} !== undefined")
            assert errors == []
    finally:
        viewer.stop()
