//! The pages of a file that SQLite may not be able to read: those of the file, and those of its log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::cells::Cell;
use super::{bytes, wal};

pub(super) const PAGE: usize = 4096;
pub(super) type Page = [u8; PAGE];
/// What a page of a chain carries, behind the number of the next.
const CHAINED: usize = PAGE - 4;
/// No record of ours is larger; a damaged length must not take the memory.
const LARGEST: u64 = 64 << 20;

pub(super) struct Pages {
    file: File,
    pages: u32,
    log: Vec<u8>,
    /// The page number of each frame of the log.
    frames: Vec<u32>,
    /// The latest committed frame of each page.
    latest: BTreeMap<u32, usize>,
}

impl Pages {
    pub(super) fn open(db: &Path, log: &Path) -> io::Result<Self> {
        let file = File::open(db)?;
        let pages = u32::try_from(file.metadata()?.len().div_ceil(4096)).unwrap_or(u32::MAX);
        // As large as the log's reserve at most: see `wal::mend`, which passes by what is larger.
        let small = std::fs::metadata(log).is_ok_and(|log| log.len() <= LARGEST);
        let log = if small { std::fs::read(log)? } else { Vec::new() };
        let (frames, committed) = wal::pages(&log);
        let latest = frames.iter().take(committed).enumerate().map(|(at, page)| (*page, at)).collect();
        Ok(Self { file, pages, log, frames, latest })
    }

    /// Every page of the file, then every page of the log, in the order in which they were written.
    pub(super) fn each<E: From<io::Error>>(&self, mut visit: impl FnMut(u32, &Page) -> Result<(), E>) -> Result<(), E> {
        let mut page = [0; PAGE];
        for number in 1..=self.pages {
            if self.of_file(number, &mut page)? {
                visit(number, &page)?;
            }
        }
        for (at, number) in self.frames.iter().enumerate().filter(|(_, number)| **number > 0) {
            if self.of_log(at, &mut page) {
                visit(*number, &page)?;
            }
        }
        Ok(())
    }

    /// The whole payload of a cell, by its chain: as of the latest commit, or without the log.
    pub(super) fn payload(&self, cell: &Cell<'_>, with_log: bool) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = usize::try_from(cell.size).ok().filter(|_| cell.size <= LARGEST) else { return Ok(None) };
        let mut payload = cell.local.to_vec();
        let (mut next, mut page) = (cell.chain, [0; PAGE]);
        while payload.len() < size {
            let known = match self.latest.get(&next) {
                Some(&at) if with_log => self.of_log(at, &mut page),
                _ => self.of_file(next, &mut page)?,
            };
            if !known {
                return Ok(None);
            }
            next = bytes::be32(&page, 0).unwrap_or(0);
            let part = CHAINED.min(size - payload.len());
            payload.extend_from_slice(page.get(4..4 + part).unwrap_or_default());
        }
        Ok(Some(payload))
    }

    fn of_file(&self, number: u32, page: &mut Page) -> io::Result<bool> {
        if number == 0 || number > self.pages {
            return Ok(false);
        }
        page.fill(0);
        let start = u64::from(number - 1) * 4096;
        let mut read = 0;
        // A file cut short ends within a page; a sector that the disk cannot read counts as nothing.
        while let Some(rest) = page.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, start + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(page = number, %error, "buffer: a page of the damaged file cannot be read");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn of_log(&self, frame: usize, page: &mut Page) -> bool {
        let start = wal::offset(frame);
        match self.log.get(start..start + PAGE) {
            Some(found) => {
                page.copy_from_slice(found);
                true
            }
            None => false,
        }
    }
}
