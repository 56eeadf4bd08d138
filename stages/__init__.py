"""The stages of the pipeline and the blocks they are made of.

==================  ===============================  ==========================================
stage               reads                            writes
==================  ===============================  ==========================================
reconstruct         a splat or mesh file             asset/canonical.ply
reconstruct_photos  photos with known cameras        reconstruction/, asset/canonical.ply
fit_lora            asset/                           lora/adapter.safetensors
distill             asset/, lora/                    motion/field.safetensors
refine              asset/, motion/                  refined/field.safetensors
render              asset/, refined/ or motion/      renders/ or the path that was asked for
export              asset/, refined/ or motion/      the path that was asked for
evaluate            asset/, refined/ or motion/      eval/metrics.json
train_prior         assets/rigged, the zoo           a prior: a folder in diffusers' format
status, view        the whole run                    nothing
doctor              this machine                     nothing
==================  ===============================  ==========================================

Imports point down: command -> stage -> block -> ``conventions``, ``errors``, ``events``. Stages never import each
other; they meet in the run directory. Between blocks only ``raster -> gaussians, cameras``, ``objectives -> priors``,
``zoo -> gaussians, cameras``, ``captures -> cameras``, ``fitting -> gaussians, cameras, captures, raster, metrics`` and
``exporting -> gaussians``. ``tests/test_architecture.py`` holds these rules.
"""
