"""Training bodies held out in turn: what settings are searched on, so that no held-out body decides any.

``python -m tests.bench.folds`` prints the command that trains each fold's prior.
"""

from __future__ import annotations

FOLDS: dict[str, tuple[str, ...]] = {
    "a": (
        # shapes of known families
        "animal_Wolf", "cubepet_cat", "cutefish_Tuna", "kaykit_Mage", "mech_Leela", "dino_Parasaurolophus", "man_Suit",
        "mon20_Demon", "blobmon_Orc", "enemy_Snake", "space_Astronaut_FinnTheFrog", "fish_Fish2",
        # whole families
        "dogs_2017", "fox_2016", "skeleton", "kumarobot", "winged_monsters", "kenney_retro", "piranha_2017",
    ),
    "b": (
        "animal_Deer", "cubepet_fox", "cutefish_Shark", "kaykit_Knight", "space_Mech_FinnTheFrog", "dino_Stegosaurus",
        "woman_Dress", "mon20_GreenDemon", "blobmon_Cat", "enemy_Frog", "space_Enemy_Large", "fish_Fish3",
        "khronos_fox", "fruit_2017", "blocky", "kenney_starter", "kolibri", "lowpolyfish", "cyber_walkers",
    ),
}  # fmt: skip
"""Fold -> the bodies and families that its prior does not learn from."""

STEPS, EXAMPLES = 2000, 12_000
"""Of a fold's training: half and less of the shipped prior's."""


def command(fold: str) -> str:
    """What trains the prior of ``fold``."""
    return (
        f"animus3d train-prior --kind points --out build/fold_{fold} --steps {STEPS} "
        f"--set num_examples={EXAMPLES} --set without={','.join(FOLDS[fold])}"
    )


if __name__ == "__main__":
    for name in FOLDS:
        print(command(name))
