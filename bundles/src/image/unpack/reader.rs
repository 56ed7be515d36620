//! Reads the entries of a tar stream one by one, with everything bounded that an archive can claim.
//!
//! The `tar` crate decodes the headers. Its own iterator is not used: it reads long names and PAX
//! headers of any length into memory, and splits PAX records at newlines.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::LayerError;
use super::pax::Pax;
use super::sparse::SparseMap;

const BLOCK: u64 = 512;
/// Linux allows no path above 4 KiB and no attribute above 64 KiB: this leaves ample room for several.
const MAX_EXTENSION: u64 = 1 << 20;

/// One entry. Its data, if any, is read with [`TarReader::read`] before the next entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: EntryType,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The length of a regular file once unpacked.
    pub size: u64,
    pub sparse: Option<SparseMap>,
}

/// A stream of entries.
pub(crate) struct TarReader<R> {
    input: R,
    /// Data of the current entry that has not been read.
    remaining: u64,
    /// Zeros after the current entry's data.
    padding: u64,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            remaining: 0,
            padding: 0,
        }
    }

    /// The stream, at the start of the current entry's data.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// The stream after the archive's end, to be drained for its digest.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// The next entry, or `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut pax: Option<Pax> = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.skip(self.remaining + self.padding)?;
            (self.remaining, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(malformed("an extended header is followed by no entry"));
                }
                return Ok(None);
            };
            let size = header.entry_size().map_err(damaged)?;
            let known = header.as_gnu().is_some() || header.as_ustar().is_some();
            match header.entry_type() {
                EntryType::XHeader if pax.is_none() => {
                    pax = Some(Pax::parse(&self.extension(size)?).map_err(LayerError::Malformed)?);
                }
                EntryType::GNULongName if known && long_name.is_none() => {
                    long_name = Some(trim_nul(self.extension(size)?));
                }
                EntryType::GNULongLink if known && long_link.is_none() => {
                    long_link = Some(trim_nul(self.extension(size)?));
                }
                EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                    return Err(malformed("two extended headers of one kind for one entry"));
                }
                // Readers differ in what an 'x' before a 'g' belongs to.
                EntryType::XGlobalHeader if pax.is_none() => {
                    self.extension(size)?;
                }
                EntryType::XGlobalHeader => {
                    return Err(malformed("a global header between an entry and its own"));
                }
                _ => {
                    let pax = pax.unwrap_or_default();
                    return self
                        .entry(&header, size, pax, long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        header_size: u64,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, LayerError> {
        let path = pax
            .path
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let bad = |reason: String| LayerError::entry(&path, reason);
        let size = match pax.size {
            // Writers put 0 where the number does not fit; anything else is an archive that shows
            // different content to different readers.
            Some(size) if header_size != 0 && header_size != size => {
                return Err(bad(format!(
                    "its size is {header_size} in one header and {size} in the other"
                )));
            }
            Some(size) => size,
            None => header_size,
        };
        if size > i64::MAX as u64 - BLOCK {
            return Err(bad(format!("its size of {size} bytes is impossible")));
        }
        // Links, directories and nodes have no data whatever their size field says, as in Go's reader.
        let size = if has_data(header.entry_type()) {
            size
        } else {
            0
        };
        let link = pax
            .link
            .or(long_link)
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        let sparse = if header.entry_type().is_gnu_sparse() {
            Some(SparseMap::from_gnu(header, size, &mut self.input).map_err(bad)?)
        } else if pax.sparse.map_in_data {
            let real = pax
                .sparse
                .real_size
                .ok_or_else(|| bad("a sparse file of no size".into()))?;
            let (map, taken) = SparseMap::from_data(real, size, &mut self.input).map_err(bad)?;
            self.remaining -= taken;
            Some(map)
        } else if pax.sparse.is_used() {
            let real = pax.sparse.real_size.unwrap_or(size);
            Some(SparseMap::new(pax.sparse.map, real, size).map_err(bad)?)
        } else {
            None
        };
        let field = |name: &str, error: io::Error| bad(format!("malformed {name}: {error}"));
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => {
                let seconds = header.mtime().map_err(|e| field("time", e))?;
                // Base-256 fields carry two's complement.
                (seconds as i64, 0)
            }
        };
        let device = if header.entry_type().is_character_special()
            || header.entry_type().is_block_special()
        {
            let major = header
                .device_major()
                .map_err(|e| field("device number", e))?;
            let minor = header
                .device_minor()
                .map_err(|e| field("device number", e))?;
            (major.unwrap_or(0), minor.unwrap_or(0))
        } else {
            (0, 0)
        };
        Ok(Entry {
            link: link.unwrap_or_default(),
            kind: header.entry_type(),
            mode: header.mode().map_err(|e| field("mode", e))? & 0o7777,
            uid: pax
                .uid
                .map_or_else(|| header.uid().map_err(|e| field("owner", e)), Ok)?,
            gid: pax
                .gid
                .map_or_else(|| header.gid().map_err(|e| field("group", e)), Ok)?,
            mtime,
            device,
            xattrs: pax.xattrs,
            size: sparse.as_ref().map_or(size, |map| map.real_size),
            path: pax.sparse.name.unwrap_or(path),
            sparse,
        })
    }

    /// The next header, or `None` at a block of zeros or at the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]).map_err(damaged)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(malformed("it ends within a header")),
                n => filled += n,
            }
        }
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum = |block: &[u8]| block.iter().map(|b| u32::from(*b)).sum::<u32>();
        let expected = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
        if header.cksum().map_err(damaged)? != expected {
            return Err(malformed("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > MAX_EXTENSION {
            return Err(malformed("an extended header of more than 1 MiB"));
        }
        let mut data = Vec::new();
        (&mut self.input)
            .take(size)
            .read_to_end(&mut data)
            .map_err(damaged)?;
        if data.len() as u64 != size {
            return Err(malformed("it ends within an extended header"));
        }
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(data)
    }

    fn skip(&mut self, count: u64) -> Result<(), LayerError> {
        let skipped =
            io::copy(&mut (&mut self.input).take(count), &mut io::sink()).map_err(damaged)?;
        if skipped == count {
            Ok(())
        } else {
            Err(malformed("it ends within an entry"))
        }
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads the data of the current entry; the end of the stream within it is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends within an entry",
            ));
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

fn has_data(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Directory
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo
    )
}

/// GNU long names end with a NUL.
fn trim_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|b| *b == 0) {
        name.truncate(end);
    }
    name
}

fn malformed(reason: &str) -> LayerError {
    LayerError::Malformed(reason.to_owned())
}

/// Errors of the stream itself; the quota's own error passes through unchanged.
pub(super) fn damaged(error: io::Error) -> LayerError {
    match error.downcast::<LayerError>() {
        Ok(inner) => inner,
        Err(error) => LayerError::Malformed(error.to_string()),
    }
}
