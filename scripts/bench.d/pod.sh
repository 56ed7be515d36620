# A manifest to both containers of its Pod running. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

pod_podman() {
    local began=$EPOCHREALTIME
    podman_ kube play "$work/pod.yaml" >"$work/podman.log" 2>&1 &
    hear 2
    since "$began"
    wait $!
    podman_ kube down "$work/pod.yaml" >>"$work/podman.log" 2>&1
}

pod_carob() {
    local began=$EPOCHREALTIME
    "${carob[@]}" run -o json "$work/pod.yaml" >"$work/carob.log" 2>&1 &
    hear 2
    since "$began"
    kill -TERM $!
    wait $! || true # its code tells that it was ended
}

bench_pod() {
    start_registry
    prepare_podman
    prepare_carob
    open_fifo
    pod_manifest bench >"$work/pod.yaml"
    for ((round = 1; round <= rounds + 2; round++)); do
        sample pod_carob pod_carob
        sample pod_podman pod_podman
    done
    cat <<END

## A Pod from its manifest: \`scripts/bench pod\`

From the start of the command to the moment when both containers of the Pod have run their first command
(each writes to a FIFO), images present. Two busybox containers, an emptyDir, a hostPath, a network of the
Pod's own, the default seccomp profile. The same file for \`carob run\` and \`podman --runtime runc kube play\`.

| | median | range | of podman |
|---|---:|---:|---:|
$(row "carob run" pod_carob pod_podman)
$(row "podman kube play" pod_podman pod_podman)
END
}
