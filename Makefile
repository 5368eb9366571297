# make demo | make claims | make bench | make test | make check    Everything is set up in .venv on first use.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS := 1

.PHONY: demo claims bench chaos test fast check clean chromium hosts

demo: .venv/ready
	@echo "1/2  The known answer: random features interpolate n points iff m >= n."
	$(BIN)/python sweeps/width_vs_n.py --family random_features --out results/known_answer
	@echo
	@echo "2/2  Du et al. 2018: how wide must a two-layer ReLU network be for gradient descent to fit n samples?"
	$(BIN)/python sweeps/width_vs_n.py --out results/demo

claims: .venv/ready  ## every sweep on its default grid, resumable, and one page of verdicts over all ten papers
	$(BIN)/python -m sweeps

bench: .venv/ready  ## the reference sweep against every way to run it today, steps, stops, scale, memory, balance; some hours
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/stalls.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/balance.py
	$(BIN)/python benchmarks/growth.py

chaos: .venv/ready hosts  ## fifty faults on three hosts, and the rows of an undisturbed run all the same
	$(BIN)/python tests/chaos.py --faults 50 --seed 0 --table benchmarks/chaos.md

test: .venv/ready chromium hosts fast  ## the part that needs no cluster, then the rest, which waits more than it computes
	$(BIN)/python -m pytest -m cluster -n 2 --dist loadfile --no-loadscope-reorder

fast: .venv/ready chromium  ## the part that needs no cluster
	$(BIN)/python -m pytest -m "not cluster" -n 2 --dist loadfile

check: .venv/ready  ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chromium:  ## the browser in which the report is tested
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium; }

hosts:  ## what tests of clusters run on hosts of their own; as services of this machine they are left switched off
	@PATH="$$PATH:/usr/sbin:/sbin:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tr '\n' ':')"; for name in sshd slurmctld slurmd srun munged rsync ip pg_ctl curl; do \
	  command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); policy=/usr/sbin/policy-rc.d; \
	  [ -e $$policy ] || { trap "$$sudo rm -f $$policy" EXIT; trap 'exit 130' INT TERM HUP; \
	    printf '#!/bin/sh\nexit 101\n' | $$sudo tee $$policy >/dev/null; $$sudo chmod +x $$policy; }; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends \
	    openssh-server slurmctld slurmd slurm-client munge rsync iproute2 postgresql curl; code=$$?; \
	  case "$$missing" in *sshd*) $$sudo systemctl disable ssh >/dev/null 2>&1;; esac; \
	  case "$$missing" in *pg_ctl*) $$sudo systemctl disable postgresql >/dev/null 2>&1;; esac; \
	  case "$$missing" in *slurm* | *munge*) $$sudo systemctl disable slurmctld slurmd munge >/dev/null 2>&1;; esac; \
	  exit $$code; fi

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf .venv
