//! Files of an image on disk: in a directory, or in a tar archive that is indexed once and then read in place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pathrs::Root;
use pathrs::error::ErrorKind;
use pathrs::flags::OpenFlags;
use tar::EntryType;

use crate::image::document::MAX_DOCUMENT;
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::unpack::{Cancel, Decompressed, Limits, TarReader};

/// A set of named files.
pub(super) enum Source {
    Directory {
        root: Root,
        path: PathBuf,
    },
    Archive {
        file: File,
        members: HashMap<String, Member>,
        name: String,
    },
}

/// Where a file is within the archive.
#[derive(Clone)]
pub(super) enum Member {
    Data {
        offset: u64,
        size: u64,
    },
    /// Old `docker save` links identical layers.
    Link(String),
}

/// An archive of images has a handful of files for each.
const MAX_MEMBERS: usize = 1 << 16;

impl Source {
    /// A layout's directory.
    pub(super) fn directory(path: &Path) -> Result<Self> {
        let root = Root::open(path)
            .map_err(io::Error::other)
            .at("open", path)?;
        Ok(Self::Directory {
            root,
            path: path.to_owned(),
        })
    }

    /// An archive, compressed or not. What cannot be read in place is copied to an unnamed file in `tmp`.
    pub(super) fn archive(
        input: Input,
        name: &str,
        tmp: &Path,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let file = match input {
            Input::File(mut file) if file.metadata().is_ok_and(|meta| meta.is_file()) => {
                let plain = matches!(Decompressed::new(&file), Ok(Decompressed::Plain(_)));
                file.rewind().at("read", Path::new(name))?;
                if plain {
                    file
                } else {
                    spool(file, name, tmp, limits, cancel)?
                }
            }
            Input::File(file) => spool(file, name, tmp, limits, cancel)?,
            Input::Stream(stream) => spool(stream, name, tmp, limits, cancel)?,
        };
        let members = members(&file).map_err(|reason| ImageError::refused(name, reason))?;
        Ok(Self::Archive {
            file,
            members,
            name: name.to_owned(),
        })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory { path, .. } => path.display().to_string(),
            Self::Archive { name, .. } => name.clone(),
        }
    }

    /// A file's content as a stream, and its length. `None` when there is no such file.
    pub(super) fn open(&self, path: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        match self {
            Self::Directory {
                root,
                path: directory,
            } => {
                // Not to wait for the writer of a FIFO.
                let flags = OpenFlags::O_RDONLY | OpenFlags::O_NONBLOCK;
                let full = directory.join(path);
                let file = match root.open_subpath(path, flags) {
                    Ok(file) => file,
                    Err(e) if e.kind() == ErrorKind::OsError(Some(nix::libc::ENOENT)) => {
                        return Ok(None);
                    }
                    Err(error) => return Err(io::Error::other(error)).at("open", &full),
                };
                let meta = file.metadata().at("read", &full)?;
                if !meta.is_file() {
                    return Err(ImageError::refused(
                        full.display().to_string(),
                        "it is not a regular file",
                    ));
                }
                Ok(Some((Box::new(file), meta.len())))
            }
            Self::Archive { file, members, .. } => {
                let mut member = members.get(path);
                // Links to links are not made by any tool.
                if let Some(Member::Link(target)) = member {
                    member = members.get(target);
                }
                Ok(match member {
                    Some(&Member::Data { offset, size }) => Some((
                        Box::new(Section {
                            file,
                            offset,
                            end: offset + size,
                        }),
                        size,
                    )),
                    Some(Member::Link(_)) | None => None,
                })
            }
        }
    }

    /// A small file in memory.
    pub(super) fn document(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some((reader, size)) = self.open(path)? else {
            return Ok(None);
        };
        let what = || format!("{path} in {}", self.name());
        if size > MAX_DOCUMENT {
            return Err(ImageError::refused(
                what(),
                format!("it is larger than {MAX_DOCUMENT} bytes"),
            ));
        }
        let mut content = Vec::new();
        reader
            .take(MAX_DOCUMENT)
            .read_to_end(&mut content)
            .at("read", Path::new(&what()))?;
        Ok(Some(content))
    }
}

/// An archive's bytes.
pub enum Input {
    /// Read in place if it is a regular file that is not compressed.
    File(File),
    /// Such as standard input.
    Stream(Box<dyn Read + Send>),
}

fn spool(
    input: impl Read,
    name: &str,
    tmp: &Path,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<File> {
    let mut file = tempfile::tempfile_in(tmp).at("create", tmp)?;
    let damaged =
        |error: io::Error| ImageError::refused(name, format!("it cannot be decompressed: {error}"));
    let mut input = Decompressed::new(input).map_err(damaged)?;
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        if cancel.is_cancelled() {
            return Err(ImageError::refused(name, "the import was cancelled"));
        }
        let count = input.read(&mut buffer).map_err(damaged)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > limits.bytes {
            return Err(ImageError::refused(
                name,
                format!("it has more than {} bytes", limits.bytes),
            ));
        }
        io::Write::write_all(&mut file, &buffer[..count]).at("write", tmp)?;
    }
    Ok(file)
}

fn members(file: &File) -> Result<HashMap<String, Member>, String> {
    let mut start = file;
    start.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    let mut reader = TarReader::new(Counted {
        input: BufReader::with_capacity(128 << 10, file),
        position: 0,
    });
    let mut members = HashMap::new();
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        let Some(path) = text(&entry.path) else {
            continue;
        };
        let member = match entry.kind {
            EntryType::Regular | EntryType::Continuous if entry.sparse.is_none() => Member::Data {
                offset: reader.input().position,
                size: entry.size,
            },
            EntryType::Symlink | EntryType::Link => {
                let Some(target) = text(&entry.link) else {
                    continue;
                };
                // Symbolic links are relative to where they are, hard links to the archive's root.
                let base = if entry.kind == EntryType::Symlink {
                    Path::new(&path).parent()
                } else {
                    None
                };
                Member::Link(join(base.unwrap_or(Path::new("")), &target))
            }
            _ => continue,
        };
        members.insert(path, member);
        if members.len() > MAX_MEMBERS {
            return Err(format!("it has more than {MAX_MEMBERS} files"));
        }
    }
    Ok(members)
}

/// A name without `./` and the like; `None` for what no image has.
fn text(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    Some(join(Path::new(""), name))
}

/// Resolves `..` by the text alone; never above the archive's root.
fn join(base: &Path, path: &str) -> String {
    let mut parts: Vec<&str> = base
        .to_str()
        .unwrap_or_default()
        .split('/')
        .filter(|p| !p.is_empty())
        .collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Counts what is read, to know where a member's data starts.
struct Counted<R> {
    input: R,
    position: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A part of a file, read without moving the file's own position.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        Ok(count)
    }
}
