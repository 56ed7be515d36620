# From the seccomp profile that podman and Docker ship (its rules are containerd's) to the one of an OCI
# config.json, for the capabilities of $caps and this architecture.
def applies: ((.includes.caps // []) | all(. as $c | $caps | index($c)))
    and ((.includes.arches // [$arch]) | index($arch))
    and ((.excludes.caps // []) | any(. as $c | $caps | index($c)) | not)
    and ((.excludes.arches // []) | index($arch) | not);
{
    defaultAction, defaultErrnoRet,
    architectures: [.archMap[] | select(.architecture == ({x86_64: "SCMP_ARCH_X86_64", aarch64: "SCMP_ARCH_AARCH64"})[$machine]) | .architecture, .subArchitectures[]],
    syscalls: [.syscalls[] | select(applies) | {names, action, errnoRet, args: (.args // [])} | del(.. | nulls)]
}
