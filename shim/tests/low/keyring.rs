//! The session keyring of a container's processes.

use std::io::Read;
use std::os::fd::AsRawFd;

use containerd_shim_carob_v1::process::ProcessSetup;

use crate::Test;
use crate::container::{pipe, process, wait};

pub const TESTS: &[Test] = &[(
    "a_session_keyring_is_new_unless_asked_otherwise",
    a_session_keyring_is_new_unless_asked_otherwise,
)];

/// `KEYCTL_GET_KEYRING_ID` of `KEY_SPEC_SESSION_KEYRING` (keyctl(2)); made if there is none.
fn session() -> i64 {
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 1) }
}

/// The keyring that a process has after its last steps.
fn session_after(setup: &ProcessSetup) -> i64 {
    let (mut read, write) = pipe();
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        setup.apply().unwrap();
        let bytes = session().to_ne_bytes();
        // SAFETY: pointer and length are of one array; then the child ends.
        unsafe {
            libc::write(write.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
            libc::_exit(0)
        }
    }
    drop(write);
    let mut bytes = [0; 8];
    read.read_exact(&mut bytes).unwrap();
    wait(child);
    i64::from_ne_bytes(bytes)
}

fn a_session_keyring_is_new_unless_asked_otherwise() {
    let setup = || ProcessSetup::from_spec(&process(&["/bin/true"], "{}"), None).unwrap();
    let ours = session();
    assert!(ours > 0);
    let new = session_after(&setup());
    assert!(new > 0 && new != ours);
    assert_eq!(session_after(&setup().without_new_keyring()), ours);
}
