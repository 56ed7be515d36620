# What a thousand Pods cost the supervisor itself, over a runtime that is not there. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

rest_pods=1000 rest_seconds=60

# rest PERIOD: milliseconds of CPU time to bring the Pods up, and of those seconds at rest.
rest() {
    "$bin/examples/rest" "$work/rest" $rest_pods "$1" $rest_seconds || die "the example rest failed"
    rm -rf "$work/rest"
}

bench_rest() {
    local quiet probed
    quiet=$(rest 0)
    probed=$(rest 10)
    cat <<END

## A thousand Pods at rest: \`scripts/bench rest\`

CPU time of one supervisor with $rest_pods Pods of two containers, over a runtime that answers at once
(\`supervisor/examples/rest.rs\`): actors, timers, records and event logs are real. One run.

| ms of CPU time | to bring all up | $rest_seconds s at rest |
|---|---:|---:|
| no probes | ${quiet/ / | } |
| $((2 * rest_pods)) readiness probes, each every 10 s | ${probed/ / | } |
END
}
