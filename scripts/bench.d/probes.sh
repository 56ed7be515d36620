# What probes cost the machine: commands, requests and connections. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

probe_count=200 probe_pods=100 probe_seconds=20 probe_samples=3

probe_exec() {
    local ms
    echo >&8
    read -r -t 300 -u 9 ms || return
    echo "$ms"
}

# probe_manifests HANDLER: Pods that serve HTTP and are asked each second by a probe with this handler.
probe_manifests() {
    local n probe="{$1, periodSeconds: 1}"
    for ((n = 0; n < probe_pods; n++)); do
        cat <<END
---
apiVersion: v1
kind: Pod
metadata:
  name: probed-$n
spec:
  terminationGracePeriodSeconds: 5
  containers:
    - name: web
      image: $address/busybox:1
      command: ["sh", "-c", "mkdir /www && echo ok >/www/ready && exec httpd -f -p 80 -h /www"]
      $([ -z "$1" ] || echo "readinessProbe: $probe")
END
    done
}
# probe_load NAME HANDLER: percent of one core that the supervisor uses at rest, over samples of some seconds.
probe_load() {
    local pid before n
    probe_manifests "$2" >"$work/probed.yaml"
    "${carob[@]}" run -o json "$work/probed.yaml" >"$work/carob.log" 2>&1 &
    pid=$!
    for ((n = 0; n < probe_pods; n++)); do
        until grep -q "\"name\":\"probed-$n\".*\"status\":\"True\",\"type\":\"Ready\"" "$work/carob.log"; do
            kill -0 "$pid" || die "carob has ended: see its words: $(tail -n 3 "$work/carob.log")"
            sleep 0.2
        done
    done
    sleep 5
    for ((n = 0; n < probe_samples; n++)); do
        before=$(ticks "$pid")
        sleep "$probe_seconds"
        awk -v t="$(($(ticks "$pid") - before))" -v hz="$(getconf CLK_TCK)" -v s="$probe_seconds" \
            'BEGIN { printf "%.2f\n", 100 * t / hz / s }' >>"$work/$1.samples"
    done
    kill -TERM "$pid"
    wait "$pid" || true
}

bench_probes() {
    rm -rf "$work/bundle"
    make_bundle
    jq '.process.args = ["sleep", "1000000"]' "$work/bundle/config.json" >"$work/bundle/new"
    mv "$work/bundle/new" "$work/bundle/config.json"
    coproc prober { CAROB_SHIM=$bin/containerd-shim-carob-v1 exec "$bin/examples/probe" /run/probe "$work/bundle" $probe_count; }
    # A subshell, as sample has, does not see a coprocess's own descriptors.
    local pid=$prober_PID
    exec 8>&"${prober[1]}" 9<&"${prober[0]}"
    eval "exec ${prober[1]}>&- ${prober[0]}<&-"
    for ((round = 1; round <= rounds + 2; round++)); do sample exec probe_exec; done
    exec 8>&-
    wait "$pid"
    start_registry
    prepare_carob
    probe_load idle ''
    probe_load http 'httpGet: {port: 80, path: /ready}'
    probe_load tcp 'tcpSocket: {port: 80}'
    cat <<END

## Probes: \`scripts/bench probes\`

CPU time of one exec probe of busybox \`true\` with the default seccomp profile, everything counted: the supervisor's
part, the shim, and the command itself, over $probe_count of them one after the other.

| | median | range |
|---|---:|---:|
$(row "an exec probe" exec)

CPU time of the supervisor of $probe_pods Pods, percent of one core, in $probe_samples samples of $probe_seconds s: at rest, and
while each Pod is asked once a second.

| | median | range |
|---|---:|---:|
$(row "no probes" idle)
$(row "httpGet" http)
$(row "tcpSocket" tcp)
END
}
