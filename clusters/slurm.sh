#!/bin/bash
# A sweep on a Slurm allocation: a Ray head on the first node, a Ray node on each, one driver.
#
#   sbatch --nodes=4 --cpus-per-task=16 --gpus-per-node=4 --time=12:00:00 \
#       clusters/slurm.sh sweeps/quickstart.yaml --store /shared/store
#
# Everything behind the script's name goes to `tombola run`. Submit it from an environment in
# which `tombola` and `ray` are found, on a file system that all nodes share. Two minutes before
# the time is up trainings keep a checkpoint; submitted again, the sweep goes on from there.
#SBATCH --job-name=tombola
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:TERM@120
#SBATCH --no-kill
#SBATCH --open-mode=append
set -uo pipefail

[ $# -gt 0 ] || { echo "usage: sbatch [options] clusters/slurm.sh SWEEP --store DIR" >&2; exit 2; }
[ -n "${SLURM_JOB_ID:-}" ] || { echo "run it with sbatch: sbatch $0 $*" >&2; exit 2; }

cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE%%(*}}
address=${TOMBOLA_HEAD_IP:-$(hostname -I | cut -d' ' -f1)}
port=$((20000 + SLURM_JOB_ID % 20000)) # of this job, should jobs share a node
folder=/tmp/tombola-$SLURM_JOB_ID

# A token of this job's own, which reaches the other nodes by srun and no file.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=5

step() { # step NODE COMMAND...: run it there, on the CPUs and GPUs that the job has there
    srun --nodes=1 --ntasks=1 --nodelist="$1" --cpus-per-task="$cpus" "${@:2}" > /dev/null &
    steps+=($!)
}

steps=() driver=""
stop() {
    trap - EXIT
    scancel --quiet --signal=TERM "$SLURM_JOB_ID" # the steps, and not this script
    wait "${steps[@]}" 2> /dev/null
    timeout 30 srun --quiet --overlap --ntasks-per-node=1 rm -rf "$folder"
}
trap stop EXIT
trap 'kill -TERM $driver 2> /dev/null' TERM # Slurm's notice: to the driver, which tells the rest

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
ray=(ray start --block --disable-usage-stats --num-cpus="$cpus"
    --min-worker-port=0 --max-worker-port=0)
step "${nodes[0]}" "${ray[@]}" --head --node-ip-address="$address" --port="$port" \
    --ray-client-server-port=$((port + 20000)) --include-dashboard=false --temp-dir="$folder"
until (: < "/dev/tcp/$address/$port") 2> /dev/null; do
    kill -0 "${steps[0]}" 2> /dev/null || { echo "Ray's head did not start" >&2; exit 1; }
    sleep 1
done
for node in "${nodes[@]:1}"; do
    step "$node" "${ray[@]}" --address="$address:$port"
done

tombola run --address "$address:$port" --grace 100 "$@" &
driver=$!
wait $driver
code=$?
while kill -0 $driver 2> /dev/null; do # a signal ends the wait and not the driver
    wait $driver
    code=$?
done
exit $code
