# Everything runs in .venv, which the targets make and keep up to date by themselves. `make help` lists them.
# Paths stay relative, so the checkout may lie anywhere, be it under a name with spaces.

.ONESHELL:
SHELL := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.PHONY: help run test check bench drill clean service-packages all-packages bench-packages

# Gives the service SIGTERM should the shell that waits for it be killed.
END_WITH_SHELL := $(shell setpriv --pdeathsig TERM true 2>/dev/null && echo setpriv --pdeathsig TERM)

help: ## list the targets
	@awk -F ' *## *' '/^[a-z]+:.*## / { sub(":.*", "", $$1); printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: service-packages ## serve on http://127.0.0.1:8000 (SHIVX_BIND moves it); Ctrl-C ends it
	@$(END_WITH_SHELL) .venv/bin/gunicorn -c gunicorn.conf.py wsgi:app &
	# A closed terminal sends everybody SIGHUP, but gunicorn takes that for "reload"; make passes on only SIGTERM.
	trap 'kill $$!' HUP TERM
	trap : INT # Ctrl-C reaches gunicorn by itself
	while kill -0 $$! 2>/dev/null; do wait $$! && status=0 || status=$$?; done
	exit $$status

test: all-packages ## run all tests, three files at once (JOBS); ARGS goes to pytest: make test ARGS="-k breaker -x"
	@unset PYTHONDONTWRITEBYTECODE # some containers set it: each of a thousand processes would compile anew
	exec .venv/bin/pytest -n $(or $(JOBS),3) --dist loadfile --no-loadscope-reorder $(ARGS)

check: all-packages ## lint, formatting, types
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: bench-packages ## measure all that is promised, beside peers; a quarter of an hour, on a quiet machine
	@exec .venv/bin/python -m benchmarks $(ARGS)

drill: bench-packages ## let Redis, the exchange, workers, disk and clocks fail under load; some minutes
	@exec .venv/bin/python -m benchmarks.drill $(ARGS)

clean: ## remove what tools left: build/ and caches; keeps .venv and instance/
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +

service-packages:
	@$(call install,requirements.txt)

all-packages:
	@$(call install,requirements-dev.txt requirements.txt)

bench-packages:
	@$(call install,benchmarks/requirements.txt requirements.txt)

# Shell code: make .venv and install the first of the files $(1), unless .venv holds a copy of their text,
# which is left there once all is installed. One make at a time: the others wait for the lock on the folder.
define install
exec 9<.
if command -v flock >/dev/null; then flock 9; fi
recent='import sys; sys.exit(sys.version_info < (3, 11))'
if ! .venv/bin/python -c "$$recent; import pip" 2>/dev/null; then
	for python in $${PYTHON:-python3 python3.13 python3.12 python3.11}; do
		if "$$python" -c "$$recent" 2>/dev/null; then break; fi
		python=
	done
	if [ -z "$$python" ]; then
		echo "ShivX needs Python 3.11 or newer; found: $$(python3 --version 2>&1)." >&2
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2
		exit 1
	fi
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
		echo "$$python lacks its venv module; on Debian and Ubuntu: apt install python3-venv" >&2
		exit 1
	fi
	echo "Making .venv with $$("$$python" --version) ..."
	"$$python" -m venv --clear .venv
fi
installed=.venv/installed-$(subst /,-,$(firstword $(1)))
if ! cat $(1) | cmp -s - "$$installed"; then
	echo "Installing $(firstword $(1)) into .venv: $$(cat $(1) | grep -c ==) packages, a minute or two, only now ..."
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r $(firstword $(1))
	cat $(1) > "$$installed.new"
	mv "$$installed.new" "$$installed"
	echo "Installed."
fi
endef
