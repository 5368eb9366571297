# shellcheck shell=bash
# The environment of every node of a cluster that `ray up` starts; sourced by ~/.bashrc there.
export PATH="$HOME/.widthlaw/venv/bin:$PATH"
export RAY_AUTH_MODE=token # the token itself is in ~/.ray/auth_token
export RAY_ADDRESS=auto    # a sweep uses the cluster, not a Ray of its own
export RAY_USAGE_STATS_ENABLED=0
export RAY_enable_worker_prestart=0 RAY_prestart_worker_first_driver=0 # else a process for each core, of which none trains
