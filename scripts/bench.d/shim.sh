# Carob's shim beside containerd's own for runc, under one containerd. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

# The namespace is a cgroup too, which tidy removes.
ctr_() { ctr --address "$work/containerd/sock" --namespace carob-bench-shim "$@"; }

start_containerd() {
    local dir=$work/containerd containerd
    mkdir -p "$dir/bin"
    ln -s "$bin/containerd-shim-carob-v1" "$dir/bin/"
    cat >"$dir/config.toml" <<END
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$dir/sock"
[ttrpc]
  address = "$dir/sock.ttrpc"
END
    PATH=$dir/bin:$PATH containerd --config "$dir/config.toml" >"$dir/log" 2>&1 &
    containerd=$!
    until ctr_ version >/dev/null 2>&1; do
        kill -0 $containerd || die "containerd did not start: $(tail -n 3 "$dir/log")"
        sleep 0.05
    done
    tar -C "$target/images/busybox" -c . >"$dir/busybox.tar"
    ctr_ image import --base-name docker.io/library/busybox "$dir/busybox.tar" >/dev/null
}

# The two sides, and the names of their processes as the kernel keeps them.
runtime() { case $1 in carob) echo io.containerd.carob.v1 ;; runc) echo io.containerd.runc.v2 ;; esac; }
shim_name() { case $1 in carob) echo carob-shim ;; runc) echo containerd-shim ;; esac; }
# bundle ID: containerd's directory of a task.
bundle() { echo "$work/containerd/state/io.containerd.runtime.v2.task/carob-bench-shim/$1"; }

# quiet: waits until containerd has cleaned up after the one before.
quiet() { while pgrep -x carob-shim || pgrep -x containerd-shim; do sleep 0.02; done >/dev/null; }
# shim_run SIDE [OPTIONS]: `ctr run --rm` of true.
shim_run() {
    local began
    quiet
    began=$EPOCHREALTIME
    ctr_ run --rm --runtime "$(runtime "$1")" "${@:2}" docker.io/library/busybox:1 run true >&2 || return
    since "$began"
}

# open_exec SIDE FD FD: a container, and a client of its shim on two descriptors.
open_exec() {
    local id=exec-$1
    ctr_ run --detach --null-io --runtime "$(runtime "$1")" docker.io/library/busybox:1 "$id" sleep 1000000
    mkfifo "$work/$id.in" "$work/$id.out"
    "$bin/examples/exec" "$(cat "$(bundle "$id")/address")" "$(bundle "$id")" "$id" <"$work/$id.in" >"$work/$id.out" &
    eval "exec $2>'$work/$id.in' $3<'$work/$id.out'"
}
# shim_exec FD FD: one exec by that client.
shim_exec() {
    local ms
    echo >&"$1"
    read -r -t 60 -u "$2" ms || return
    echo "$ms"
}
# exec_cpu SIDE FD FD: milliseconds of CPU time of the shim and all that it runs, for each of 200 execs.
exec_cpu() {
    local pid before n
    pid=$(pgrep -x "$(shim_name "$1")") # the only one
    before=$(ticks "$pid")
    for ((n = 0; n < 200; n++)); do shim_exec "$2" "$3" >/dev/null; done
    awk -v n=$(($(ticks "$pid") - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.3f\n", n * 1000 / hz / 200 }'
}

# shim_pod SIDE NUMBER: a sandbox and two containers in one shim.
shim_pod() {
    local id=$1-$2 member
    for member in "$id" "$id-one" "$id-two"; do
        ctr_ run --detach --null-io --net-host --runtime "$(runtime "$1")" \
            --annotation "io.kubernetes.cri.sandbox-id=$id" docker.io/library/busybox:1 "$member" sleep 1000000
    done
}
# idle_cpu SIDE: milliseconds of CPU time of all its shims in 60 seconds.
idle_cpu() {
    local pids before
    mapfile -t pids < <(pgrep -x "$(shim_name "$1")")
    before=$(ticks "${pids[@]}")
    sleep 60
    echo $((($(ticks "${pids[@]}") - before) * 1000 / $(getconf CLK_TCK)))
}

bench_shim() {
    local side n pods=${PODS:-50} more many
    more=$((4 * pods))
    local -A pss idle
    start_containerd
    for ((round = 1; round <= rounds + 2; round++)); do
        for side in carob runc; do
            sample "run_$side" shim_run $side
            sample "run_seccomp_$side" shim_run $side --seccomp
        done
    done
    open_exec carob 6 7
    open_exec runc 8 9
    for ((round = 1; round <= rounds + 2; round++)); do
        sample exec_carob shim_exec 6 7
        sample exec_runc shim_exec 8 9
    done
    for ((round = 1; round <= 5; round++)); do
        sample cpu_carob exec_cpu carob 6 7
        sample cpu_runc exec_cpu runc 8 9
    done
    exec 6>&- 8>&-
    ctr_ task rm -f exec-carob exec-runc >/dev/null
    quiet
    for side in carob runc; do
        for ((n = 0; n < pods; n++)); do shim_pod $side $n; done
        pss[$side]=$(settled pss "$(shim_name $side)")
        idle[$side]=$(idle_cpu $side)
    done
    for ((n = pods; n < more; n++)); do shim_pod carob $n; done
    many=$(settled pss carob-shim)
    cat <<END

## Under containerd: \`scripts/bench shim\`

$(containerd --version | cut -d' ' -f1,3), side by side: this shim, and containerd-shim-runc-v2 with runc.

| | median | range | of runc's |
|---|---:|---:|---:|
$(row "\`ctr run --rm\` of true: Carob's shim" run_carob run_runc)
$(row "runc's" run_runc run_runc)
$(row "with the default seccomp profile: Carob's shim" run_seccomp_carob run_seccomp_runc)
$(row "runc's" run_seccomp_runc run_seccomp_runc)
$(row "exec of true by the Task service: Carob's shim" exec_carob exec_runc)
$(row "runc's" exec_runc exec_runc)
$(row "CPU time of an exec, of 200: Carob's shim" cpu_carob cpu_runc)
$(row "runc's" cpu_runc cpu_runc)

The profile adds $(awk -v r="$(ratio run_seccomp_carob run_carob)" 'BEGIN { printf "%.0f", (r - 1) * 100 }') % to Carob's
run. CPU time is that of the shim and of all that it started.

Pods of a sandbox and two containers at rest, proportional set size of the shims:

| | MiB a Pod | of runc's | CPU time of all in 60 s, ms |
|---|---:|---:|---:|
| Carob's shim, $pods Pods | $(mib "${pss[carob]}" "$pods") | $(awk -v a="${pss[carob]}" -v b="${pss[runc]}" 'BEGIN { printf "%.2f", a / b }') | ${idle[carob]} |
| Carob's shim, $more Pods | $(mib "$many" $more) | | |
| runc's, $pods Pods | $(mib "${pss[runc]}" "$pods") | 1.00 | ${idle[runc]} |
END
}
