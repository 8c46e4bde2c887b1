//! Frames: one line, compressed, exactly as it is stored and sent. What a line says is the other modules' business.
//!
//! A frame is a whole zstd frame with content checksum and content size (RFC 8878, 3.1.1), or a whole gzip member
//! (RFC 1952, 2.2). Either kind laid end to end is one valid stream.

use std::io::{self, Read, Write as _};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use zstd::zstd_safe::{self, CParameter};

use crate::uplink::Encoding;

/// Level and shortest match by measurement (`examples/encode.rs`: 2 000 readings in a block, `u16` only; a third each of
/// `u16`, `f32` and scaled). Numbers share short runs of digits by chance; not to match those leaves them to the entropy
/// coder, which is both smaller and faster. Level 4 would save 1 to 2 % for twice the time. Memory is the same for all.
///
/// | level, shortest match | bytes per reading | ns per reading |
/// |---|---|---|
/// | 1, its own | 1.98, 2.53 | 22, 27 |
/// | 1, 6 | 1.90, 2.50 | 17, 21 |
/// | 3, its own | 2.01, 2.54 | 26, 35 |
/// | **3, 6** | **1.83, 2.46** | **20, 26** |
/// | 4, 6 | 1.81, 2.40 | 39, 55 |
/// | 9, its own | –, 2.34 | –, 321 |
const ZSTD_LEVEL: i32 = 3;
const ZSTD_SHORTEST_MATCH: u32 = 6;

/// The largest window that RFC 8878 (3.1.1.1.2) asks a reader to take, 8 MiB: what a frame may make us allocate.
const WINDOW_LOG_MAX: u32 = 23;

/// Room that is kept for the next line: several times a block of numbers. One long line must not cost its memory for
/// ever.
const KEEP_BYTES: usize = 128 << 10;

/// The first bytes of every frame of a kind (RFC 8878, 3.1.1; RFC 1952, 2.3.1).
const MAGIC: [(Encoding, &[u8]); 2] = [(Encoding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]), (Encoding::Gzip, &[0x1f, 0x8b])];

/// What kind a stored frame is, which may be another than is written today.
#[must_use]
pub fn encoding_of(frame: &[u8]) -> Option<Encoding> {
    MAGIC.iter().find(|(_, magic)| frame.starts_with(magic)).map(|(encoding, _)| *encoding)
}

/// Turns lines into frames. Keeps its working memory between lines.
pub struct Compressor {
    codec: Codec,
    /// The line with its line feed.
    scratch: Vec<u8>,
    frame: Vec<u8>,
}

enum Codec {
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("encoding", &self.encoding()).finish_non_exhaustive()
    }
}

/// Why a line could not be compressed.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress a line of {bytes} bytes with {}: {source}", encoding.token())]
pub struct CompressError {
    encoding: Encoding,
    bytes: usize,
    source: io::Error,
}

/// Why a frame gave no lines.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// Truncated, damaged, or no frame at all.
    #[error("{bytes} bytes are no valid {} stream: {source}", encoding.token())]
    Damaged {
        /// Which kind was expected.
        encoding: Encoding,
        /// How many there are.
        bytes: usize,
        /// What the decoder found.
        source: io::Error,
    },
    /// More came out than the caller takes.
    #[error("the frames hold more than {max_len} bytes")]
    TooLong {
        /// What the caller takes.
        max_len: usize,
    },
}

impl Compressor {
    /// A compressor for frames of this kind.
    ///
    /// # Errors
    /// Where the library cannot get the memory for its context.
    pub fn new(encoding: Encoding) -> Result<Self, CompressError> {
        let codec = match encoding {
            Encoding::Zstd => {
                Codec::Zstd(zstd_context().map_err(|source| CompressError { encoding, bytes: 0, source })?)
            }
            Encoding::Gzip => Codec::Gzip,
        };
        Ok(Compressor { codec, scratch: Vec::new(), frame: Vec::new() })
    }

    /// The kind of frames that it makes.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self.codec {
            Codec::Zstd(_) => Encoding::Zstd,
            Codec::Gzip => Encoding::Gzip,
        }
    }

    /// The frame of `line`, which comes without its line feed.
    ///
    /// # Errors
    /// Where the library is out of memory; the compressor can be used again.
    pub fn compress(&mut self, line: &[u8]) -> Result<Vec<u8>, CompressError> {
        self.scratch.clear();
        self.scratch.extend_from_slice(line);
        self.scratch.push(b'\n');
        self.frame.clear();
        let done = match &mut self.codec {
            Codec::Zstd(context) => {
                self.frame.reserve(zstd_safe::compress_bound(self.scratch.len()));
                context.compress_to_buffer(&self.scratch, &mut self.frame).map(drop)
            }
            Codec::Gzip => gzip(&self.scratch, &mut self.frame),
        };
        let (encoding, bytes) = (self.encoding(), line.len());
        done.map_err(|source| CompressError { encoding, bytes, source })?;
        let frame = self.frame.clone();
        self.scratch.shrink_to(KEEP_BYTES);
        self.frame.shrink_to(KEEP_BYTES);
        Ok(frame)
    }
}

