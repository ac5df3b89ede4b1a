# The door. What is longer than a line is a script in scripts/ or a Rust program.
CARGO ?= cargo
PORT ?= 8000

.PHONY: help run build release test setup fmt lint docs unit e2e bench-http bench-queue bench-store bench-rewind torture install clean

help: ## Say what there is
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Install what is missing, build, and serve examples/tour on http://127.0.0.1:8000
	@scripts/setup run
	$(CARGO) build --release -p regie -p regie-php
	cd examples/tour && ../../target/release/regie up

build: ## Build the programs with debug information
	$(CARGO) build -p regie -p regie-php

release: ## Build the programs as they are shipped
	$(CARGO) build --release -p regie -p regie-php

test: setup lint docs unit e2e ## Install what is missing, then check and test everything

setup: ## Install the Debian packages that the tests use, those that are missing
	@scripts/setup test

fmt: ## Format the code
	$(CARGO) fmt --all

lint: ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs: ## Build the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

unit: build ## Tests of the crates
	$(CARGO) test --no-fail-fast --workspace --exclude regie-e2e

# They wait more than they compute: four at a time take half as long as two, on two processors.
e2e: build ## Tests of the real programs with real clients
	$(CARGO) test --no-fail-fast -p regie-e2e -- --test-threads=4

torture: build ## Rewind mode beside classic mode: REQUESTS=100000 SEED=1 TRACKER=pagemap
	REGIE_TORTURE=$(or $(REQUESTS),100000) REGIE_SEED=$(or $(SEED),1) REGIE_TRACKER=$(or $(TRACKER),userfaultfd) $(CARGO) test -p regie-php --test it whatever_a_request_does

bench-http: release ## Requests per second and latency beside nginx + php-fpm
	@scripts/setup test
	$(CARGO) run --release -p regie-bench-http --

bench-queue: release ## Jobs and messages beside queue:work, messenger:consume and redis-server; a million waiting
	@scripts/setup test
	bench/queue/all.sh

bench-store: ## The store beside redis-server
	@scripts/setup test
	bench/store/run.sh

bench-rewind: ## Rewind mode: how long it takes to put pages back, in a worker that does nothing else
	REGIE_BENCH=2000 $(CARGO) test --release -p regie-php --test it -- --nocapture --test-threads 1 what_is_put_back how_soon_a_replacement

install: release ## Put the programs into $(DESTDIR)/usr/local/bin
	install -Dm755 -t $(DESTDIR)/usr/local/bin target/release/regie target/release/regie-php

clean: ## Remove what was built
	$(CARGO) clean
