# Two commands matter to a newcomer: `make demo` and `make test`. Each makes its own environment.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= .venv-demo
BARE ?= .venv-bare
LOWEST ?= .venv-lowest
INTEGRATIONS ?= .venv-integrations
SANITIZE ?= .venv-sanitize
CLANG ?= .venv-clang
BIN = $(VENV)/bin
# Two test processes on two cores: BLAS with threads of its own beside them would only make them wait.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PIP = -m pip --disable-pip-version-check install --quiet
export PIP_DISABLE_PIP_VERSION_CHECK = 1
SOURCES = pyproject.toml CMakeLists.txt $(wildcard native/*)

.PHONY: help demo test lint types tests slow crash fuzz sanitize integrations wheel wheel-test lowest clang claims bench docs format clean

help:
	@echo "make demo    the main job on real text, in its own environment"
	@echo "make test    lint, types, tests, wheel, the native code by clang: what CI runs"
	@echo "make slow    the long suites in full"
	@echo "make crash   1,000 kills and every fault; make fuzz: 200,000 damaged files, thousands of hostile ones"
	@echo "make sanitize  the native code under the address, undefined and thread sanitizers"
	@echo "make claims  run every paper's claims test and rewrite the record of figures"
	@echo "make bench   the benchmarks against peers, and the README's table"
	@echo "make docs    build the documentation"

$(DEMO)/.done: $(SOURCES)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) --upgrade pip
	$(DEMO)/bin/python $(PIP) ".[plot]"
	@touch $@

demo: $(DEMO)/.done
	$(DEMO)/bin/nearfield demo

# torch first: later requirements are then met by it and pull nothing larger.
$(VENV)/.done: $(SOURCES) constraints.txt requirements-test.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --upgrade pip
	$(BIN)/python $(PIP) -c constraints.txt torch
	$(BIN)/python $(PIP) -c constraints.txt -r requirements-test.txt
	$(BIN)/python $(PIP) --no-build-isolation -c constraints.txt -e ".[all]"
	@touch $@

test: lint types tests integrations wheel-test lowest clang

lint: $(VENV)/.done
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.done
	$(BIN)/mypy

tests: $(VENV)/.done
	$(ONE_THREAD) $(BIN)/pytest -m "not slow" -n 2

# The long suites: every damaged byte, files of gigabytes, whole corpora.
slow: $(VENV)/.done
	$(BIN)/pytest -m slow

# Kills, faults and power cuts in full; the counts in the README are of such a run.
crash: $(VENV)/.done
	$(BIN)/python scripts/run_crash.py --kills 1000
	$(BIN)/python scripts/make_results.py

fuzz: $(VENV)/.done
	$(ONE_THREAD) NEARFIELD_FUZZ=10 $(BIN)/pytest -q -n 2 -rP tests/collection/test_corrupt.py tests/search/test_damaged_indexes.py tests/hostile

# The native code under GCC's sanitizers: in programs of its own, and by the tests that reach most of it. Tests of kernels
# take every instruction set in turn, the others the best one, and some of them each of the rest. What Python and others
# allocate, keep, and free in another way (hnswlib) is none of ours.
THREADED = tests/indexes tests/search/test_compiled.py tests/search/test_ivf.py tests/search/test_packed_graph.py
# What changes and is searched at once; no forks, behind which that sanitizer allows no thread.
LIVE = tests/search/test_live.py tests/collection/test_graphs.py
NARROW = $(THREADED) tests/search/test_filtered.py
SANITIZED = $(NARROW) tests/native tests/search/test_damaged_indexes.py tests/search/test_updates.py \
	tests/search/test_tiers.py tests/search/test_walked.py tests/conformance/test_indexes.py
SANITIZED_PYTEST = $(ONE_THREAD) $(SANITIZE)/bin/python -m pytest -q -p no:cacheprovider --capture=sys -n 2 -m "not slow"
ADDRESS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 UBSAN_OPTIONS=print_stacktrace=1
THREAD = LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1"
OTHER_SETS = from nearfield.numerics.kernels import info; i = info(); \
	print(*(s for s in i['compiled'] if s not in (*i['not run'], i['isa'])))
define build-sanitized
	PATH=$(CURDIR)/$(BIN):$$PATH $(SANITIZE)/bin/python $(PIP) --no-build-isolation --no-deps --force-reinstall \
		-C cmake.define.NEARFIELD_SANITIZE=$(1) -C build-dir=build/$(1) -C cmake.build-type=Debug .
	build/$(1)/native/agree
	build/$(1)/native/race
endef

sanitize: $(VENV)/.done
	$(PYTHON) -m venv $(SANITIZE)
	$(BIN)/python -c "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\n')" \
		> $$(ls -d $(SANITIZE)/lib/python*/site-packages)/borrowed.pth
	$(call build-sanitized,address)
	$(ADDRESS) $(SANITIZED_PYTEST) $(SANITIZED)
	for isa in $$($(BIN)/python -c "$(OTHER_SETS)"); do \
		NEARFIELD_ISA=$$isa $(ADDRESS) $(SANITIZED_PYTEST) $(NARROW) || exit 1; \
	done
	$(call build-sanitized,thread)
	NEARFIELD_THREADS=4 $(THREAD) $(SANITIZED_PYTEST) $(THREADED)
	NEARFIELD_THREADS=4 $(THREAD) $(SANITIZED_PYTEST) -k "not forked" $(LIVE)
	NEARFIELD_THREADS=4 $(THREAD) $(SANITIZED_PYTEST) -k "thread or on_disk_finds or damaged_node" $(SANITIZED)

