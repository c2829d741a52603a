# The index of what a person does. `make` alone prints it.
BOARD ?= generic-amd64
export BOARD MIRROR MIRROR_SECURITY LOCKED

.DEFAULT_GOAL := help
.PHONY: help run image dev check test bench soak fmt relock clean

help:    ## Print this list
	@sed -n 's/^\([a-z]*\): *## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'
	@echo; echo "  BOARD=generic-amd64|generic-arm64   MIRROR=<Debian mirror>   LOCKED=1 (exact versions or none)"

run:     ## Build the appliance if need be, boot it in QEMU, say where its wizard is
	@scripts/setup-host build run
	@scripts/run

image:   ## Build the flashable image for BOARD into build/images/
	@scripts/setup-host build
	@scripts/image

dev:     ## Run relay and pages on loopback without an image; restarts on change
	@scripts/dev --watch

check:   ## Lint, types, floors and the fast tests (under two minutes)
	@scripts/check

test:    ## Everything: checks, real peers, browser, image build, boot and journeys
	@scripts/setup-host build run test
	@scripts/test

bench:   ## Measure the relay beside Postfix in one run
	@scripts/setup-host test
	@scripts/bench

soak:    ## The long sweeps and the arm64 boot, by hand
	@scripts/setup-host build run test
	@scripts/test --soak

fmt:     ## Format the code
	@scripts/fmt

relock:  ## Renew the lock files of the image's packages
	@scripts/setup-host build
	@scripts/relock

clean:   ## Remove what was built (build/)
	@scripts/clean
