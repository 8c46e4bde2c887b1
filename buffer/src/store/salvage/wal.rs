//! The write-ahead log, looked at before SQLite does: one flipped bit in it takes back every commit behind it, without an
//! error, and where a checkpoint came first it leaves pages of different ages side by side.
//!
//! Each frame's checksum goes on from that of the frame before (sqlite.org/fileformat2.html, "The Write-Ahead Log"), so a
//! frame can be checked by itself against its neighbour. One flipped bit is found and put right. More than that:
//!
//! ```text
//! in a commit that others follow       the frames are linked anew with what is in them; the rows prove themselves
//! in the last commit                   as a power cut leaves it: SQLite takes it back, as it should; its frames are
//!                                      blanked, for SQLite goes on before them, and they must not look like more
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::bytes::be32;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4096;
pub(super) const FRAME: usize = FRAME_HEADER + PAGE;
/// The checksums of these are sums of little-endian words: what SQLite writes on every machine that we build for.
const MAGIC: u32 = 0x377F_0682;
const VERSION: u32 = 3_007_000;
/// Ours keeps within its reserve of 8 MiB; what is larger is another program's.
const LARGEST: u64 = 64 << 20;

/// What was wrong with the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MendedWal {
    /// Bits that were put right.
    pub corrected: u32,
    /// Pages with more than one wrong bit: what is in them is left to the checksums inside.
    pub broken: u32,
}

/// Puts the log right, if it needs that; a copy of what it was is kept in `kept`. `None`: nothing was wrong.
pub(super) fn mend(db: &Path, wal: &Path, kept: &Path) -> io::Result<Option<MendedWal>> {
    match fs::metadata(wal) {
        Ok(file) if file.len() > LARGEST => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut log = Log { bytes: fs::read(wal)?, mended: MendedWal::default() };
    // Another program's, by its header.
    let db = fs::File::open(db)?;
    let mut header = [0; 100];
    let _shorter = db.read_at(&mut header, 0)?;
    let application = be32(&header, 68).unwrap_or(0);
    let ours = u32::try_from(super::super::schema::APPLICATION_ID).unwrap_or(0);
    if application != 0 && (application ^ ours).count_ones() > 2 {
        return Ok(None);
    }
    match log.mend(&db) {
        Outcome::Fine => return Ok(None),
        Outcome::Cut { from, end } => {
            let file = fs::OpenOptions::new().write(true).open(wal)?;
            for frame in from..end {
                file.write_all_at(&[0; FRAME_HEADER], (HEADER + frame * FRAME) as u64)?;
            }
            file.sync_all()?;
            return Ok(None);
        }
        Outcome::Changed => {}
    }
    fs::copy(wal, kept)?;
    let new = wal.with_extension("db-wal.new");
    fs::copy(wal, &new)?; // with its mode
    fs::write(&new, &log.bytes)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, wal)?;
    fs::File::open(wal.parent().unwrap_or(wal))?.sync_all()?;
    Ok(Some(log.mended))
}

/// The page number of each frame that was written since the log was last begun anew, 0 for what was not; and how many
/// of them are committed. Behind those may lie what was taken back: worth a look, but not the latest of its page.
pub(super) fn pages(log: &[u8]) -> (Vec<u32>, usize) {
    let Some(salts) = salts(log) else { return (Vec::new(), 0) };
    let (mut numbers, mut committed, mut link, mut linked) = (Vec::new(), 0, stored(log, 24), true);
    for (at, frame) in log.get(HEADER..).unwrap_or_default().chunks_exact(FRAME).enumerate() {
        numbers.push(be32(frame, 0).filter(|_| belongs(frame, salts)).unwrap_or(0));
        linked &= checksum(checksum(link, frame.get(..8)), frame.get(FRAME_HEADER..)) == stored(frame, 16);
        link = stored(frame, 16);
        if linked && be32(frame, 4) != Some(0) {
            committed = at + 1;
        }
    }
    (numbers, committed)
}

/// Where the page of a frame begins.
pub(super) const fn offset(frame: usize) -> usize {
    HEADER + frame * FRAME + FRAME_HEADER
}

/// What is to be done about a log.
enum Outcome {
    Fine,
    /// The frames behind the last commit that is whole must go.
    Cut {
        from: usize,
        end: usize,
    },
    /// It must be written anew.
    Changed,
}

struct Log {
    bytes: Vec<u8>,
    mended: MendedWal,
}

