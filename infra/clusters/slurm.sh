#!/bin/bash
# A sweep over several nodes of a Slurm cluster. In the root of the repository, on a file system that all nodes share:
#
#   sbatch infra/clusters/slurm.sh sweeps/width_vs_n.py --out results/du
#
# What is recorded is not trained again: a job that was requeued, or submitted once more, goes on. Edit the lines marked
# EDIT. Python: that of WIDTHLAW_VENV, else of .venv in the folder where sbatch is called.
#SBATCH --job-name=widthlaw
#SBATCH --nodes=2                 # EDIT
#SBATCH --time=24:00:00           # EDIT
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=widthlaw-%j.log
##SBATCH --gpus-per-node=4        # EDIT: one # for GPUs
##SBATCH --partition=gpu          # EDIT: one # where there is a choice
set -euo pipefail

venv=${WIDTHLAW_VENV:-$SLURM_SUBMIT_DIR/.venv}
if [ ! -x "$venv/bin/ray" ]; then
  echo "slurm.sh: no Ray in $venv: pip install '.[cluster]' there, or set WIDTHLAW_VENV" >&2
  exit 2
fi
export PATH="$venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_enable_worker_prestart=0 RAY_prestart_worker_first_driver=0 # else a process for each core, of which none trains
export SLURM_EXPORT_ENV=ALL # to the steps, also where the job itself was sent with --export=NONE
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))") # of this job alone; passed on by srun
export RAY_AUTH_TOKEN
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # Slurm kills what does not end soon, and then leaves children behind

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
ip=$(getent ahostsv4 "$head" | awk '$1 !~ /^127\./ {print $1; exit}')
ip=${ip:-$(hostname -I | awk '{print $1}')}
port=$((20000 + SLURM_JOB_ID % 10000))
cpus=() # of each node: "4(x2),8" are four on the first and on the second, eight on the third
for part in ${SLURM_JOB_CPUS_PER_NODE//,/ }; do
  if ! [[ $part =~ ^([0-9]+)(\(x([0-9]+)\))?$ ]]; then
    echo "slurm.sh: SLURM_JOB_CPUS_PER_NODE says '$SLURM_JOB_CPUS_PER_NODE', of which '$part' is no count" >&2
    exit 2
  fi
  for ((i = 0; i < ${BASH_REMATCH[3]:-1}; i++)); do cpus+=("${BASH_REMATCH[1]}"); done
done

# One node's Ray, until Slurm or the end of the job stops it; then its files go too. Their folder is this user's alone
# (Ray opens the one it is given to all), and its name short: a socket's path may have 107 bytes.
serve() { # serve CPUS ARGUMENTS
  files=$(mktemp -d /tmp/widthlaw-XXXXXX)
  trap 'rm -rf "$files"' EXIT
  trap 'kill "$ray"; wait "$ray"; exit' TERM
  ray start --block --disable-usage-stats --num-cpus="$1" --temp-dir="$files/ray" "${@:2}" > /dev/null &
  ray=$!
  wait "$ray"
}
export -f serve

step() { # step NUMBER ARGUMENTS: serve on that node, as a step of its own
  srun --nodes=1 --ntasks=1 --cpus-per-task="${cpus[$1]}" --overlap --nodelist="${nodes[$1]}" \
    bash -c 'serve "$@"' serve "${cpus[$1]}" "${@:2}" &
}

stop() { # the steps, in order; a SIGTERM to srun would kill them at once
  trap - EXIT TERM
  timeout 3 scancel --quiet --signal=TERM "$SLURM_JOB_ID" || true # of a job that Slurm ends it would try for half a minute
  wait
}
trap stop EXIT
trap 'exit 143' TERM

step 0 --head --node-ip-address="$ip" --port="$port" --include-dashboard=false
for ((i = 1; i < ${#nodes[@]}; i++)); do
  step "$i" --address="$ip:$port"
done

# The sweep is cut for the nodes that are there when it starts.
export RAY_ADDRESS=$ip:$port
deadline=$((SECONDS + 300))
until [ "$(ray status 2> /dev/null | grep -c ' node_')" = "$SLURM_NNODES" ]; do
  if ((SECONDS > deadline)); then
    echo "slurm.sh: Ray is not up on $SLURM_NNODES nodes after 300 s" >&2
    exit 2
  fi
  sleep 1
done

cd "$SLURM_SUBMIT_DIR"
python "$@"
