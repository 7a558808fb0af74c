# What differs from one cluster to the next. Change it, then `source slurm/env.sh` in the shell that calls sbatch.
# Every job reads it again, from the folder that it was submitted from: the root of the repository.
# shellcheck shell=bash disable=SC1091,SC2034

# Where jobs go, read by sbatch; see `sacctmgr show associations user=$USER` and `sinfo --summarize`.
# export SBATCH_ACCOUNT=my_project
# export SBATCH_PARTITION=gpu

# The environment that has lightning_face, after whatever modules it needs; one that is active already stays.
if [ -z "${VIRTUAL_ENV:-}" ] && [ -f .venv/bin/activate ]; then source .venv/bin/activate; fi

# Or a container that has it; it must see the repository, the data and the run folders.
# Apptainer: LAUNCHER=(apptainer exec --nv --bind "$PWD,/data" --pwd "$PWD" /images/face.sif)
# pyxis: SRUN_OPTIONS=(--container-image=/images/face.sqsh --container-mounts="$PWD,/data" --container-workdir="$PWD")
LAUNCHER=()
SRUN_OPTIONS=()

[ -n "${SLURM_JOB_ID:-}" ] || return 0 # The rest is for jobs.

# A rank is one of several processes on its node: without this, each computes with a thread for every core there is.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# From SLURM 22.05 on srun does not ask the job for it, and all data workers of a rank would share one core.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
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
STEP=(srun --label --wait=300 --ntasks-per-node="${SLURM_NTASKS_PER_NODE:-1}" "${SRUN_OPTIONS[@]}")
STEP+=("${LAUNCHER[@]}" python)