# Adapters against the suites that their ecosystems publish, which bring plugins that other tests do not want.
$(INTEGRATIONS)/.done: requirements-integrations.txt
	$(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python $(PIP) --upgrade pip
	$(INTEGRATIONS)/bin/python $(PIP) -r requirements-integrations.txt
	@touch $@

integrations: wheel $(INTEGRATIONS)/.done
	$(INTEGRATIONS)/bin/python $(PIP) dist/wheel/*.whl
	$(INTEGRATIONS)/bin/python $(PIP) --force-reinstall --no-deps dist/wheel/*.whl
	$(ONE_THREAD) $(INTEGRATIONS)/bin/python -m pytest -q -n 2 -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function -p no:cacheprovider tests/integrations

wheel: $(VENV)/.done
	rm -rf dist/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist/wheel .

# The wheel that users get, in an environment with nothing but the core dependencies.
wheel-test: wheel
	rm -rf $(BARE)
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python $(PIP) dist/wheel/*.whl
	$(BARE)/bin/python $(PIP) -r requirements-bare.txt
	$(ONE_THREAD) $(BARE)/bin/python -m pytest -q -n 2 -p no:cacheprovider tests/conformance tests/search tests/core \
		tests/meta/test_house.py tests/meta/test_import.py -m "not slow"

# The same wheel with the oldest dependencies that it allows: the command line, Collections, and what all rests on.
lowest: wheel
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python $(PIP) -r requirements-lowest.txt dist/wheel/*.whl
	$(ONE_THREAD) $(LOWEST)/bin/python -m pytest -q -n 2 -p no:cacheprovider tests/cli tests/core tests/fusers \
		tests/collection/test_inputs.py tests/collection/test_surface.py tests/store/test_filters.py -m "not slow"

# The compiler of macOS: warnings are errors, and what it builds passes the tests of the native code.
clang: $(VENV)/.done
	command -v clang++ > /dev/null || { apt-get update --quiet=2 && apt-get install --quiet=2 --yes clang > /dev/null; }
	rm -rf dist/clang $(CLANG)
	CC=clang CXX=clang++ CXXFLAGS=-Werror $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation \
		-C build-dir=build/clang -w dist/clang .
	$(PYTHON) -m venv $(CLANG)
	$(CLANG)/bin/python $(PIP) dist/clang/*.whl
	$(CLANG)/bin/python $(PIP) -r requirements-bare.txt
	$(ONE_THREAD) $(CLANG)/bin/python -m pytest -q -n 2 -p no:cacheprovider tests/native tests/conformance/test_indexes.py

claims: $(VENV)/.done
	rm -f build/claims.jsonl && mkdir -p build
	$(ONE_THREAD) NEARFIELD_CLAIMS_OUT=build/claims.jsonl $(BIN)/pytest tests/claims -q -n 2
	$(BIN)/python scripts/record_claims.py build/claims.jsonl
	$(BIN)/python scripts/make_docs.py

bench: $(VENV)/.done
	$(BIN)/python $(PIP) -c constraints.txt -r requirements-bench.txt
	$(BIN)/python bench/run.py
	$(BIN)/python scripts/make_results.py

docs: $(VENV)/.done
	$(BIN)/python scripts/make_docs.py
	$(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.done
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(DEMO) $(BARE) $(LOWEST) $(INTEGRATIONS) $(SANITIZE) $(CLANG) build dist site
