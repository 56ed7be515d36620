# create, start, wait, delete of one container, and what the kernel asks for it. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

# make_bundle: busybox `true` with the usual namespaces, mounts and capabilities and the default seccomp profile.
make_bundle() {
    local bundle=$work/bundle layer seccomp
    mkdir -p "$bundle/rootfs"
    layer=$(jq -r '.layers[0].digest' "$(layout_blob "$(jq -r '.manifests[0].digest' "$target/images/busybox/index.json")")")
    tar -xzf "$(layout_blob "$layer")" -C "$bundle/rootfs"
    (cd "$bundle" && crun spec)
    seccomp=$(jq --arg arch "$(dpkg --print-architecture)" --arg machine "$(uname -m)" \
        --argjson caps "$(jq .process.capabilities.bounding "$bundle/config.json")" \
        -f "$root/scripts/bench.d/seccomp.jq" /usr/share/containers/seccomp.json)
    jq --argjson seccomp "$seccomp" '.linux.seccomp = $seccomp | .process.terminal = false | .root.readonly = true
        | .process.args = ["/bin/true"] | .annotations["io.containerd.runc.v2.group"] = "bench"' \
        "$bundle/config.json" >"$bundle/new"
    mv "$bundle/new" "$bundle/config.json"
}
layout_blob() { echo "$target/images/busybox/blobs/${1/://}"; }

cycle_kernel() { "$work/kernel" "$work/bundle/rootfs"; }
cycle_runc() { "$work/cli" "$work/bundle" runc --root /run/runc-bench; }
# crun refuses v1 cgroups where a v2 hierarchy is mounted beside them: hidden from it.
cycle_crun() {
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount bash -c '! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec "$@"' - \
        "$work/cli" "$work/bundle" crun --cgroup-manager=cgroupfs --root /run/crun-bench
}
cycle_carob() {
    local ms
    echo >&6
    read -r -t 60 -u 7 ms || return
    echo "$ms"
}

bench_kernel() {
    make_bundle
    for ((round = 1; round <= rounds + 2; round++)); do sample kernel cycle_kernel; done
    cat <<END

## The kernel's part: \`scripts/bench kernel\`

| | median | range |
|---|---:|---:|
$(row "bare kernel" kernel)
END
}

bench_cycle() {
    make_bundle
    coproc client { CAROB_SHIM=$bin/containerd-shim-carob-v1 exec "$bin/examples/cycle" "$work/cycle" "$work/bundle"; }
    # A subshell, as sample has, does not see a coprocess's own descriptors.
    local pid=$client_PID
    exec 6>&"${client[1]}" 7<&"${client[0]}"
    eval "exec ${client[1]}>&- ${client[0]}<&-"
    for ((round = 1; round <= rounds + 2; round++)); do
        sample carob cycle_carob
        sample crun cycle_crun
        sample runc cycle_runc
        sample kernel cycle_kernel
    done
    exec 6>&-
    wait "$pid"
    cat <<END

## One container's life: \`scripts/bench cycle\`

create, start, wait, delete of busybox \`true\` from the same bundle, default seccomp profile on: for Carob by the
Task service of a running shim, for crun and runc by their command lines. The bare kernel cost is a C program
(\`scripts/bench.d/kernel.c\`) that makes the same namespaces, cgroups, mounts and devices, pivots, executes,
waits and removes (no seccomp).

| | median | range | of crun | of the kernel |
|---|---:|---:|---:|---:|
$(row "Carob's shim" carob crun kernel)
$(row "crun create; start; delete" crun crun kernel)
$(row "runc create; start; delete" runc crun kernel)
$(row "bare kernel" kernel crun kernel)
END
}
