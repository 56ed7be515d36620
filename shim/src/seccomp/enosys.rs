//! `ENOSYS` for system calls that a profile's author could not know.
//!
//! A profile lists what is allowed; everything else gets its default action, usually `EPERM`. A C
//! library that tries a newer system call takes `EPERM` for a final answer but would fall back to an
//! older one on `ENOSYS`. So what comes after the last system call that the profile names anywhere
//! gets `ENOSYS`, as in runc.

use libseccomp::ScmpSyscall;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction};

use super::Insn;
use super::compile::architecture;

// Classic BPF (linux/bpf_common.h).
const LOAD: u16 = 0x20; // A = the word at k of `struct seccomp_data`
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// `SECCOMP_RET_ERRNO | ENOSYS`.
const RETURN_ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;
/// x32 has x86-64's architecture and this bit in its numbers.
const X32_BIT: u32 = 0x4000_0000;
const X86_64: u32 = Arch::ScmpArchX86_64 as u32;
/// On s390, a number that the kernel doesn't know arrives as 0, which is otherwise setup(2): unused
/// for decades.
const S390: [u32; 2] = [Arch::ScmpArchS390 as u32, Arch::ScmpArchS390x as u32];

fn insn(code: u16, jump_true: u8, jump_false: u8, k: u32) -> Insn {
    Insn {
        code,
        jump_true,
        jump_false,
        k,
    }
}

/// What goes before the filter proper. Empty where the default action lets things through or is
/// `ENOSYS` anyway.
pub fn stub(profile: &LinuxSeccomp) -> Vec<Insn> {
    let passes = matches!(
        profile.default_action(),
        LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog
    );
    if passes || profile.default_errno_ret() == Some(libc::ENOSYS as u32) {
        return Vec::new();
    }
    let sections: Vec<Vec<Insn>> = tokens(profile)
        .iter()
        .filter(|&&token| token != Arch::ScmpArchX32 as u32)
        .filter_map(|&token| section(profile, token))
        .collect();
    if sections.is_empty() {
        return Vec::new();
    }
    let mut rest: usize = sections.iter().map(Vec::len).sum();
    let mut program = vec![insn(LOAD, 0, 0, ARCHITECTURE)];
    for mut section in sections {
        rest -= section.len();
        // Every section ends with a jump over those after it, into the filter.
        if let Some(last) = section.last_mut() {
            last.k = rest as u32;
        }
        program.extend(section);
    }
    program
}

/// The architectures by libseccomp's token, which is the kernel's AUDIT_ARCH_* but for x32. The
/// native one is always in a filter.
fn tokens(profile: &LinuxSeccomp) -> Vec<u32> {
    let mut tokens = vec![native()];
    for &arch in profile.architectures().iter().flatten() {
        let token = arch as u32;
        if arch != Arch::ScmpArchNative && !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens
}

fn native() -> u32 {
    let arch = if cfg!(target_arch = "x86_64") {
        Arch::ScmpArchX86_64
    } else if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else if cfg!(target_arch = "riscv64") {
        Arch::ScmpArchRiscv64
    } else if cfg!(target_arch = "s390x") {
        Arch::ScmpArchS390x
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        Arch::ScmpArchPpc64le
    } else if cfg!(target_arch = "loongarch64") {
        Arch::ScmpArchLoongarch64
    } else {
        // Elsewhere nothing is known to be native: only the profile's own architectures count.
        Arch::ScmpArchNative
    };
    arch as u32
}

/// The instructions for one of the kernel's architectures; the last one is a jump to be set.
fn section(profile: &LinuxSeccomp, token: u32) -> Option<Vec<Insn>> {
    let present = tokens(profile);
    let last = |arch: Arch| {
        let named = present.contains(&(arch as u32));
        named.then(|| last(profile, arch)).flatten()
    };
    let body = if token == X86_64 {
        let (x64, x32) = (last(Arch::ScmpArchX86_64), last(Arch::ScmpArchX32));
        x64.or(x32)?;
        // Nothing is above the largest number: that part is then the filter's alone.
        vec![
            insn(JUMP_SET, 0, 1, X32_BIT),
            insn(JUMP_GREATER, 1, 2, x32.unwrap_or(u32::MAX)),
            insn(JUMP_GREATER, 0, 1, x64.unwrap_or(u32::MAX)),
        ]
    } else {
        let arch = profile
            .architectures()
            .iter()
            .flatten()
            .copied()
            .find(|&arch| arch as u32 == token);
        let known = last(arch.unwrap_or(Arch::ScmpArchNative)).or_else(|| {
            (token == native())
                .then(|| self::last(profile, Arch::ScmpArchNative))
                .flatten()
        })?;
        let mut body = Vec::new();
        if S390.contains(&token) {
            body.push(insn(JUMP_EQUAL, 1, 0, 0));
        }
        body.push(insn(JUMP_GREATER, 0, 1, known));
        body
    };
    let mut section = vec![
        // Past the load, the body, the return and the jump.
        insn(JUMP_EQUAL, 0, body.len() as u8 + 3, token),
        insn(LOAD, 0, 0, NUMBER),
    ];
    section.extend(body);
    section.push(insn(RETURN, 0, 0, RETURN_ENOSYS));
    section.push(insn(JUMP, 0, 0, 0));
    Some(section)
}

/// The largest number among the system calls that the profile names.
fn last(profile: &LinuxSeccomp, arch: Arch) -> Option<u32> {
    profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|rule| rule.names())
        .filter_map(|name| ScmpSyscall::from_name_by_arch(name, architecture(arch)).ok())
        // Negative ones are libseccomp's own, for calls this architecture has not got.
        .filter_map(|syscall| u32::try_from(syscall.as_raw_syscall()).ok())
        .max()
}
