"""The skinned USD file, skinned again by OpenUSD's own UsdSkel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.errors import BadInput, NotAvailable
from stages.exporting.joint_tracks import SkinnedClip
from stages.exporting.usd_skel import usd_skel_stage, write_usd_skel
from stages.meshes.paint import linear_light
from stages.skeletons.skeleton import skin
from tests.exporting.motions import arm, some_motion


def clips(count: int = 2) -> list[SkinnedClip]:
    joints = arm().joints
    return [
        SkinnedClip(
            name=name, matrices=some_motion(list(joints.parents), joints.heads, 4 + k, seed=k), fps=10, loop=bool(k)
        )
        for k, name in enumerate(("walk on", "walk-on")[:count])
    ]


@pytest.mark.parametrize("suffix", ["usdc", "usda"])
def test_openusd_skins_it_as_we_do(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdSkel, UsdValidation

    rig, colors, out = arm(), torch.rand(40, 3, generator=torch.Generator().manual_seed(1)), tmp_path / f"a.{suffix}"
    write_usd_skel(out, rig, colors, clips(), title="an arm", credit="somebody")
    stage = Usd.Stage.Open(str(out))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and stage.GetTimeCodesPerSecond() == 10
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 5)
    assert stage.GetRootLayer().documentation == "an arm - somebody"
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert not UsdValidation.ValidationContext(validators).Validate(stage)
    root = UsdSkel.Root(stage.GetDefaultPrim())
    skeleton, mesh = UsdSkel.Skeleton.Get(stage, "/Asset/Skeleton"), UsdGeom.Mesh.Get(stage, "/Asset/Mesh")
    assert UsdSkel.Topology(skeleton.GetJointsAttr().Get()).GetNumJoints() == 6
    assert list(UsdSkel.Topology(skeleton.GetJointsAttr().Get()).GetParentIndices()) == list(rig.joints.parents)
    assert UsdSkel.Topology(skeleton.GetJointsAttr().Get()).Validate()
    assert list(skeleton.GetJointNamesAttr().Get()) == list(rig.joints.names)
    shown = np.array(mesh.GetDisplayColorPrimvar().Get())
    np.testing.assert_allclose(shown, linear_light(colors).numpy(), atol=1e-6)

    binding = UsdSkel.BindingAPI(skeleton.GetPrim())
    for name, clip in zip(("walk_on", "walk_on_2"), clips(), strict=True):
        binding.GetAnimationSourceRel().SetTargets([f"/Asset/Skeleton/{name}"])
        cache = UsdSkel.Cache()
        cache.Populate(root, Usd.PrimDefaultPredicate)
        skeleton_query, skinning_query = cache.GetSkelQuery(skeleton), cache.GetSkinningQuery(mesh.GetPrim())
        assert skeleton_query and skinning_query and skeleton_query.HasBindPose()
        expected = skin(rig.skin.vertices.double(), rig.skin.weights.double(), clip.keyed).numpy()
        diagonal = np.linalg.norm(np.ptp(rig.skin.vertices.numpy(), axis=0))
        for t in range(len(expected)):
            points = mesh.GetPointsAttr().Get()
            matrices = skeleton_query.ComputeSkinningTransforms(t)
            assert skinning_query.ComputeSkinnedPoints(matrices, points, t)
            assert np.abs(np.array(points) - expected[t]).max() < 1e-4 * diagonal
            if name == "walk_on":
                low, high = np.array(root.GetExtentAttr().Get(t))
                np.testing.assert_allclose([low, high], [expected[t].min(0), expected[t].max(0)], atol=1e-5)


def test_at_rest_it_is_the_rig() -> None:
    pytest.importorskip("pxr")
    from pxr import UsdSkel

    rig = arm()
    still = SkinnedClip(name="still", matrices=torch.eye(4).repeat(2, 6, 1, 1), fps=10)
    stage = usd_skel_stage(rig, torch.zeros(40, 3), [still])
    query = UsdSkel.Cache().GetSkelQuery(UsdSkel.Skeleton.Get(stage, "/Asset/Skeleton"))
    for at_rest in (True, False):
        matrices = np.array(query.ComputeJointSkelTransforms(0, atRest=at_rest))
        np.testing.assert_allclose(matrices[:, 3, :3], rig.joints.heads.numpy(), atol=1e-6)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pxr")
    rig, first = arm(), clips()[0]
    for wrong in ([], [first, replace(first, fps=11)], [replace(first, matrices=first.matrices[:, :3])]):
        with pytest.raises(BadInput):
            usd_skel_stage(rig, torch.zeros(40, 3), wrong)
    monkeypatch.setitem(__import__("sys").modules, "pxr", None)
    with pytest.raises(NotAvailable, match="pip install"):
        usd_skel_stage(rig, torch.zeros(40, 3), [first])