/// The lines of one or more frames laid end to end, at most `max_len` bytes of them.
///
/// # Errors
/// A [`DecompressError`] where they are damaged or longer. What is allocated is bounded by `max_len`, whatever the
/// frames say about their size.
pub fn decompress(encoding: Encoding, frames: &[u8], max_len: usize) -> Result<Vec<u8>, DecompressError> {
    let damaged = |source| DecompressError::Damaged { encoding, bytes: frames.len(), source };
    let limit = max_len as u64;
    let mut lines = Vec::new();
    let read = match encoding {
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(frames).map_err(damaged)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(damaged)?;
            decoder.take(limit.saturating_add(1)).read_to_end(&mut lines)
        }
        Encoding::Gzip => MultiGzDecoder::new(frames).take(limit.saturating_add(1)).read_to_end(&mut lines),
    };
    read.map_err(damaged)?;
    if lines.len() > max_len {
        return Err(DecompressError::TooLong { max_len });
    }
    Ok(lines)
}

fn zstd_context() -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut context = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    context.set_parameter(CParameter::MinMatch(ZSTD_SHORTEST_MATCH))?;
    context.include_checksum(true)?;
    context.include_contentsize(true)?;
    Ok(context)
}

fn gzip(line: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(frame, flate2::Compression::default());
    encoder.write_all(line)?;
    encoder.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        br#"{"block":1,"agent":"gw-paint-01","tables":[{"signals":[[0,2]],"t":[0],"v":[12.3,12.4,12.3]}]}"#;

    fn frames(encoding: Encoding) -> (Vec<u8>, Vec<u8>) {
        let mut compressor = Compressor::new(encoding).unwrap();
        let (mut lines, mut body) = (Vec::new(), Vec::new());
        for line in [LINE, b"{}", LINE] {
            body.extend_from_slice(&compressor.compress(line).unwrap());
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        (body, lines)
    }

    #[test]
    fn frames_laid_end_to_end_are_one_stream() {
        let (body, lines) = frames(Encoding::Zstd);
        assert_eq!(zstd::stream::decode_all(&body[..]).unwrap(), lines);
        assert_eq!(decompress(Encoding::Zstd, &body, lines.len()).unwrap(), lines);

        let (body, lines) = frames(Encoding::Gzip);
        let mut read = Vec::new();
        flate2::read::MultiGzDecoder::new(&body[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, lines);
        assert_eq!(decompress(Encoding::Gzip, &body, lines.len()).unwrap(), lines);
    }

    #[test]
    fn a_frame_says_its_size_and_carries_a_checksum() {
        let frame = Compressor::new(Encoding::Zstd).unwrap().compress(LINE).unwrap();
        assert_eq!(zstd_safe::get_frame_content_size(&frame).unwrap(), Some(LINE.len() as u64 + 1));
        // RFC 8878, 3.1.1.1.1: bit 2 of the frame header's descriptor, after the magic number.
        assert_eq!(frame[4] & 0b100, 0b100);
    }

    #[test]
    fn what_is_damaged_truncated_or_too_long_is_refused() {
        use DecompressError::{Damaged, TooLong};
        for encoding in [Encoding::Zstd, Encoding::Gzip] {
            let (body, lines) = frames(encoding);
            assert!(matches!(decompress(encoding, &body, lines.len() - 1), Err(TooLong { .. })));
            assert!(matches!(decompress(encoding, &body[..body.len() - 1], 1 << 20), Err(Damaged { .. })));
            for at in 0..body.len() {
                let mut flipped = body.clone();
                flipped[at] ^= 0x10;
                let read = decompress(encoding, &flipped, 1 << 20);
                assert!(
                    read.as_ref().is_err() || read.as_ref().is_ok_and(|read| *read == lines),
                    "byte {at}: {read:?}"
                );
            }
            let bomb = Compressor::new(encoding).unwrap().compress(&vec![b' '; 64 << 20]).unwrap();
            assert!(matches!(decompress(encoding, &bomb, 1 << 16), Err(TooLong { max_len: 65536 })));
        }
    }
}
