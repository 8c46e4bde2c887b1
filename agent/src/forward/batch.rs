//! What the buffer holds becomes one request: whole blocks as they are stored, cut ones as slices, gap and
//! quarantine lines in their places. Pure; who sends it and what the answer means is [`super`]'s.

use lineside_buffer::{Block, Entry, Peek};
use lineside_protocols::ranges::Range;
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::frame::{self, CompressError, Compressor};
use lineside_protocols::wire::identity::{Identity, Lane};
use lineside_protocols::wire::notice::{GapReason, gap_line, quarantined_line};
use lineside_protocols::wire::slice::slice;

/// Longest line that a stored frame may unfold to. What is longer was not written by this program.
const MAX_LINE: usize = 64 << 20;

/// Lines of one agent, epoch and lane in ascending, contiguous ranges: the body of one request.
#[derive(Debug)]
pub struct Batch {
    /// Of the lines, which may be an earlier run's, or even an earlier agent's.
    pub identity: Identity,
    /// Of the lines.
    pub lane: Lane,
    /// What the lines cover.
    pub range: Range,
    /// Of the frames, which may be an earlier configuration's.
    pub encoding: Encoding,
    /// Frames end to end.
    pub body: Vec<u8>,
    /// The catalogues that the blocks refer to.
    pub catalogues: Vec<String>,
    /// Whether it is one quarantine line and nothing else: that cannot be cut.
    whole_notice: bool,
}

impl Batch {
    /// What to try after the batch was refused as a whole; nothing where it is one record, or one line that cannot be
    /// cut.
    #[must_use]
    pub fn first_half(&self) -> Option<Range> {
        let (first, last) = self.range;
        (first < last && !self.whole_notice).then(|| (first, first + (last - first) / 2))
    }
}

/// Why stored entries make no batch.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A block that cannot be made into lines, although its checksum is right.
    #[error("{detail}")]
    Unreadable {
        /// What is owed of it.
        range: Range,
        /// Why.
        detail: String,
    },
    /// No memory at the moment.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Makes requests of what the buffer gives.
#[derive(Debug)]
pub struct Assembler {
    compressor: Compressor,
}

impl Assembler {
    /// The compressor is for gap and quarantine lines and for slices, and reused where stored frames are of its kind.
    #[must_use]
    pub fn new(compressor: Compressor) -> Self {
        Assembler { compressor }
    }

    /// The lines of `peek`, cut to `window` where one is given. `None` where nothing of it lies in the window.
    ///
    /// A batch ends early before frames of another encoding, and before a quarantine line that the window would cut: the
    /// buffer books those whole or not at all. The first one is taken whole.
    ///
    /// # Errors
    /// See [`AssembleError`].
    pub fn assemble(&mut self, peek: &Peek, window: Option<Range>) -> Result<Option<Batch>, AssembleError> {
        let unreadable = |detail: String| AssembleError::Unreadable { range: peek.range(), detail };
        let identity = Identity {
            agent: peek.agent().parse().map_err(|error| unreadable(format!("{error}")))?,
            epoch: peek.epoch().parse().map_err(|error| unreadable(format!("{error}")))?,
        };
        let lane = match peek.lane() {
            lineside_buffer::Lane::Events => Lane::Events,
            lineside_buffer::Lane::Readings => Lane::Readings,
        };
        let wanted = || peek.entries().iter().filter_map(|entry| Some((entry, clip(entry.range(), window)?)));
        let kind = |entry: &Entry| match entry {
            Entry::Block(block) => frame::encoding_of(&block.frame),
            Entry::Gap { .. } | Entry::Quarantined { .. } => None,
        };
        let encoding = wanted().find_map(|(entry, _)| kind(entry)).unwrap_or_else(|| self.compressor.encoding());
        let mut batch: Option<Batch> = None;
        for (entry, mut range) in wanted() {
            if kind(entry).is_some_and(|kind| kind != encoding) {
                break;
            }
            let whole_notice = matches!(entry, Entry::Quarantined { .. });
            if whole_notice && range != entry.range() {
                if batch.is_some() {
                    break;
                }
                range = entry.range();
            }
            let first = batch.is_none();
            let batch = batch.get_or_insert_with(|| Batch {
                identity: identity.clone(),
                lane,
                range,
                encoding,
                body: Vec::new(),
                catalogues: Vec::new(),
                whole_notice: false,
            });
            batch.range.1 = range.1;
            batch.whole_notice = first && whole_notice;
            match entry {
                Entry::Block(block) => {
                    self.add_block(block, range, batch)?;
                    batch.catalogues.extend(block.catalogue.clone().filter(|id| !batch.catalogues.contains(id)));
                }
                Entry::Gap { reason, .. } => {
                    let reason = reason.name().parse().unwrap_or(GapReason::Damaged);
                    let line = gap_line(&identity, lane, range.0, range.1, reason);
                    batch.body.extend(self.compress(&line, encoding)?);
                }
                Entry::Quarantined { reason, .. } => {
                    let line = quarantined_line(&identity, lane, range.0, range.1, reason);
                    batch.body.extend(self.compress(&line, encoding)?);
                }
            }
        }
        Ok(batch)
    }

    fn add_block(&mut self, block: &Block, range: Range, batch: &mut Batch) -> Result<(), AssembleError> {
        if block.is_whole() && range == block.owed {
            batch.body.extend_from_slice(&block.frame);
            return Ok(());
        }
        let unreadable = |detail: String| AssembleError::Unreadable { range: block.owed, detail };
        let line = frame::decompress(batch.encoding, &block.frame, MAX_LINE);
        let line = line.map_err(|error| unreadable(error.to_string()))?;
        let part = slice(line.trim_ascii_end(), range.0, range.1).map_err(|error| unreadable(error.to_string()))?;
        batch.body.extend(self.compress(&part, batch.encoding)?);
        Ok(())
    }

    fn compress(&mut self, line: &[u8], encoding: Encoding) -> Result<Vec<u8>, CompressError> {
        if encoding == self.compressor.encoding() {
            return self.compressor.compress(line);
        }
        // What is left of a backlog from before the setting was changed.
        Compressor::new(encoding)?.compress(line)
    }
}

fn clip((first, last): Range, window: Option<Range>) -> Option<Range> {
    let (from, to) = window.unwrap_or((first, last));
    let clipped = (first.max(from), last.min(to));
    (clipped.0 <= clipped.1).then_some(clipped)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
