//! Programs kept on disk, each under the hash of what it was made from.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libseccomp::ScmpVersion;
use oci_spec::runtime::LinuxSeccomp;
use sha2::{Digest, Sha256};

use super::{Insn, Program, SeccompError};

/// Changes when the way a program is made changes, or the file.
const FORMAT: &str = "carob-seccomp-1\n";
/// The kernel takes no longer program (BPF_MAXINSNS).
const INSNS_MAX: usize = 4096;
const HASH: usize = 32;

/// The place of one profile's program.
pub struct Cache {
    dir: PathBuf,
    file: PathBuf,
}

impl Cache {
    /// The place for `profile` in `dir`. Whatever decides the program decides the name: the profile,
    /// libseccomp's version (which knows more system calls each time) and the architecture.
    pub fn open(dir: &Path, profile: &LinuxSeccomp) -> Result<Self, SeccompError> {
        let invalid = |cause: &dyn std::fmt::Display| SeccompError::Invalid(cause.to_string());
        // The types behind it have a fixed order and no maps, so equal profiles give equal text.
        let text = serde_json::to_vec(profile).map_err(|cause| invalid(&cause))?;
        let version = ScmpVersion::current().map_err(|cause| invalid(&cause))?;
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(format!("{version} {}\n", std::env::consts::ARCH));
        hash.update(&text);
        let name: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            dir: dir.to_owned(),
            file: dir.join(name),
        })
    }

    /// The program, if it is there, whole, and nobody else could have written it.
    pub fn get(&self) -> Option<Program> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.file)
            .ok()?;
        let read = || -> io::Result<Option<Program>> {
            if !is_ours(&fs::symlink_metadata(&self.dir)?) || !is_ours(&file.metadata()?) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            (&file)
                .take((INSNS_MAX * Insn::SIZE + 4096) as u64)
                .read_to_end(&mut bytes)?;
            Ok(decode(&bytes))
        };
        let program = read().ok().flatten();
        if program.is_none() {
            tracing::warn!(path = %self.file.display(), "a damaged seccomp program is made again");
        }
        program
    }

    /// Keeps the program. Other shims may do the same at the same time.
    pub fn put(&self, program: &Program) -> Result<(), SeccompError> {
        let error = |path: &Path, cause| SeccompError::Cache {
            path: path.to_owned(),
            cause,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|cause| error(&self.dir, cause))?;
        let dir = fs::symlink_metadata(&self.dir).map_err(|cause| error(&self.dir, cause))?;
        if !dir.is_dir() || !is_ours(&dir) {
            tracing::warn!(path = %self.dir.display(), "others can write here: nothing is kept");
            return Ok(());
        }
        let temporary = self.file.with_extension(std::process::id().to_string());
        let written = || -> io::Result<()> {
            // Left by a process of the same number, which is dead.
            match fs::remove_file(&temporary) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
            let mut file: File = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&encode(program))?;
            fs::rename(&temporary, &self.file)
        };
        written().map_err(|cause| {
            // The first error is the one to tell.
            let _: io::Result<()> = fs::remove_file(&temporary);
            error(&self.file, cause)
        })
    }
}

/// Whether it belongs to us and only we can write it.
fn is_ours(metadata: &fs::Metadata) -> bool {
    // SAFETY: takes nothing, never fails.
    let own = unsafe { libc::geteuid() };
    metadata.uid() == own && metadata.mode() & 0o022 == 0
}

/// Format, flags, instructions, and the hash of all that.
fn encode(program: &Program) -> Vec<u8> {
    let mut bytes = FORMAT.as_bytes().to_vec();
    bytes.extend(program.flags.to_ne_bytes());
    bytes.extend(program.insns.iter().flat_map(|insn| insn.bytes()));
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Program> {
    let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if Sha256::digest(content).as_slice() != hash {
        return None;
    }
    let (flags, insns) = content
        .strip_prefix(FORMAT.as_bytes())?
        .split_first_chunk::<4>()?;
    if insns.is_empty() || insns.len() % Insn::SIZE != 0 || insns.len() / Insn::SIZE > INSNS_MAX {
        return None;
    }
    Some(Program {
        insns: Insn::read_all(insns),
        flags: u32::from_ne_bytes(*flags),
    })
}
