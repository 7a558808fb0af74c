#!/usr/bin/env bash
# A real SLURM on one machine, for tests and to try things out: one controller, and nodes n1, n2 ... of 16 CPUs each and
# of two GPUs that can be asked for, but are none.
#
#   slurm/mini_cluster.sh up [NODES]      start it (default: 3 nodes) and wait until its nodes are idle
#   eval "$(slurm/mini_cluster.sh env)"   this shell's sbatch, squeue and so on now talk to it
#   slurm/mini_cluster.sh status          nodes and jobs
#   slurm/mini_cluster.sh kill NODE       as if its power went: its daemon and all its processes die at once
#   slurm/mini_cluster.sh start NODE      and it comes back
#   slurm/mini_cluster.sh down            stop everything, jobs too; logs stay
#
# All it writes is in one folder, $MINI_CLUSTER (default: /tmp/mini_cluster-UID), and ports are free ones: several can
# run on a machine, beside a real SLURM too. Jobs in partition `urgent` preempt those in `main`, which are requeued.
set -euo pipefail

HOME_FOLDER=$(realpath -m "${MINI_CLUSTER:-/tmp/mini_cluster-$UID}")
export SLURM_CONF=$HOME_FOLDER/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin # where distributions put the daemons
BOUND_S=60

fail() { echo "error: $*" >&2; exit 2; }

up() {
    local nodes=${1:-3}
    [ "$UID" = 0 ] || fail "up must be run as root: nodes start jobs as the user who submits them; try sudo"
    for program in slurmctld slurmd munged python3; do
        command -v $program >/dev/null || fail "$program is missing; on Debian: apt-get install slurm-wlm munge python3"
    done
    [ -z "$(ours)" ] || fail "$HOME_FOLDER has a cluster that is up; \`$0 down\` stops it"
    rm -rf "$HOME_FOLDER"
    mkdir -p "$HOME_FOLDER"/{state,spool,log}
    configure "$nodes" >"$SLURM_CONF"
    printf "Name=gpu File=%s\n" /dev/null /dev/zero >"$HOME_FOLDER/gres.conf"
    head -c 1024 /dev/urandom >"$HOME_FOLDER/munge.key"
    chmod 600 "$HOME_FOLDER/munge.key"
    # --force: folders of tests are not open to other users, which a machine's only munged would need.
    munged --force --key-file="$HOME_FOLDER/munge.key" --seed-file="$HOME_FOLDER/munge.seed" \
        --socket="$HOME_FOLDER/munge.socket" --pid-file="$HOME_FOLDER/munge.pid" \
        --log-file="$HOME_FOLDER/log/munged" 2>"$HOME_FOLDER/log/munged.start"
    slurmctld
    for number in $(seq "$nodes"); do start "n$number"; done
    # Every node must have answered: `idle` also means that nobody has asked it yet.
    within_bound idle "$nodes" || { status; fail "the nodes are not idle after $BOUND_S s; see $HOME_FOLDER/log"; }
}

configure() {
    local nodes=$1 ports
    # Free ports: of the controller and of each node.
    ports=$(python3 - "$((nodes + 1))" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PYTHON
    )
    # shellcheck disable=SC2086  # one word each
    set -- $ports
    cat <<CONF
ClusterName=mini
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$1
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its credential has expired, by default for two minutes.
AuthInfo=socket=$HOME_FOLDER/munge.socket,cred_expire=5
StateSaveLocation=$HOME_FOLDER/state
SlurmdSpoolDir=$HOME_FOLDER/spool/%n
SlurmctldPidFile=$HOME_FOLDER/slurmctld.pid
SlurmdPidFile=$HOME_FOLDER/%n.pid
SlurmctldLogFile=$HOME_FOLDER/log/slurmctld
SlurmdLogFile=$HOME_FOLDER/log/%n
# Of a container without systemd, and without the right to make cgroups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
# Two clusters on a machine should not give jobs the same number: rendezvous ports are made of it.
FirstJobId=$((1000 + $1 % 8000))
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=8
KillWait=20
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
CONF
    for number in $(seq "$nodes"); do
        shift
        echo "NodeName=n$number NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$1 CPUs=16 Gres=gpu:2"
    done
}

start() { slurmd -N "$1"; }

# Process ids of the daemons and of all that runs in jobs, or of those on one node. A daemon has its log open (its
# environment is not to be seen); a task has SLURM's variables.
ours() {
    local node=${1:-} path
    grep -lsE '^(slurm|munged)' /proc/[0-9]*/comm | while read -r path; do
        [ -z "$(find "${path%comm}fd" -lname "$HOME_FOLDER/log/${node:-*}" -print -quit)" ] || echo "${path//[^0-9]/}"
    done
    grep -lszx "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ | while read -r path; do
        ! grep -qszx "SLURMD_NODENAME=${node:-.*}" "$path" || echo "${path//[^0-9]/}"
    done
} 2>/dev/null # processes end while they are looked at

kill_all() {
    local ids
    ids=$(ours "$@")
    # shellcheck disable=SC2086  # one word each
    [ -z "$ids" ] || kill -KILL $ids 2>/dev/null || true
    [ -z "$(ours "$@")" ]
}

idle() { [ "$(sinfo --noheader --Node --partition=main --format=%T 2>/dev/null | grep -cx idle)" = "$1" ]; }

within_bound() {
    local end=$((SECONDS + BOUND_S))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

status() {
    sinfo --Node --partition=main --Format=NodeList:8,StateLong:12,CPUsState:16
    squeue --Format=JobID:8,Name:24,Partition:10,StateCompact:4,TimeUsed:10,RestartCnt:10,ReasonList:24
}

case "${1:-}" in
up) up "${2:-}" ;;
env) echo "export SLURM_CONF=$SLURM_CONF" ;;
status) status ;;
kill) within_bound kill_all "${2:?which node?}" || fail "$2 has processes that do not die" ;;
start) start "${2:?which node?}" ;;
down) within_bound kill_all || fail "processes of $HOME_FOLDER do not die: $(ours)" ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
