//! Gives back the memory that a process needs while it works but not while it waits: a shim and a supervisor
//! wait for most of their life, and there is one shim per Pod.
//!
//! Pages of the program and its libraries are only mapped copies of the page cache: unmapped, they come back
//! with a minor fault when they are needed. Free pages of the heap go back to the kernel.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Gives back what can be had again. To be called when nothing is expected to happen soon.
///
/// # Errors
/// When `/proc/self/smaps` can't be read or the kernel refuses: nothing is lost then.
pub fn give_back() -> io::Result<()> {
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    for Mapping { start, length } in clean_mappings(&smaps) {
        let Some(address) = NonNull::new(start as *mut c_void) else {
            continue;
        };
        // SAFETY: the mapping is of a file, read-only and without a page of its own (no relocation was ever
        // written to it), so what is dropped is read again from the file as it was.
        unsafe { madvise(address, length, MmapAdvise::MADV_DONTNEED) }?;
    }
    drop(smaps);
    // SAFETY: may be called at any time (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
}

/// Mappings of files that nobody can write to and that have no private pages (proc_pid_smaps(5)).
fn clean_mappings(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(kib) = line.strip_prefix("Anonymous:") {
            let clean = kib.trim() == "0 kB";
            found.extend(current.take().filter(|_| clean));
        } else if let Some(mapping) = read_only_file(line) {
            current = mapping;
        }
    }
    found
}

/// The outer option is for the first line of a mapping, the inner one for a file mapped without write access.
fn read_only_file(line: &str) -> Option<Option<Mapping>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let permissions = fields.next()?;
    let file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let read_only = permissions.starts_with("r-") && permissions.ends_with('p');
    Some((file && read_only).then(|| Mapping {
        start,
        length: end - start,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r--p 00000000 fe:00 7 /bin/x
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r-xp 00002000 fe:00 7 /bin/x
Anonymous:             0 kB
4000-5000 r--p 00003000 fe:00 7 /bin/x
Anonymous:             4 kB
5000-6000 rw-p 00004000 fe:00 7 /bin/x
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 9 /tmp/shared
Anonymous:             0 kB
";

    #[test]
    fn only_clean_read_only_files_are_dropped() {
        let expected = [(0x1000, 0x2000), (0x3000, 0x1000)];
        let expected = expected.map(|(start, length)| Mapping { start, length });
        assert_eq!(clean_mappings(SMAPS), expected);
    }

    #[test]
    fn a_process_goes_on_after_giving_back() {
        let before = format!("{:?}", std::env::args().collect::<Vec<_>>());
        give_back().unwrap();
        assert_eq!(
            format!("{:?}", std::env::args().collect::<Vec<_>>()),
            before
        );
    }
}
