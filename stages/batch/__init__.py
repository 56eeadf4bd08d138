"""batch: many jobs, each an asset and a sentence, over an engine; nothing lost, nothing done twice.

    animus3d batch jobs.csv --out results/

``settings`` says what a job's stages are set to, ``work`` does one task in a worker, ``queue`` knows what may be done
next, ``driver`` runs it all. Jobs as data, their folder and the engines are in ``stages.jobs``.
"""
