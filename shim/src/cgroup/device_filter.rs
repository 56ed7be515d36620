//! Device rules of cgroup v2: an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE` on the cgroup.

use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::CgroupError;
use super::devices::{Kind, Rule};
use super::dir::Dir;

/// One instruction (linux/bpf.h, `struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u8,
    /// Source register in the upper half, destination in the lower.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Operation codes (linux/bpf.h, linux/bpf_common.h).
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + offset)
const MOVE: u8 = 0xb4; // dst = immediate, 32 bits
const MOVE_REGISTER: u8 = 0xbc; // dst = src, 32 bits
const AND: u8 = 0x54; // dst &= immediate, 32 bits
const SHIFT_RIGHT: u8 = 0x74; // dst >>= immediate, 32 bits
const JUMP_IF_EQUAL: u8 = 0x16; // 32 bits
const JUMP_IF_NOT_EQUAL: u8 = 0x56; // 32 bits
const EXIT: u8 = 0x95;

// Registers. The context (`struct bpf_cgroup_dev_ctx`) comes in 1, the verdict leaves in 0.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn insn(code: u8, dst: u8, src: u8, offset: i16, immediate: u32) -> Insn {
    // The same 32 bits: the kernel reads them as the instruction needs.
    Insn {
        code,
        registers: src << 4 | dst,
        offset,
        immediate: immediate.cast_signed(),
    }
}

