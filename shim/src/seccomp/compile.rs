//! From a profile to BPF, by libseccomp.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use libseccomp::error::SeccompError as LibraryError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::{Insn, SeccompError, enosys};

/// The largest value an error number can have (kernel: MAX_ERRNO).
const ERRNO_MAX: u32 = 4095;
/// A system call has this many arguments.
const ARGUMENTS: usize = 6;

fn invalid(what: &str, cause: &LibraryError) -> SeccompError {
    SeccompError::Invalid(format!("{what}: {cause}"))
}

pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<Insn>, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut filter = ScmpFilterContext::new(default)
        .map_err(|cause| invalid("no filter with this default action", &cause))?;
    for &arch in profile.architectures().iter().flatten() {
        filter
            .add_arch(architecture(arch))
            .map_err(|cause| invalid(&format!("no architecture {arch}"), &cause))?;
    }
    // A binary tree over the numbers instead of a list; libseccomp before 2.5 has lists only.
    if let Err(cause) = filter.set_ctl_optimize(2) {
        tracing::debug!(%cause, "the system call filter is not optimized");
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        // libseccomp refuses what changes nothing.
        if action != default {
            add(&mut filter, rule, action)?;
        }
    }
    let mut program = enosys::stub(profile);
    program.extend(export(&filter)?);
    Ok(program)
}

fn add(
    filter: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    action: ScmpAction,
) -> Result<(), SeccompError> {
    let conditions = rule
        .args()
        .iter()
        .flatten()
        .map(condition)
        .collect::<Result<Vec<_>, _>>()?;
    // libseccomp takes one condition for each argument. As in runc, several for the same one make
    // several rules, any of which matches.
    let arguments = || rule.args().iter().flatten().map(LinuxSeccompArg::index);
    let twice = (0..ARGUMENTS).any(|index| arguments().filter(|&other| other == index).count() > 1);
    for name in rule.names() {
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            tracing::debug!(name, "libseccomp doesn't know this system call: left out");
            continue;
        };
        let added = if twice {
            conditions.iter().try_for_each(|condition| {
                filter
                    .add_rule_conditional(action, syscall, std::slice::from_ref(condition))
                    .map(drop)
            })
        } else {
            filter
                .add_rule_conditional(action, syscall, &conditions)
                .map(drop)
        };
        added.map_err(|cause| invalid(&format!("the rule for {name}"), &cause))?;
    }
    Ok(())
}

fn condition(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, SeccompError> {
    if arg.index() >= ARGUMENTS {
        return Err(SeccompError::Invalid(format!(
            "argument index {} is over 5",
            arg.index()
        )));
    }
    let second = arg.value_two().unwrap_or(0);
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // OCI's `value` is the mask and `valueTwo` what must be left (runc, seccomp_rule_add(3)).
        LinuxSeccompOperator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), second),
    };
    // In 0 to 5.
    Ok(ScmpArgCompare::new(arg.index() as u32, op, value))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, SeccompError> {
    let errno = errno.unwrap_or(libc::EPERM.cast_unsigned());
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => {
            if errno > ERRNO_MAX {
                return Err(SeccompError::Invalid(format!(
                    "errnoRet {errno} is over {ERRNO_MAX}"
                )));
            }
            ScmpAction::Errno(errno.cast_signed())
        }
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(
            u16::try_from(errno)
                .map_err(|_| SeccompError::Invalid(format!("errnoRet {errno} is over 65535")))?,
        ),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => return Err(SeccompError::Notify),
    })
}

/// libseccomp's name of an architecture.
pub fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

fn export(filter: &ScmpFilterContext) -> Result<Vec<Insn>, SeccompError> {
    let failed = |cause: std::io::Error| SeccompError::Invalid(format!("no program: {cause}"));
    let mut file = memory_file().map_err(failed)?;
    filter
        .export_bpf(&file)
        .map_err(|cause| invalid("no program", &cause))?;
    let mut bytes = Vec::new();
    file.rewind().map_err(failed)?;
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Insn::read_all(&bytes))
}

/// libseccomp before 2.6 exports to a descriptor only.
fn memory_file() -> std::io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: a NUL-terminated name and a flag.
    let fd = unsafe { libc::memfd_create(c"seccomp".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    let file = unsafe { File::from_raw_fd(fd) };
    debug_assert!(file.as_raw_fd() >= 0);
    Ok(file)
}

impl Insn {
    /// The size in a file or in memory.
    pub(super) const SIZE: usize = size_of::<Self>();

    /// Reads instructions in the machine's own byte order; a rest is left out.
    pub(super) fn read_all(bytes: &[u8]) -> Vec<Self> {
        bytes
            .chunks_exact(Self::SIZE)
            .map(|bytes| Self {
                code: u16::from_ne_bytes([bytes[0], bytes[1]]),
                jump_true: bytes[2],
                jump_false: bytes[3],
                k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            })
            .collect()
    }

    /// The bytes in the machine's own order.
    pub(super) fn bytes(self) -> [u8; Self::SIZE] {
        let [a, b] = self.code.to_ne_bytes();
        let [e, f, g, h] = self.k.to_ne_bytes();
        [a, b, self.jump_true, self.jump_false, e, f, g, h]
    }
}
