#!/usr/bin/env bash
# A small real Slurm on the loopback interface, without systemd: two CPU nodes and one node with two counted GPUs.
#
#   tests/slurm/rig.sh up           install Debian's Slurm if needed, write its configuration, start it
#   tests/slurm/rig.sh run CMD ...  the same, run a command on it, take it down again whatever happens
#   tests/slurm/rig.sh down         stop it and remove its files
#
# Needs root on Debian 12. Everything lives in $RIG; the only trace elsewhere are two links in /etc/slurm, because job
# steps of the executor plugin find the configuration at its standard place only.
set -euo pipefail

RIG=${RIG:-${TMPDIR:-/tmp}/scan2map-slurm}
# Advertised per node. More CPUs than the machine has let small jobs overlap; Slurm does not check here.
CPUS=${CPUS:-8}
MEMORY_MB=${MEMORY_MB:-16000}
HOST=$(hostname -s)
NODES=(cpu1 cpu2 gpu1)
CONTROLLER_PORT=26817
FIRST_NODE_PORT=26820
CONFIGURATION=(slurm.conf gres.conf)

say() { echo "rig: $*" >&2; }

die() {
    say "$*"
    exit 1
}

install_packages() {
    local packages=(munge slurm-client slurmctld slurmd) missing=()
    for package in "${packages[@]}"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    # Nothing may be started by the packages: there is no init system to start it.
    local policy=/usr/sbin/policy-rc.d ours=""
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && ours=yes; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "${missing[@]}" >"$RIG/log/apt.log" 2>&1 ||
        { tail "$RIG/log/apt.log" >&2 && die "the packages could not be installed"; }
    [ -z "$ours" ] || rm -f $policy
}

# Slurm takes only character devices for GPUs, and numbers them by the end of their names; these two are /dev/null.
make_devices() {
    for index in 0 1; do
        [ -c "$RIG/dev/nvidia$index" ] || mknod -m 666 "$RIG/dev/nvidia$index" c 1 3
    done
}

node_lines() {
    local port=$FIRST_NODE_PORT gres
    for node in "${NODES[@]}"; do
        gres=""
        [ "$node" = gpu1 ] && gres="Gres=gpu:2"
        echo "NodeName=$node NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((port++)) CPUs=$CPUS RealMemory=$MEMORY_MB $gres State=UNKNOWN"
    done
}

write_configuration() {
    [ -s "$RIG/etc/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$RIG/etc/munge.key")
    cat >"$RIG/etc/slurm.conf" <<CONF
ClusterName=scan2map
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CONTROLLER_PORT
SlurmUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$RIG/run/munge.sock
CredType=cred/munge
StateSaveLocation=$RIG/state
SlurmdSpoolDir=$RIG/spool/%n
SlurmctldPidFile=$RIG/run/slurmctld.pid
SlurmdPidFile=$RIG/run/slurmd-%n.pid
SlurmctldLogFile=$RIG/log/slurmctld.log
SlurmdLogFile=$RIG/log/slurmd-%n.log
# No control groups in a container: memory is sampled, and a job above its share is killed.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
# A node that was set down stays down until it is resumed.
ReturnToService=1
SlurmdTimeout=30
KillWait=2
OverTimeLimit=0
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
$(node_lines)
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=480 DefaultTime=10 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=480 DefaultTime=10 State=UP
CONF
    echo "NodeName=gpu1 Name=gpu File=$RIG/dev/nvidia[0-1]" >"$RIG/etc/gres.conf"
}

link_configuration() {
    mkdir -p /etc/slurm
    for file in "${CONFIGURATION[@]}"; do
        if [ -e "/etc/slurm/$file" ] && [ "$(readlink -f "/etc/slurm/$file")" != "$(readlink -f "$RIG/etc/$file")" ]; then
            die "/etc/slurm/$file belongs to another Slurm; it is left alone"
        fi
        ln -sfn "$RIG/etc/$file" "/etc/slurm/$file"
    done
}

# A killed daemon may stay as a zombie where process 1 does not collect it.
is_running() {
    local process
    process=$(cat "$RIG/run/$1.pid" 2>/dev/null) && kill -0 "$process" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$process/status"
}

wait_until() {
    local seconds=$1
    shift
    for _ in $(seq $((seconds * 5))); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    tail -n 20 "$RIG"/log/*.log >&2 || true
    die "waited $seconds s in vain for: $*"
}

munge_answers() { munge --no-input --socket="$RIG/run/munge.sock" | unmunge --socket="$RIG/run/munge.sock"; }
nodes_are_idle() { [ "$(sinfo --noheader --Node --format='%N %T' | sort -u | grep -c ' idle$')" = ${#NODES[@]} ]; }

start_daemons() {
    is_running munged || munged --force --key-file="$RIG/etc/munge.key" --socket="$RIG/run/munge.sock" \
        --pid-file="$RIG/run/munged.pid" --log-file="$RIG/log/munged.log" --seed-file="$RIG/state/munged.seed"
    wait_until 10 munge_answers
    is_running slurmctld || slurmctld -c
    wait_until 20 scontrol ping
    for node in "${NODES[@]}"; do
        is_running "slurmd-$node" || slurmd -N "$node"
    done
    wait_until 30 nodes_are_idle
}

up() {
    [ "$(id -u)" = 0 ] || die "must be root"
    umask 022
    mkdir -p "$RIG"/{etc,run,log,state,spool,dev}
    install_packages
    make_devices
    write_configuration
    link_configuration
    start_daemons
    say "up: $(sinfo --noheader --format='%P %D nodes, %G' | tr '\n' ';')"
}

stop() {
    is_running "$1" || return 0
    kill "$(cat "$RIG/run/$1.pid")"
    for _ in $(seq 50); do
        is_running "$1" || return 0
        sleep 0.1
    done
    kill -KILL "$(cat "$RIG/run/$1.pid")"
}

down() {
    is_running slurmctld && timeout 20 scancel --user=root 2>/dev/null
    for node in "${NODES[@]}"; do
        stop "slurmd-$node"
    done
    stop slurmctld
    stop munged
    for file in "${CONFIGURATION[@]}"; do
        [ "$(readlink "/etc/slurm/$file")" = "$RIG/etc/$file" ] && rm -f "/etc/slurm/$file"
    done
    rm -rf "$RIG"
    say "down"
}

case ${1:-} in
up) up ;;
down) set +e && down ;;
run)
    shift
    trap 'set +e; down' EXIT
    up
    SCAN2MAP_SLURM=$RIG "$@"
    ;;
*) die "use: $0 up | down | run COMMAND" ;;
esac