/// The program for the rules. It goes through them from the last to the first: a denial of any
/// access still asked for denies, an allowance takes its accesses off, and when none is left, all is
/// allowed. So each access is decided by the last rule about it.
fn program(rules: &[Rule]) -> Vec<Insn> {
    let mut code = vec![
        // The context is { u32 access_type; u32 major; u32 minor }, access in the upper half.
        insn(LOAD_WORD, KIND, CONTEXT, 0, 0),
        insn(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        insn(AND, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        insn(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        code.extend(block);
        if rule.is_total() {
            // Nothing gets past it, and the verifier refuses code that nothing reaches.
            return code;
        }
    }
    code.extend(verdict(false));
    code
}

fn verdict(allow: bool) -> [Insn; 2] {
    [
        insn(MOVE, VERDICT, 0, 0, u32::from(allow)),
        insn(EXIT, 0, 0, 0, 0),
    ]
}

fn block(rule: &Rule) -> Vec<Insn> {
    if rule.is_total() {
        return verdict(rule.allow).to_vec();
    }
    let mut code = Vec::new();
    // BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR 2. The jumps past the block are set below.
    if let Some(kind) = rule.kind {
        code.push(insn(
            JUMP_IF_NOT_EQUAL,
            KIND,
            0,
            0,
            if kind == Kind::Block { 1 } else { 2 },
        ));
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            code.push(insn(JUMP_IF_NOT_EQUAL, register, 0, 0, number));
        }
    }
    if rule.allow {
        code.push(insn(AND, ACCESS, 0, 0, !rule.access));
        code.push(insn(JUMP_IF_NOT_EQUAL, ACCESS, 0, 0, 0));
    } else {
        // The context register is not needed any more: all was read from it.
        code.push(insn(MOVE_REGISTER, CONTEXT, ACCESS, 0, 0));
        code.push(insn(AND, CONTEXT, 0, 0, rule.access));
        code.push(insn(JUMP_IF_EQUAL, CONTEXT, 0, 0, 0));
    }
    code.extend(verdict(rule.allow));
    let end = code.len();
    for (at, insn) in code.iter_mut().enumerate() {
        if matches!(insn.code, JUMP_IF_EQUAL | JUMP_IF_NOT_EQUAL) {
            // A block has at most nine instructions.
            insn.offset = i16::try_from(end - at - 1).expect("a block is a few instructions");
        }
    }
    code
}

/// Loads the program and attaches it. A program that an earlier call attached is replaced.
pub fn attach(dir: &Dir, rules: &[Rule]) -> Result<(), CgroupError> {
    let error = |action: &str, cause| CgroupError::io(action, &dir.path, cause);
    let program =
        load(&program(rules)).map_err(|cause| error("load the device rules for", cause))?;
    let cgroup = dir.open()?;
    let old = attached(&cgroup).map_err(|cause| error("list the device rules of", cause))?;
    // Every attached program must agree, so the new one goes in first: nothing is open in between.
    change(BPF_PROG_ATTACH, &cgroup, &program, BPF_F_ALLOW_MULTI)
        .map_err(|cause| error("attach the device rules to", cause))?;
    for id in old {
        let old = by_id(id).map_err(|cause| error("find the old device rules of", cause))?;
        change(BPF_PROG_DETACH, &cgroup, &old, 0)
            .map_err(|cause| error("detach the old device rules from", cause))?;
    }
    Ok(())
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_PROG_QUERY: i32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// More programs than this on one cgroup are not ours.
const PROGRAMS_MAX: usize = 64;

/// `union bpf_attr` for BPF_PROG_LOAD, as far as it is needed.
#[repr(C)]
struct LoadAttr {
    program_type: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// For BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replace: u32,
}

/// For BPF_PROG_QUERY.
#[repr(C)]
struct QueryAttr {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// For BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct IdAttr {
    id: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: i32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` for this command and its size is given; the
    // pointers in it are set by the callers to memory that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(i32::try_from(result).unwrap_or(0))
    }
}

fn load(code: &[Insn]) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid value of this struct of numbers.
    let mut attr: LoadAttr = unsafe { zeroed() };
    debug_assert_eq!(offset_of!(LoadAttr, name), 48);
    attr.program_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insn_count = u32::try_from(code.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    attr.insns = code.as_ptr() as u64;
    attr.license = c"Apache-2.0".as_ptr() as u64;
    attr.name[..13].copy_from_slice(b"carob_devices");
    let fd = bpf(BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel just gave us this descriptor (close-on-exec, as all of bpf's).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn by_id(id: u32) -> io::Result<OwnedFd> {
    let fd = bpf(
        BPF_PROG_GET_FD_BY_ID,
        &mut IdAttr {
            id,
            next: 0,
            flags: 0,
        },
    )?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The programs on the cgroup itself.
fn attached(cgroup: &OwnedFd) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; PROGRAMS_MAX];
    let mut attr = QueryAttr {
        target: raw(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_MAX as u32,
        padding: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    Ok(ids.iter().copied().take(attr.count as usize).collect())
}

fn change(command: i32, cgroup: &OwnedFd, program: &OwnedFd, flags: u32) -> io::Result<()> {
    let mut attr = AttachAttr {
        target: raw(cgroup),
        program: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        flags,
        replace: 0,
    };
    bpf(command, &mut attr).map(drop)
}

fn raw(fd: &OwnedFd) -> u32 {
    // An open descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;

    /// Runs the program as the kernel would. Every register is 32 bits wide here.
    fn run(code: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> u32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0usize;
        for _ in 0..1000 {
            let Insn {
                code: op,
                registers: names,
                offset,
                immediate,
            } = code[at];
            let (dst, src) = (usize::from(names & 15), usize::from(names >> 4));
            let immediate = immediate.cast_unsigned();
            at += 1;
            match op {
                LOAD_WORD => {
                    registers[dst] = context[usize::try_from(offset / 4).expect("positive")]
                }
                MOVE => registers[dst] = immediate,
                MOVE_REGISTER => registers[dst] = registers[src],
                AND => registers[dst] &= immediate,
                SHIFT_RIGHT => registers[dst] >>= immediate,
                JUMP_IF_EQUAL | JUMP_IF_NOT_EQUAL => {
                    if (registers[dst] == immediate) == (op == JUMP_IF_EQUAL) {
                        at = at
                            .checked_add_signed(isize::from(offset))
                            .expect("in the program");
                    }
                }
                EXIT => return registers[0],
                other => panic!("unknown operation {other:#x}"),
            }
        }
        panic!("the program doesn't end");
    }

    /// What the rules mean, bit by bit: the last rule about an access decides it.
    fn meant(rules: &[Rule], kind: Kind, access: u32, major: u32, minor: u32) -> bool {
        [READ, WRITE, MKNOD]
            .iter()
            .filter(|&&bit| access & bit != 0)
            .all(|&bit| {
                rules
                    .iter()
                    .rev()
                    .find(|rule| {
                        rule.access & bit != 0
                            && rule.kind.is_none_or(|other| other == kind)
                            && rule.major.is_none_or(|other| other == major)
                            && rule.minor.is_none_or(|other| other == minor)
                    })
                    .is_some_and(|rule| rule.allow)
            })
    }

    #[test]
    fn the_program_does_what_the_rules_mean() {
        // All lists of up to three rules out of a varied dozen, on a grid of requests.
        let mut pool = Vec::new();
        for allow in [false, true] {
            let rule = |kind, major, minor, access| Rule {
                allow,
                kind,
                major,
                minor,
                access,
            };
            pool.extend([
                rule(None, None, None, 7),
                rule(None, None, None, READ),
                rule(Some(Kind::Char), Some(1), Some(3), 7),
                rule(Some(Kind::Char), Some(1), None, READ | WRITE),
                rule(Some(Kind::Block), None, Some(3), WRITE),
                rule(Some(Kind::Char), None, None, MKNOD),
            ]);
        }
        let mut lists: Vec<Vec<Rule>> = vec![Vec::new()];
        for length in 0..3 {
            let longer: Vec<Vec<Rule>> = lists
                .iter()
                .filter(|list| list.len() == length)
                .flat_map(|list| pool.iter().map(|rule| [list.as_slice(), &[*rule]].concat()))
                .collect();
            lists.extend(longer);
        }
        for rules in &lists {
            let code = program(rules);
            for (number, kind) in [(1, Kind::Block), (2, Kind::Char)] {
                for access in 1..=7 {
                    for (major, minor) in [(1, 3), (1, 5), (8, 3), (8, 0)] {
                        let verdict = run(&code, number, access, major, minor);
                        let wanted = meant(rules, kind, access, major, minor);
                        assert_eq!(
                            verdict == 1,
                            wanted,
                            "{rules:?} {kind:?} {access} {major}:{minor}"
                        );
                    }
                }
            }
        }
    }
}
