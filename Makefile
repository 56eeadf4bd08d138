# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
POINTS := # options of bench-points, such as --distill --processes 2 or --prior FOLDER
GPU := # options of gpu, such as --again or the names of parts
COUNT := 10000
SEED := 0
CAMPAIGN := all# or one, with options: "kill --count 20"
PUBLISHED := # options of bench-published, such as --model THUDM/CogVideoX-5b
ONE_THREAD := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

.PHONY: demo test test-slow pictures check bench bench-ablation bench-busy bench-evaluations bench-exact bench-exact-points bench-memory bench-needs bench-orientation bench-player bench-points bench-published bench-raster bench-skeleton bench-step bench-undecided bench-verbs bench-views campaign fuzz readers samples wheel clean gpu

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,usd,physics]'
	@touch $@

demo: $(STAMP)  ## animate the sample deer; ends with the path of an mp4. Interrupted, it goes on where it was.
	$(BIN)/animus3d reconstruct assets/splats/deer.ply --run $(DEMO)
	$(BIN)/animus3d distill --run $(DEMO) --prompt "a jumping deer"
	$(BIN)/animus3d refine --run $(DEMO)
	$(BIN)/animus3d eval --run $(DEMO)
	$(BIN)/animus3d render --run $(DEMO) --frames 31 --azimuth 70 $(DEMO)/out.mp4
	@echo "The animated deer: $(abspath $(DEMO)/out.mp4)"

test: $(STAMP)  ## the test suite
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(STAMP)  ## every line of the README, with few steps
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow

pictures: $(STAMP)  ## make the pictures of the README again, and the page of commands
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_commands.py

check: $(STAMP)  ## what CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy animus3d_cli stages
	$(MAKE) test

bench: bench-raster bench-step bench-memory bench-exact bench-verbs  ## all benchmarks; results in tests/bench/results

bench-exact: $(STAMP)  ## MSD and SDS on the exact prior; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_exact

bench-exact-points: $(STAMP)  ## MSD, SDS and match on the exact prior of points; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_exact_points

bench-ablation: $(STAMP)  ## the paper's ablations on that prior, reuses saved results, runs only missing ones
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_ablation

bench-undecided: $(STAMP)  ## whether the steps of SDS and of MSD want the same motion
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_undecided

bench-evaluations: $(STAMP)  ## what fewer evaluations of a model cost on that prior, from saved results
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_evaluations

bench-raster: $(STAMP)  ## rasterizer backends; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_raster

bench-step: $(STAMP)  ## the parts of a distill step; the last line is JSON
	@$(BIN)/python -m tests.bench.bench_step

bench-needs: $(STAMP)  ## main memory that each stage takes, beside its own estimate; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_needs

bench-busy: $(STAMP)  ## a short distill alone and beside two busy loops; the last line is JSON
	@HF_HUB_OFFLINE=1 $(BIN)/python -m tests.bench.bench_busy

bench-memory: $(STAMP)  ## memory of published models at true size, computed; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_memory

bench-orientation: $(STAMP)  ## how Gaussians turn and stretch, against the bodies' own deformation; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_orientation

bench-player: $(STAMP)  ## the HTML player: bytes, dB, and seconds in headless Chromium; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_player

bench-skeleton: $(STAMP)  ## bones: rigs, weights, distillation, physics (40 minutes); the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_skeleton

bench-views: $(STAMP)  ## following videos: renders, one and two cameras, joint views (two hours); the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_views

bench-published: $(STAMP)  ## seconds, utilisation, memory and minutes of a published model, random weights; on a card if there is one
	@HF_HUB_OFFLINE=1 $(BIN)/python -m tests.bench.bench_published $(PUBLISHED)

gpu:  ## everything that only a card can say, in six minutes, with the Python that is there; results as above
	@$(PYTHON) -m tests.bench.gpu $(GPU)

bench-points: $(STAMP)  ## the points prior on bodies never trained on, against their own trajectories; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_points $(POINTS)

bench-verbs: $(STAMP)  ## what a judge of motions calls what distill makes of bodies never trained on; the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.bench.bench_points --distill --seeds 1 --processes 2 $(POINTS)

fuzz: $(STAMP)  ## damaged files for every reader: no traceback, hang or bomb; goes on where it was, the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.fuzz --count $(COUNT) --seed $(SEED)

campaign: $(STAMP)  ## faults on purpose: kills, full disks, flipped bits (hours); each goes on where it was, the last line is JSON
	@$(ONE_THREAD) $(BIN)/python -m tests.campaigns $(CAMPAIGN)

readers: $(STAMP)  ## what we write, read by other people's programs (npm; Blender where ANIMUS3D_BLENDER_PYTHON says)
	npm ci --ignore-scripts --no-fund --no-audit --prefix tests/readers
	@$(ONE_THREAD) $(BIN)/python -m tests.readers
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow tests/readers tests/exporting/test_other_programs.py

samples: $(STAMP)  ## make the sample splats again from assets/rigged
	$(BIN)/python -m stages.zoo.samples

wheel: $(STAMP)
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(DEMO) $(VERBS) dist build *.egg-info
