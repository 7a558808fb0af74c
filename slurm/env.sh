# What differs from one cluster to the next. Change it, then `source slurm/env.sh` in the shell that calls sbatch.
# Every job reads it again, from the folder that it was submitted from: the root of the repository.
# shellcheck shell=bash disable=SC1091,SC2034

# Where jobs go: sbatch takes it from here where no option is given. See `sacctmgr show associations user=$USER` and
# `sinfo --Format=partition,gres,cpus`.
# export SBATCH_ACCOUNT=my_project SBATCH_PARTITION=gpu

# The environment that has lightning_face, after whatever modules it needs; one that is active already stays.
if [ -z "${VIRTUAL_ENV:-}" ] && [ -f .venv/bin/activate ]; then source .venv/bin/activate; fi

# Or a container that has it; it must see the repository, the data and the run folders.
# Apptainer: LAUNCHER=(apptainer exec --nv --bind "$PWD,/data" --pwd "$PWD" /images/face.sif)
# pyxis: SRUN_OPTIONS=(--container-image=/images/face.sqsh --container-mounts="$PWD,/data" --container-workdir="$PWD")
LAUNCHER=()
SRUN_OPTIONS=()

[ -n "${SLURM_JOB_ID:-}" ] || return 0 # The rest is for jobs.

# One rank for each GPU of a node. No --ntasks-per-node for sbatch: once a job has begun, SLURM remembers the number of
# all its tasks, and with --nodes=1-2 a job that has lost a node would wait for another though one will do.
tasks_per_node=${TASKS_PER_NODE:-${SLURM_NTASKS_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}}
# The job's CPUs, shared out: srun would give each rank one, and all its data workers the same.
cpus_per_task=$((SLURM_CPUS_ON_NODE / tasks_per_node))
unset SLURM_CPUS_PER_GPU SLURM_CPUS_PER_TASK # srun refuses to be told twice
# A rank is one of several processes: without this, it computes with a thread for every core of its node.
export OMP_NUM_THREADS=$cpus_per_task
# The log has the last lines of a rank that was killed, and the stack of one that crashed inside a library.
export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
# NCCL says nothing of a network that fails, unless asked to.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
# Where nodes have several networks, NCCL and gloo may choose one that leads nowhere, and ranks wait for each other in
# vain: name the right one (`ip -brief address`).
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
# Ranks meet on the first node, where the batch script runs. SLURM's names of nodes need not be ones to be looked up.
MASTER_ADDR=$(hostname)
export MASTER_ADDR
# DeepSpeed compiles operators under a lock: in a shared home, that of a killed rank would stop every run to come.
export TORCH_EXTENSIONS_DIR=${TMPDIR:-/tmp}/torch_extensions-$UID

# How a step is started: all tasks of the job; each line of the log begins with its rank. Where one rank has ended, for
# whatever reason, the others have five minutes: rank 0 alone draws the plots and sends what is left to W&B.
STEP=(srun --label --wait=300 --ntasks=$((SLURM_NNODES * tasks_per_node)) --ntasks-per-node="$tasks_per_node")
STEP+=(--cpus-per-task="$cpus_per_task" "${SRUN_OPTIONS[@]}" "${LAUNCHER[@]}" python)
