//! What the buffer holds becomes one request: whole blocks as they are stored, cut ones as slices, gap and
//! quarantine lines in their places. Pure; who sends it and what the answer means is [`super`]'s.

use lineside_buffer::{Block, Entry, Peek};
use lineside_protocols::name::Name;
use lineside_protocols::ranges::Range;
use lineside_protocols::wire::frame::{self, Compressor};
use lineside_protocols::wire::identity::{Epoch, Identity, Lane};
use lineside_protocols::wire::notice::{GapReason, gap_line, quarantined_line};
use lineside_protocols::wire::slice::slice;

/// Longest line that a stored frame may unfold to. What is longer was not written by this program.
const MAX_LINE: usize = 64 << 20;

/// Lines of one epoch and lane in ascending, contiguous ranges: the body of one request.
#[derive(Debug)]
pub struct Batch {
    /// Of the lines, which may be an earlier run's.
    pub epoch: Epoch,
    /// Of the lines.
    pub lane: Lane,
    /// What the lines cover.
    pub range: Range,
    /// Frames end to end.
    pub body: Vec<u8>,
    /// The catalogues that the blocks refer to.
    pub catalogues: Vec<String>,
    /// Whether some of it are gap or quarantine lines: they hold no data that could be set aside.
    notices: bool,
}

impl Batch {
    /// Whether the whole range is one record of data.
    #[must_use]
    pub fn is_one_record(&self) -> bool {
        self.range.0 == self.range.1 && !self.notices
    }

    /// The first half of the range, where it has two.
    #[must_use]
    pub fn first_half(&self) -> Option<Range> {
        let (first, last) = self.range;
        (first < last).then(|| (first, first + (last - first) / 2))
    }
}

/// A stored block that cannot be made into lines, although its checksum is right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Unreadable {
    /// What is owed of it.
    pub range: Range,
    /// Why.
    pub detail: String,
}

/// Makes requests of what the buffer gives.
#[derive(Debug)]
pub struct Assembler {
    agent: Name,
    compressor: Compressor,
}

impl Assembler {
    /// For this agent's blocks. The compressor is of the encoding that they are stored in.
    #[must_use]
    pub fn new(agent: Name, compressor: Compressor) -> Self {
        Assembler { agent, compressor }
    }

    /// The lines of `peek`, cut to `window` where one is given. `None` where nothing of it lies in the window.
    ///
    /// # Errors
    /// [`Unreadable`] where a block must be cut and cannot be read.
    pub fn assemble(&mut self, peek: &Peek, window: Option<Range>) -> Result<Option<Batch>, Unreadable> {
        let unreadable = |detail: String| Unreadable { range: peek.range(), detail };
        let epoch: Epoch = peek.epoch().parse().map_err(|error| unreadable(format!("{error}")))?;
        let lane = match peek.lane() {
            lineside_buffer::Lane::Events => Lane::Events,
            lineside_buffer::Lane::Readings => Lane::Readings,
        };
        let identity = Identity { agent: self.agent.clone(), epoch };
        let wanted = peek.entries().iter().filter_map(|entry| Some((entry, clip(entry.range(), window)?)));
        let mut batch: Option<Batch> = None;
        for (entry, range) in wanted {
            let batch = batch.get_or_insert_with(|| Batch {
                epoch,
                lane,
                range,
                body: Vec::new(),
                catalogues: Vec::new(),
                notices: false,
            });
            batch.range.1 = range.1;
            match entry {
                Entry::Block(block) => {
                    self.add_block(block, range, &mut batch.body)?;
                    batch.catalogues.extend(block.catalogue.clone().filter(|id| !batch.catalogues.contains(id)));
                }
                Entry::Gap { reason, .. } => {
                    let reason = reason.name().parse().unwrap_or(GapReason::Damaged);
                    let line = gap_line(&identity, lane, range.0, range.1, reason);
                    self.add_notice(&line, range, batch)?;
                }
                Entry::Quarantined { reason, .. } => {
                    let line = quarantined_line(&identity, lane, range.0, range.1, reason);
                    self.add_notice(&line, range, batch)?;
                }
            }
        }
        Ok(batch)
    }

    fn add_block(&mut self, block: &Block, range: Range, body: &mut Vec<u8>) -> Result<(), Unreadable> {
        if block.is_whole() && range == block.owed {
            body.extend_from_slice(&block.frame);
            return Ok(());
        }
        let unreadable = |detail: String| Unreadable { range: block.owed, detail };
        let line = frame::decompress(self.compressor.encoding(), &block.frame, MAX_LINE);
        let line = line.map_err(|error| unreadable(error.to_string()))?;
        let part = slice(line.trim_ascii_end(), range.0, range.1).map_err(|error| unreadable(error.to_string()))?;
        body.extend(self.compress(&part, range)?);
        Ok(())
    }

    fn add_notice(&mut self, line: &[u8], range: Range, batch: &mut Batch) -> Result<(), Unreadable> {
        batch.body.extend(self.compress(line, range)?);
        batch.notices = true;
        Ok(())
    }

    fn compress(&mut self, line: &[u8], range: Range) -> Result<Vec<u8>, Unreadable> {
        self.compressor.compress(line).map_err(|error| Unreadable { range, detail: error.to_string() })
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
