.PHONY: install check test bench docs wheel clean

install:  ## everything a developer needs; torch first, so that its CPU build is taken
	python -m pip install torch==2.13.0
	python -m pip install -e ".[cpu,train,notes,batch,atlas,ray,bench,test,dev]"

check:  ## lint, format, types, architecture
	ruff check .
	ruff format --check .
	mypy
	python -m pytest tests/test_architecture.py

test:
	python -m pytest

bench:  ## ratios against named peers, measured in one run
	python -m benchmarks.speed

docs:  ## command reference and terminal picture, from the commands themselves
	python -m docs.reference > docs/cli.md
	python -m docs.terminal > docs/terminal.part && mv docs/terminal.part docs/terminal.svg

wheel:
	python -m build --wheel

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