impl Log {
    fn mend(&mut self, db: &fs::File) -> Outcome {
        let Some(salts) = salts(&self.bytes) else { return Outcome::Fine };
        let (mut changed, mut link) = self.mend_header(salts);
        let frames = self.bytes.len().saturating_sub(HEADER) / FRAME;
        let is_here = |at: &usize| self.frame(*at).is_some_and(|frame| belongs(frame, salts));
        let end = (0..frames).rev().find(is_here).map_or(0, |last| last + 1);
        // Each frame by itself; what cannot be put right is remembered.
        let (mut broken, mut commits) = (Vec::new(), Vec::new());
        for at in 0..end {
            let Some(frame) = self.frame(at) else { break };
            let (sum, said) = (checksum(checksum(link, frame.get(..8)), frame.get(FRAME_HEADER..)), stored(frame, 16));
            let mut next_link = said;
            if sum == said {
                changed |= self.set_salts(at, salts);
            } else if self.follows(at + 1, sum, salts) {
                // The page is what the next frame goes on from: the checksum itself is wrong.
                self.mended.corrected += 1;
                (next_link, changed) = (sum, true);
            } else if let Some((byte, bit)) = self.wrong_bit(at, link) {
                self.flip(HEADER + at * FRAME + byte, bit);
                self.mended.corrected += 1;
                changed = true;
            } else {
                broken.push(at);
            }
            if self.frame(at).and_then(|frame| be32(frame, 4)).unwrap_or(0) != 0 {
                commits.push(at);
            }
            link = next_link;
        }
        // What was not committed is taken back, and so is a last commit that is broken, as after a power cut; but not
        // one that a checkpoint has brought into the file, for then it was whole.
        let newest = commits.last().map_or(0, |last| last + 1);
        broken.retain(|frame| *frame < newest);
        let older = commits.iter().rev().nth(1).map_or(0, |before| before + 1);
        let mut sound = (older..newest).filter(|frame| !broken.contains(frame)).peekable();
        let was_whole = sound.peek().is_some() && sound.all(|frame| self.is_in(db, frame));
        let worth = if was_whole { newest } else { older };
        let keep = broken.iter().copied().find(|frame| *frame >= worth).unwrap_or(end);
        let relinked: Vec<usize> = broken.into_iter().filter(|frame| *frame < keep).collect();
        self.mended.broken = u32::try_from(relinked.len()).unwrap_or(u32::MAX);
        for frame in relinked.iter().rev() {
            self.fill(*frame, end, salts);
        }
        if changed || !relinked.is_empty() {
            self.link(keep, salts);
            self.blank(keep, end);
            return Outcome::Changed;
        }
        if keep < end { Outcome::Cut { from: keep, end } } else { Outcome::Fine }
    }

    /// A frame whose header makes no sense becomes a copy of the one behind it, which says what its page is: SQLite ends
    /// at a frame of page 0.
    fn fill(&mut self, at: usize, end: usize, salts: (u32, u32)) {
        let makes_sense = |frame: &[u8]| belongs(frame, salts) && be32(frame, 0).is_some_and(|page| page > 0);
        if at + 1 >= end || self.frame(at).is_some_and(makes_sense) {
            return;
        }
        let start = HEADER + at * FRAME;
        self.bytes.copy_within(start + FRAME..start + 2 * FRAME, start);
        if let Some(commit) = self.bytes.get_mut(start + 4..start + 8) {
            commit.fill(0);
        }
    }

    fn blank(&mut self, from: usize, end: usize) {
        for at in from..end {
            let start = HEADER + at * FRAME;
            if let Some(header) = self.bytes.get_mut(start..start + FRAME_HEADER) {
                header.fill(0);
            }
        }
    }

    fn frame(&self, at: usize) -> Option<&[u8]> {
        let start = HEADER + at * FRAME;
        self.bytes.get(start..start + FRAME)
    }

    /// Whether the frame there goes on from a checksum.
    fn follows(&self, at: usize, link: (u32, u32), salts: (u32, u32)) -> bool {
        self.frame(at).is_some_and(|frame| {
            belongs(frame, salts)
                && checksum(checksum(link, frame.get(..8)), frame.get(FRAME_HEADER..)) == stored(frame, 16)
        })
    }

    /// Whether the file holds the very page of a frame.
    fn is_in(&self, db: &fs::File, frame: usize) -> bool {
        let (Some(frame), mut page) = (self.frame(frame), [0; PAGE]) else { return false };
        let at = u64::from(be32(frame, 0).unwrap_or(0)).saturating_sub(1) * 4096;
        db.read_exact_at(&mut page, at).is_ok() && frame.get(FRAME_HEADER..) == Some(&page)
    }

    /// Whether the header had to be changed, and what the first frame goes on from.
    fn mend_header(&mut self, salts: (u32, u32)) -> (bool, (u32, u32)) {
        let said = stored(&self.bytes, 24);
        if checksum((0, 0), self.bytes.get(..24)) == said {
            return (false, said);
        }
        let mut right = Vec::with_capacity(HEADER);
        // The sequence number counts for nothing: whatever it is will do.
        let sequence = be32(&self.bytes, 12).unwrap_or(0);
        for word in [MAGIC, VERSION, 4096, sequence, salts.0, salts.1] {
            right.extend_from_slice(&word.to_be_bytes());
        }
        let sum = checksum((0, 0), Some(&right));
        for word in [sum.0, sum.1] {
            right.extend_from_slice(&word.to_be_bytes());
        }
        if let Some(header) = self.bytes.get_mut(..HEADER) {
            header.copy_from_slice(&right);
        }
        self.mended.corrected += 1;
        (true, if self.follows(0, sum, salts) { sum } else { said })
    }

