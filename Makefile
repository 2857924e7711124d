# make serve            (or bare make) install what serving needs (no TensorFlow) and start the service; PORT=8000
# make docker           the same from a container, by docker compose, to the whole network; PORT=8000
# make test             install the rest and run every test: five to ten minutes on two cores
# make check            formatting, lint, types and the lock file
# make format           format the code, and mend what lint can mend by itself
# make pictures         ask a running service (PORT) for the pictures of README and docs
# make benchmark        requests a second beside other servers: half an hour; needs Linux and wrk. By OpenVINO, which
#                       `make test` installs; CONVSCOPE_ENGINE=onnxruntime make benchmark: by what the peers run too
# make benchmark-short  within a minute: without peers, workers, batch path and soak
# make models           train every model from the original files (hours)
# make clean            remove everything installed and built, but not the benchmarks' reports, data/ and checkpoints/
# make help             print this

PORT ?= 8000
PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
# --inexact: `make serve` after `make test` keeps what the tests need.
SYNC = $(UV) sync --frozen --inexact --quiet

.PHONY: serve docker test check format pictures benchmark benchmark-short models clean help
.DEFAULT_GOAL := serve

.uv/bin/uv:
	@echo "uv is not installed: bringing it into .uv/ (needs pip or venv of $(PYTHON))"
	@$(PYTHON) -m venv .uv >/dev/null 2>&1 && .uv/bin/python -m pip install --quiet uv \
	  || $(PYTHON) -m pip install --quiet --target .uv uv \
	  || { rm -rf .uv; echo "could not: install uv yourself, see https://docs.astral.sh/uv/"; exit 1; }

serve: | $(UV)
	@$(SYNC) --no-default-groups
	@PORT=$(PORT) exec .venv/bin/python -m service

.venv/everything: pyproject.toml uv.lock | $(UV)
	@$(SYNC) --all-extras --all-groups --compile-bytecode # the tests start many processes
	@touch $@

test: .venv/everything
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: .venv/everything
	$(UV) lock --check --quiet
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: .venv/everything
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

benchmark: .venv/everything
	.venv/bin/python -m tests.benchmarks.serving

benchmark-short: .venv/everything
	.venv/bin/python -m tests.benchmarks.serving --short

models: .venv/everything
	.venv/bin/python -m training fetch
	.venv/bin/python -m training train all --resume

pictures:
	$(PYTHON) docs/pictures.py http://127.0.0.1:$(PORT)

docker:
	docker compose up --build

# A report took half an hour to make.
clean:
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@mkdir -p build
	find build ! -type d ! -path 'build/benchmark/report*.json' -delete
	find build -type d -empty -delete

help:
	@sed -n '/^#/!q; s/^# //p' $(firstword $(MAKEFILE_LIST))
