//! Finds out by its first bytes how a layer is compressed, as containerd does, and decompresses it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// A stream with its compression, if any, taken off.
pub(crate) enum Decompressed<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A zstd stream may begin with a skippable frame; its magic number is 0x184D2A50 to …5F.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// 128 MiB, the default of zstd: a window of `--long=31` would let a layer take 2 GiB of memory.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 64 << 10;

impl<R: Read> Decompressed<R> {
    /// # Errors
    /// Those of the stream.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        let start = input.fill_buf()?;
        if start.starts_with(GZIP) {
            return Ok(Self::Gzip(Box::new(MultiGzDecoder::new(input))));
        }
        let skippable =
            start.len() >= 4 && start[0] & 0xf0 == 0x50 && &start[1..4] == ZSTD_SKIPPABLE;
        if start.starts_with(ZSTD) || skippable {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            return Ok(Self::Zstd(Box::new(decoder)));
        }
        Ok(Self::Plain(input))
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(input) => input.read(buffer),
            Self::Zstd(input) => input.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn decompress(data: &[u8]) -> Vec<u8> {
        let mut result = Vec::new();
        Decompressed::new(data)
            .unwrap()
            .read_to_end(&mut result)
            .unwrap();
        result
    }

    #[test]
    fn all_kinds_in_several_pieces() {
        let text = b"layer ".repeat(1000);
        let gzip = |data: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |data: &[u8]| zstd::encode_all(data, 1).unwrap();
        assert_eq!(decompress(&text), text);
        assert_eq!(decompress(b""), b"");
        assert_eq!(
            decompress(&[gzip(&text[..10]), gzip(&text[10..])].concat()),
            text
        );
        assert_eq!(
            decompress(&[zstd(&text[..10]), zstd(&text[10..])].concat()),
            text
        );
        let skippable = [
            &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
            &zstd(&text),
        ]
        .concat();
        assert_eq!(decompress(&skippable), text);
    }
}
