//! A whole request: its lines, and what they must have in common (DESIGN.md, "Ingest contract").

use std::sync::Arc;

use super::body::{Coding, Key};
use super::catalogue::Catalogue;
use super::check;
use super::line::{Content, Lane, Line};
use super::problem::Problem;
use super::ranges::Range;
use super::store::Store;

/// Checked lines of one agent, epoch and lane, in ascending, contiguous ranges.
pub(super) struct Batch<'a> {
    pub(super) body: &'a [u8],
    pub(super) coding: Coding,
    pub(super) agent: &'a str,
    pub(super) epoch: &'a str,
    pub(super) lane: Lane,
    pub(super) range: Range,
    pub(super) lines: Vec<Incoming<'a>>,
}

/// A line, where its text lies in the decoded body, and its catalogue where it needs one.
pub(super) struct Incoming<'a> {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) line: Line<'a>,
    pub(super) catalogue: Option<Arc<Catalogue>>,
}

impl<'a> Batch<'a> {
    /// Reads `text`, which `body` was decoded to, and checks all of it.
    pub(super) fn parse(
        body: &'a [u8],
        coding: Coding,
        text: &'a str,
        key: &'a Key,
        store: &Store,
    ) -> Result<Self, Problem> {
        let mut lines: Vec<Incoming<'a>> = Vec::new();
        let mut start = 0;
        for (at, piece) in text.split_inclusive('\n').enumerate() {
            let content = piece.strip_suffix('\n').ok_or_else(|| {
                Problem::Malformed(format!("line {}: does not end with a line feed, so the body was cut", at + 1))
            })?;
            let line = Line::parse(content, at + 1)?;
            fits_in(&line, lines.last().map(|before| &before.line), key, at + 1)?;
            lines.push(Incoming { start, length: content.len(), line, catalogue: None });
            start += piece.len();
        }
        let range = match (lines.first(), lines.last()) {
            (Some(first), Some(last)) => (first.line.range.0, last.line.range.1),
            _ => return Err(Problem::Malformed("a request has at least one line".to_owned())),
        };
        if range != key.range {
            return Err(Problem::Malformed(format!(
                "the lines cover {range:?}, the Idempotency-Key says {:?}",
                key.range
            )));
        }
        for (at, incoming) in lines.iter_mut().enumerate() {
            incoming.check(store).map_err(|problem| problem.in_line(at + 1))?;
        }
        let lane = lines.first().map_or(Lane::Readings, |first| first.line.lane);
        Ok(Batch { body, coding, agent: &key.agent, epoch: &key.epoch, lane, range, lines })
    }
}

/// Whether a line belongs to this request and comes right after the one before.
fn fits_in(line: &Line<'_>, before: Option<&Line<'_>>, key: &Key, at: usize) -> Result<(), Problem> {
    if (&*line.agent, &*line.epoch, line.lane.name()) != (&key.agent, &key.epoch, &key.lane) {
        return Err(Problem::Malformed(format!(
            "line {at}: is of {}:{}:{}, the Idempotency-Key says {}:{}:{}",
            line.agent, line.epoch, line.lane, key.agent, key.epoch, key.lane
        )));
    }
    match before {
        Some(before) if before.range.1 + 1 != line.range.0 => Err(Problem::Malformed(format!(
            "line {at}: begins at {}, the line before ends at {}: ranges are ascending and contiguous",
            line.range.0, before.range.1
        ))),
        _ => Ok(()),
    }
}

impl Incoming<'_> {
    fn check(&mut self, store: &Store) -> Result<(), Problem> {
        let count = self.line.range.1 - self.line.range.0 + 1;
        match &self.line.content {
            Content::Readings(block) => {
                let unknown = || Problem::UnknownCatalogue { catalogue: block.catalogue.clone() };
                let catalogue = store.known_catalogue(&block.catalogue).ok_or_else(unknown)?;
                // A catalogue is its content: which agent has put it, and under which name, says nothing of the block.
                check::readings(block, count, &catalogue)?;
                self.catalogue = Some(catalogue);
                Ok(())
            }
            Content::Events(events) => check::events(events, count),
            Content::Gap(reason) => check::gap_reason(reason),
            Content::Quarantined(reason) if reason.is_empty() => {
                Err(Problem::InvalidRecord("a quarantined line says why".to_owned()))
            }
            Content::Quarantined(_) => Ok(()),
        }
    }
}
