//! Sparse files in tar archives: old GNU headers and the three PAX forms, as one list of data segments.

use std::io::Read;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

/// A run of data within a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// Where the data of a sparse file belongs, and how long the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    pub segments: Vec<Segment>,
    pub real_size: u64,
}

/// As many pieces as a file of any sane layer can have; each costs sixteen bytes of memory.
const MAX_SEGMENTS: usize = 1 << 16;

impl SparseMap {
    /// Checks that the segments are in order, do not overlap, fit the file and account for all stored data.
    pub(super) fn new(
        mut segments: Vec<Segment>,
        real_size: u64,
        stored: u64,
    ) -> Result<Self, String> {
        if segments.len() > MAX_SEGMENTS {
            return Err(format!("a sparse file of more than {MAX_SEGMENTS} pieces"));
        }
        let mut end = 0;
        let mut sum = 0u64;
        for segment in &segments {
            if segment.offset < end {
                return Err("the pieces of a sparse file overlap".into());
            }
            end = segment
                .offset
                .checked_add(segment.length)
                .filter(|end| *end <= real_size)
                .ok_or("a piece of a sparse file is beyond its end")?;
            sum += segment.length;
        }
        if sum != stored {
            return Err("the pieces of a sparse file are not as long as its data".into());
        }
        segments.retain(|segment| segment.length > 0);
        Ok(Self {
            segments,
            real_size,
        })
    }

    /// Reads the map of an old GNU sparse header, with the blocks that follow it in `input`.
    /// Returns the count of extra bytes taken from `input` too.
    pub(super) fn from_gnu(
        header: &Header,
        stored: u64,
        input: &mut impl Read,
    ) -> Result<Self, String> {
        let gnu = header
            .as_gnu()
            .ok_or("a sparse file without a GNU header")?;
        let mut segments = Vec::new();
        let mut add = |blocks: &[GnuSparseHeader]| -> Result<(), String> {
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                let offset = block.offset().map_err(|e| e.to_string())?;
                let length = block.length().map_err(|e| e.to_string())?;
                segments.push(Segment { offset, length });
            }
            if segments.len() > MAX_SEGMENTS {
                return Err(format!("a sparse file of more than {MAX_SEGMENTS} pieces"));
            }
            Ok(())
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extension = GnuExtSparseHeader::new();
            input
                .read_exact(extension.as_mut_bytes())
                .map_err(|e| e.to_string())?;
            add(&extension.sparse)?;
            more = extension.is_extended();
        }
        let real_size = gnu.real_size().map_err(|e| e.to_string())?;
        Self::new(segments, real_size, stored)
    }

    /// Reads the map that version 1.0 puts in front of the data: a count, then offset and length of each
    /// piece, one decimal number a line, filled up to a block. `stored` is what the header calls the size.
    pub(super) fn from_data(
        real_size: u64,
        stored: u64,
        input: &mut impl Read,
    ) -> Result<(Self, u64), String> {
        let mut taken = 0;
        let mut block = [0; 512];
        let mut at = block.len();
        let mut number = || -> Result<u64, String> {
            let mut value = 0u64;
            for digits in 0..20 {
                if at == block.len() {
                    if taken + 512 > stored {
                        return Err("the map of a sparse file is longer than its data".into());
                    }
                    input.read_exact(&mut block).map_err(|e| e.to_string())?;
                    taken += 512;
                    at = 0;
                }
                let byte = block[at];
                at += 1;
                match byte {
                    b'\n' if digits > 0 => return Ok(value),
                    b'0'..=b'9' => {
                        value = value
                            .checked_mul(10)
                            .and_then(|v| v.checked_add(u64::from(byte - b'0')))
                            .ok_or("malformed map of a sparse file")?;
                    }
                    _ => break,
                }
            }
            Err("malformed map of a sparse file".into())
        };
        let count = usize::try_from(number()?)
            .ok()
            .filter(|count| *count <= MAX_SEGMENTS);
        let count =
            count.ok_or_else(|| format!("a sparse file of more than {MAX_SEGMENTS} pieces"))?;
        let mut segments = Vec::new();
        for _ in 0..count {
            let (offset, length) = (number()?, number()?);
            segments.push(Segment { offset, length });
        }
        Ok((Self::new(segments, real_size, stored - taken)?, taken))
    }
}
