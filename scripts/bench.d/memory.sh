# Memory at rest of what serves the Pods, the containers' own processes apart. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

# pss COMM...: KiB of proportional set size of the processes of these names (the namespace has no others').
pss() {
    local process comm wanted=" $* " total=0 kib
    for process in /proc/[0-9]*; do
        comm=$(tr ' ' _ 2>/dev/null <"$process/comm") || continue
        [[ $wanted == *" $comm "* ]] || continue
        kib=$(awk '$1 == "Pss:" { print $2 }' "$process/smaps_rollup")
        total=$((total + ${kib:-0}))
    done
    echo $total
}
# settled COMMAND...: its figure once it no longer moves by more than 1 % within three seconds: at rest.
settled() {
    local before now
    before=$("$@")
    while sleep 3; do
        now=$("$@")
        if ((now > 0 && (now - before) * 100 <= now && (before - now) * 100 <= now)); then break; fi
        before=$now
    done
    echo "$now"
}
mib() { awk -v kib="$1" -v of="${2:-1}" 'BEGIN { printf "%.2f", kib / of / 1024 }'; }

# The names that the kernel keeps have 15 characters.
ours() { pss carob carob-shim pause; }
podmans() { pss conmon catatonit podman; }

memory_single() {
    "${carob[@]}" run -o json "$work/single.yaml" >"$work/carob.log" 2>&1 &
    hear 2
    settled ours
    kill -TERM $!
    wait $! || true
}

bench_memory() {
    local n pods=50 all supervisor shims pauses peers
    start_registry
    prepare_podman
    prepare_carob
    open_fifo
    pod_manifest single >"$work/single.yaml"
    for ((n = 0; n < pods; n++)); do
        pod_manifest "bench-$n"
        echo ---
    done >"$work/pods.yaml"

    for ((round = 1; round <= rounds + 2; round++)); do sample single memory_single; done

    "${carob[@]}" run -o json "$work/pods.yaml" >"$work/carob.log" 2>&1 &
    hear $((2 * pods))
    all=$(settled ours)
    supervisor=$(pss carob) shims=$(pss carob-shim) pauses=$(pss pause)
    kill -TERM $!
    wait $! || true

    podman_ kube play "$work/pods.yaml" >"$work/podman.log" 2>&1
    hear $((2 * pods))
    peers=$(settled podmans)
    podman_ kube down "$work/pods.yaml" >>"$work/podman.log" 2>&1
    cat <<END

## Memory at rest: \`scripts/bench memory\`

Proportional set size (\`smaps_rollup\`) of everything that serves Pods of two containers each: for Carob the
supervisor, shims and pause; for podman conmon and its pause (it has no supervisor). The containers' own
processes do not count. The single Pod is the median of $rounds, the $pods Pods are one run.

| MiB | a Pod among $pods | a single Pod |
|---|---:|---:|
| Carob | $(mib "$all" $pods) | $(mib "$(quantile single 0.5)") |
| of these: supervisor, shim, pause | $(mib "$supervisor" $pods), $(mib "$shims" $pods), $(mib "$pauses" $pods) | |
| podman | $(mib "$peers" $pods) | |
END
}
