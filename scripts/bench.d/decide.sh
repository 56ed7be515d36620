# What a decision of the supervisor costs (Criterion, no containers). Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154

bench_decide() {
    cat <<END

## A decision: \`scripts/bench decide\`

The pure core alone (\`supervisor/core/benches/decide.rs\`, Criterion, built as the tests are, opt-level 2): a Pod of two
containers and a sidecar with probes, which runs and is ready. With 1,000 Pods in turn no cache holds one until its
next turn; nothing else grows with their number.

| | µs | range |
|---|---:|---:|
END
    (cd "$root" && cargo bench --locked --offline -p carob-core --bench decide --profile dev -- \
        --warm-up-time 1 --measurement-time 3 --sample-size 50 2>/dev/null) |
        awk '
            / Pods *$/ && !/Benchmarking/ { name = $0 }
            /time:/ {
                if ($0 ~ / Pods/) name = substr($0, 1, index($0, "time:") - 1)
                sub(/ +$/, "", name)
                match($0, /\[.*\]/)
                split(substr($0, RSTART + 1, RLENGTH - 2), f, " ")
                for (i = 1; i < 6; i += 2) if (f[i + 1] == "ns") f[i] /= 1000; else if (f[i + 1] == "ms") f[i] *= 1000
                printf "| %s | %.1f | %.1f – %.1f |\n", name, f[3], f[1], f[5]
            }'
}
