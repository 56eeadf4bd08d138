"""The stages of the pipeline and the blocks they are made of.

==================  ===============================  ==========================================
stage               reads                            writes
==================  ===============================  ==========================================
reconstruct         a splat or mesh file             asset/canonical.ply
reconstruct_photos  photos with known cameras        reconstruction/, asset/canonical.ply
rig                 asset/, the file it is from      rig/weights.safetensors
fit_lora            asset/                           lora/adapter.safetensors
distill             asset/, rig/ and lora/           motion/motion.safetensors
refine              asset/, motion/                  refined/motion.safetensors
track               asset/, refined/ or motion/      tracked/motion.safetensors
render              asset/, a motion                 renders/ or the path that was asked for
export              asset/, a motion                 the path that was asked for
evaluate            asset/, a motion                 eval/metrics.json
ablate              assets and sentences             a folder of runs, and tables
batch               a table of jobs                  a folder of runs
report              whole runs                       the page and tables that were asked for
prefer              asset/, refined/ or motion/      a page for a study, and its key
train_prior         assets/rigged, the zoo           a prior: a folder in diffusers' format
status, view        the whole run                    nothing
doctor              this machine                     nothing
==================  ===============================  ==========================================

Imports point down, layer by layer: ground (``conventions``, ``errors``, ``events``, ``files``, ``settings``, ...),
geometry, meshes, cameras and media, gaussians, raster, run_dir and skeletons, motion and priors, objectives, the parts
of stages, stages, ``ablate`` and ``batch``, the command line. ``tests/test_architecture.py`` lists every file's layer
and holds the rule. Stages never import each other, but for ``ablate`` and ``batch``, which run others; they meet in the
run directory.
"""