    fn set_salts(&mut self, frame: usize, salts: (u32, u32)) -> bool {
        let start = HEADER + frame * FRAME;
        let mut right = salts.0.to_be_bytes().to_vec();
        right.extend_from_slice(&salts.1.to_be_bytes());
        match self.bytes.get_mut(start + 8..start + 16) {
            Some(said) if said != right => {
                said.copy_from_slice(&right);
                self.mended.corrected += 1;
                true
            }
            _ => false,
        }
    }

    /// The one bit whose flip makes the checksum of a frame right: its byte in the frame, and the bit in that.
    ///
    /// The checksum is linear: what a word adds to it is a multiple of the word, by a pair of Fibonacci numbers that
    /// depends on how many words follow. So each bit costs a multiplication, not a pass over the page.
    fn wrong_bit(&self, at: usize, link: (u32, u32)) -> Option<(usize, u32)> {
        let frame = self.frame(at)?;
        let sum = checksum(checksum(link, frame.get(..8)), frame.get(FRAME_HEADER..));
        let said = stored(frame, 16);
        let wanted = (said.0.wrapping_sub(sum.0), said.1.wrapping_sub(sum.1));
        let mut words: Vec<usize> = vec![0, 4];
        words.extend((FRAME_HEADER..FRAME).step_by(4));
        // What one more in the second and in the first word of a pair adds to both sums.
        let (mut second, mut first) = ((0_u32, 1_u32), (1_u32, 1_u32));
        for pair in words.rchunks(2) {
            for (place, (a, b)) in [(1, second), (0, first)] {
                let start = *pair.get(place)?;
                let word = frame.get(start..start + 4)?.try_into().map(u32::from_le_bytes).ok()?;
                for bit in 0..32_u32 {
                    let step = 1_u32 << bit;
                    let step = if word & step == 0 { step } else { step.wrapping_neg() };
                    if (a.wrapping_mul(step), b.wrapping_mul(step)) == wanted {
                        return Some((start + usize::try_from(bit / 8).ok()?, bit % 8));
                    }
                }
            }
            for sums in [&mut second, &mut first] {
                sums.0 = sums.0.wrapping_add(sums.1);
                sums.1 = sums.1.wrapping_add(sums.0);
            }
        }
        None
    }

    fn flip(&mut self, at: usize, bit: u32) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// Writes every checksum anew, up to a frame.
    fn link(&mut self, end: usize, salts: (u32, u32)) {
        let mut link = stored(&self.bytes, 24);
        for at in 0..end {
            self.set_salts_plainly(at, salts);
            let start = HEADER + at * FRAME;
            let Some(frame) = self.bytes.get_mut(start..start + FRAME) else { return };
            link = checksum(checksum(link, frame.get(..8)), frame.get(FRAME_HEADER..));
            let mut sum = link.0.to_be_bytes().to_vec();
            sum.extend_from_slice(&link.1.to_be_bytes());
            if let Some(said) = frame.get_mut(16..24) {
                said.copy_from_slice(&sum);
            }
        }
    }

    fn set_salts_plainly(&mut self, frame: usize, salts: (u32, u32)) {
        let corrected = self.mended.corrected;
        self.set_salts(frame, salts);
        self.mended.corrected = corrected;
    }
}

/// What marks the frames since the log was last begun anew: as the header says, or as the first frame does, where the
/// header does not match its checksum.
fn salts(log: &[u8]) -> Option<(u32, u32)> {
    let header = log.get(..24)?;
    let at = if checksum((0, 0), Some(header)) == stored(log, 24) { 16 } else { HEADER + 8 };
    Some(stored(log, at)).filter(|_| log.len() >= HEADER + FRAME)
}

/// One of the two salts is enough: a frame from before the log was last begun anew has neither.
fn belongs(frame: &[u8], salts: (u32, u32)) -> bool {
    let said = stored(frame, 8);
    said.0 == salts.0 || said.1 == salts.1
}

/// Two numbers that stand in a row.
fn stored(bytes: &[u8], at: usize) -> (u32, u32) {
    (be32(bytes, at).unwrap_or(0), be32(bytes, at + 4).unwrap_or(0))
}

fn checksum((mut a, mut b): (u32, u32), bytes: Option<&[u8]>) -> (u32, u32) {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
    for pair in bytes.unwrap_or_default().chunks_exact(8) {
        let (first, second) = pair.split_at(4);
        a = a.wrapping_add(word(first)).wrapping_add(b);
        b = b.wrapping_add(word(second)).wrapping_add(a);
    }
    (a, b)
}
