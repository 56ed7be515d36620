//! The pause program: holds the namespaces of a Pod, reaps what is left to it, ends on SIGTERM or SIGINT.
//!
//! One runs per Pod for as long as the Pod lives, so it is built without a standard library and touches
//! no memory but its first code page and the stack that the kernel prepared. It does all its work in two
//! system calls and then sleeps in a third:
//!
//! - It ignores SIGCHLD. The kernel then reaps every child that ends (`sigaction(2)`), orphans of a
//!   shared PID namespace included, and never wakes this program for it.
//! - It blocks SIGTERM and SIGINT and takes them with `rt_sigtimedwait`. A blocked signal stays pending
//!   even for the first process of a PID namespace, which otherwise never sees one that it has no
//!   handler for (`pid_namespaces(7)`).

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

const SIGINT: u64 = 2;
const SIGTERM: u64 = 15;
const SIGCHLD: usize = 17;
const SIG_IGN: u64 = 1;
const SIG_SETMASK: usize = 2;

/// The signals that end the program, as a kernel signal set (bit 0 is signal 1).
const ENDING: u64 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1);
const SET_SIZE: usize = size_of::<u64>();

#[cfg(target_arch = "x86_64")]
mod arch {
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const EXIT_GROUP: usize = 231;
    pub const RT_SIGTIMEDWAIT: usize = 128;
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const EXIT_GROUP: usize = 94;
    pub const RT_SIGTIMEDWAIT: usize = 137;
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask; one word each on both architectures.
static IGNORE: [u64; 4] = [SIG_IGN, 0, 0, 0];
static ENDING_SET: u64 = ENDING;

// The kernel enters with nothing that a function may rely on except the stack pointer.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x30, xzr", "bl {main}", main = sym main);

extern "C" fn main() -> ! {
    let ignore = (&raw const IGNORE).addr();
    let ending = (&raw const ENDING_SET).addr();
    // SAFETY: the pointers are to statics of the kernel's layout, and null where the kernel takes none.
    unsafe {
        syscall(arch::RT_SIGACTION, SIGCHLD, ignore, 0, SET_SIZE);
        syscall(arch::RT_SIGPROCMASK, SIG_SETMASK, ending, 0, SET_SIZE);
        // Interrupted by SIGCONT after a SIGSTOP, for one: sleep again.
        while syscall(arch::RT_SIGTIMEDWAIT, ending, 0, 0, SET_SIZE) < 0 {}
        loop {
            syscall(arch::EXIT_GROUP, 0, 0, 0, 0);
        }
    }
}

/// # Safety
///
/// As the system call `number` demands of its arguments.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the caller vouches for the arguments; the instruction clobbers rcx and r11 only.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// # Safety
///
/// As the system call `number` demands of its arguments.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the caller vouches for the arguments; the instruction changes x0 only.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
            in("x3") d, options(nostack));
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
