#!/bin/bash
# A search on many machines of a Slurm cluster:
#
#     sbatch --nodes=4 tuning/slurm.sh --data ROOT --study srresnet --out /shared/studies/srresnet
#
# The words after the script are those of `mrisr tune`; --out must lie on a file system that all nodes share.
# Submitted again with the same words, a search that ran into its time limit resumes.
#SBATCH --job-name=mrisr-tune
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
set -euo pipefail

address="$(hostname):$((20000 + SLURM_JOB_ID % 20000))"

# The chief only chooses: it takes no GPU and hardly any of the first node's time.
CUDA_VISIBLE_DEVICES=-1 mrisr tune "$@" --chief "$address" &
chief=$!
trap 'kill "$chief" 2>/dev/null || true' EXIT

# One worker a task. Should one die, the others go on; one of the same name gets its old trial back.
srun --kill-on-bad-exit=0 bash -c 'exec mrisr tune "${@:2}" --worker "$1" --name "worker$SLURM_PROCID"' \
    worker "$address" "$@" || echo "a worker died; the search went on without it" >&2
wait "$chief"
trap - EXIT
