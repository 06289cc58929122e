# Every target brings its own set-up: scripts/setup.sh installs what is missing, or says how, and is silent otherwise.
# ARGS is passed on: make demo ARGS="--device opencl:0", make test ARGS="--filter Softmax".

ARGS ?=
RETORT = .build/release/retort
# Optimised, or the C row kernels crawl; in a folder of its own, because other flags would rebuild everything each time.
TEST = swift test -c release -Xswiftc -enable-testing --disable-xctest --scratch-path .build-test
SWIFT_FILES = Sources Tests Examples Package.swift
GOLDEN_TESTS = GoldenTests|RealModelTests|SentenceEncoderTests|SafeTensorsVerdictTests|TokenizerTests|ChatTemplateTests|ReplayTests
DOCUMENTED = RetortSupport RetortKernels RetortRuntime RetortData RetortModels RetortDistillation RetortConformance

.DEFAULT_GOAL := help
.PHONY: help demo test test-all golden bench methods lint format docs oclgrind clean setup build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build  ## the first distillation: recipes/digits.yaml, teacher and student on real handwritten digits
	$(RETORT) train recipes/digits.yaml $(ARGS)

test: setup  ## every test that is not slow, on both backends; a missing OpenCL device is a failure
	RETORT_REQUIRE_OPENCL=1 $(TEST) $(ARGS)

test-all: setup  ## the slow suites too
	RETORT_REQUIRE_OPENCL=1 RETORT_SLOW=1 $(TEST) $(ARGS)

golden: build  ## reference results on both backends, from RETORT_GOLDEN or Tests/Fixtures/golden: ops and losses, then models, tokenizers, files
	$(RETORT) test-ops golden $(ARGS)
	RETORT_REQUIRE_OPENCL=1 $(TEST) --filter '$(GOLDEN_TESTS)'

bench: build  ## ceilings of this machine, then one row per kernel
	$(RETORT) bench $(ARGS)

methods: build  ## every method on one pair: docs/METHODS.md; DATA is the folder of Fashion-MNIST's four files
	scripts/methods.sh "$(RETORT)" "$(DATA)" $(ARGS)

lint: setup  ## formatting, and kernels compiled for the GPU targets that a clang here knows
	swift format lint --strict --recursive --parallel $(SWIFT_FILES)
	scripts/lint_kernels.sh

format: setup  ## rewrite Swift files in the project's format
	swift format --in-place --recursive --parallel $(SWIFT_FILES)

docs: setup  ## DocC for every library module, warnings are errors
	for target in $(DOCUMENTED); do \
	    RETORT_DOCS=1 swift package --scratch-path .build-docs --disable-sandbox generate-documentation \
	        --target $$target --warnings-as-errors || exit 1; \
	done

oclgrind:  ## every kernel at tiny odd sizes: races, uninitialised reads, bounds; any report fails
	scripts/setup.sh oclgrind
	scripts/oclgrind.sh

clean:  ## remove what was built; runs/ stays
	rm -rf .build .build-test .build-docs

setup:  ## the system packages and the Swift version that the rest needs
	@scripts/setup.sh

build: setup
	swift build -c release --product retort
