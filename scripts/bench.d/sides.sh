# The sides of the comparison and how figures are taken and shown. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154 # scripts/bench and scripts/common.sh set work, bin, root, rounds

# ---- figures: one file of samples per side

# sample NAME COMMAND...: adds the number that the command prints to the side's samples; rounds 1 and 2 warm up.
sample() {
    local value
    value=$("${@:2}") || die "${*:2} failed"
    [ "$round" -le 2 ] || echo "$value" >>"$work/$1.samples"
}
# quantile NAME Q: 0 is the least sample, 0.5 the median, 1 the greatest.
quantile() { sort -n "$work/$1.samples" | awk -v q="$2" '{ a[NR] = $1 } END { print a[1 + int(q * (NR - 1) + 0.5)] }'; }
# ratio A B: their medians' ratio.
ratio() { awk -v a="$(quantile "$1" 0.5)" -v b="$(quantile "$2" 0.5)" 'BEGIN { printf "%.2f", a / b }'; }
# row LABEL NAME [REFERENCE...]: a line of a table, with the ratio to each reference's median.
row() {
    local reference line
    line="| $1 | $(quantile "$2" 0.5) | $(quantile "$2" 0) – $(quantile "$2" 1) |"
    for reference in "${@:3}"; do line+=" $(ratio "$2" "$reference") |"; done
    echo "$line"
}
# since EPOCHREALTIME: milliseconds from then to now.
since() {
    local now=$EPOCHREALTIME us
    us=$((${now/./} - ${1/./}))
    printf '%d.%03d\n' $((us / 1000)) $((us % 1000))
}

facts() {
    local cpu commit
    commit=$(git -C "$root" rev-parse --short HEAD)
    # The file that this becomes does not count.
    git -C "$root" diff --quiet HEAD -- ':!docs/benchmarks.md' || commit+=' with changes'
    cpu=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n1)
    cat <<END
# Benchmarks

Made by \`scripts/bench\` on $(date -u +%F): $(nproc) cores ($cpu), Linux $(uname -r),
$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), cgroup $([ -e /sys/fs/cgroup/cgroup.controllers ] && echo v2 || echo v1);
$(podman --version), $(crun --version | head -n1), $(runc --version | head -n1); Carob $commit.
Each figure is the median of $rounds, the sides taking turns in one run, two rounds of warming up before.
Times are in milliseconds, with the least and the greatest behind them.
END
    [ -z "${CAROB_BENCH_VM:-}" ] || echo "This was in a virtual machine (\`CAROB_VM\`): its ratios count, its times do not."
}

# ---- a registry and the images in it

address=''
start_registry() {
    [ -z "$address" ] || return 0
    # Its files go away with the work directory.
    address=$(CARGO_TARGET_DIR=$work CAROB_IMAGES=$target/images "$root/scripts/registry" start 0)
}
stop_registry() {
    [ -z "$address" ] || CARGO_TARGET_DIR=$work "$root/scripts/registry" stop "${address##*:}"
}

# ---- podman, with a store and settings of its own

podman_() {
    CONTAINERS_CONF=$work/containers.conf podman --root "$work/podman" --runroot /run/podman-bench \
        --tmpdir /run/podman-bench/tmp --runtime runc --cgroup-manager cgroupfs --events-backend file \
        --log-level error "$@"
}
prepare_podman() {
    [ ! -e "$work/containers.conf" ] || return 0
    cat >"$work/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[network]
network_backend = "netavark"
END
    podman_ pull -q --tls-verify=false "$address/busybox:1" >/dev/null
}

# ---- carob

# A command and no function, so that $! of `"${carob[@]}" … &` is carob itself.
carob=("$bin/carob" --root "$work/carob" --state "/run/${work##*/}")
prepare_carob() { "${carob[@]}" image pull "$address/busybox:1" >/dev/null; }

# pod_manifest NAME: two containers that say so through a FIFO when they have started, then wait.
pod_manifest() {
    local container
    cat <<END
apiVersion: v1
kind: Pod
metadata:
  name: $1
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  volumes:
    - name: bench
      hostPath:
        path: $work/shared
    - name: cache
      emptyDir: {}
  containers:
END
    for container in one two; do
        cat <<END
    - name: $container
      image: $address/busybox:1
      command: ["sh", "-c", "trap 'exit 0' TERM; echo $container >/bench/up; sleep 1000000 & wait"]
      volumeMounts:
        - name: bench
          mountPath: /bench
        - name: cache
          mountPath: /cache
END
    done
}
# open_fifo: descriptor 5 hears the containers of pod_manifest.
open_fifo() {
    [ -p "$work/shared/up" ] || { mkdir -p "$work/shared" && mkfifo "$work/shared/up"; }
    exec 5<>"$work/shared/up"
}
# hear N: returns when N containers have started.
hear() {
    local n
    for ((n = 0; n < $1; n++)); do
        read -r -t 60 -u 5 _ || die "only $n of $1 containers started within 60 s of each other"
    done
}
# ticks PID...: CPU time of these processes and the children they have waited for, in the kernel's ticks.
ticks() { local pid; for pid; do sed 's/.*) //' "/proc/$pid/stat"; done | awk '{ n += $12 + $13 + $14 + $15 } END { print n }'; }
