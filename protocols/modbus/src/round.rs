//! The requests of one polling interval of a device, and the rows that their answers make. What is asked when is in
//! [`crate::poll`].

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::modbus::decode::{Decoder, Raw};
use lineside_protocols::modbus::isolate::{Isolation, Part};
use lineside_protocols::modbus::learn::Learned;
use lineside_protocols::modbus::plan::{Bound, Request};
use lineside_protocols::modbus::settings::Device;
use lineside_protocols::sample::{Columns, Reason, Sample, Scan};

use crate::failure::Failure;

pub(crate) struct Round {
    pub(crate) every: Duration,
    pub(crate) reads: Vec<Read>,
    /// Where the next round begins: behind the request that got no answer, so that one which is never answered does
    /// not keep the others from being asked.
    pub(crate) first: usize,
    /// Which signal is asked alone next to see whether the device answers anything.
    pub(crate) feeler: usize,
    pub(crate) going: Option<Going>,
}

/// A round that was begun and is not at its end.
#[derive(Default)]
pub(crate) struct Going {
    pub(crate) overruns: u64,
    /// Requests beyond the plan that it has cost so far.
    pub(crate) extra: usize,
    /// How often it has asked a single signal whether there is an answer at all.
    pub(crate) feelers: usize,
    /// Whether it has tried something learned again.
    pub(crate) has_tried: bool,
    /// The read and its part that were refused while the device answered nothing.
    pub(crate) feel: Option<(usize, usize, u8)>,
    pub(crate) outcome: Outcome,
}

/// What came of a round.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) last_good: Option<BootMillis>,
    pub(crate) failures: u64,
    /// The first of them: when, which request, and what was wrong.
    pub(crate) failed: Option<(BootMillis, String)>,
}

impl Outcome {
    pub(crate) fn note(&mut self, request: &Request, result: &Result<Raw, Failure>, time: BootMillis) {
        match result {
            Ok(_) => self.last_good = Some(time),
            Err(failure) => {
                self.failures += 1;
                self.failed.get_or_insert_with(|| (time, format!("{request}: {failure}")));
            }
        }
    }
}

/// One planned request: one row of the columns that it is planned for, however many parts it is asked in.
pub(crate) struct Read {
    columns: Arc<Columns>,
    /// Of each of its signals: the address, and how it is decoded.
    decoders: Vec<(u16, Decoder)>,
    pub(crate) isolation: Isolation,
    /// Of what was learned, when its parts were planned.
    version: Option<u64>,
    row: Option<Row>,
}

/// A row that is not complete.
struct Row {
    samples: Vec<Sample>,
    /// Of each part: whether it needs not be asked any more.
    done: Vec<bool>,
    /// Of the last answer.
    time: Option<BootMillis>,
}

impl Round {
    pub(crate) fn all_of(device: &Device, bound: &Bound) -> Vec<Round> {
        let mut columns = bound.columns().iter();
        let rounds = bound.plan().polls.iter().map(|poll| {
            let reads = poll.requests.iter().zip(columns.by_ref());
            let reads = reads.map(|(request, columns)| Read::new(device, request, Arc::clone(columns))).collect();
            Round { every: poll.every, reads, first: 0, feeler: 0, going: None }
        });
        rounds.collect()
    }

    /// Begins: each part that is known to work is to be asked, each signal in a hole is bad.
    pub(crate) fn begin(&mut self, device: &Device, learned: &Learned, version: u64, overruns: u64) {
        self.reads.iter_mut().for_each(|read| read.begin(device, learned, version));
        self.going = Some(Going { overruns, ..Going::default() });
    }

    /// The next `most` parts to be asked, as read and part, in the order of the round.
    pub(crate) fn next_parts(&self, most: usize) -> Vec<(usize, usize)> {
        let reads = self.reads.iter().enumerate().cycle().skip(self.first).take(self.reads.len());
        let open = reads.flat_map(|(at, read)| read.open_parts().map(move |part| (at, part)));
        open.take(most).collect()
    }

    pub(crate) fn part(&self, (read, part): (usize, usize)) -> Option<&Part> {
        self.reads.get(read)?.isolation.parts().get(part)
    }

    /// The rows that are complete.
    pub(crate) fn complete_rows(&mut self, now: BootMillis) -> impl Iterator<Item = Scan> {
        self.reads.iter_mut().filter(|read| read.is_complete()).filter_map(move |read| read.end(now))
    }

    /// Gives up on what has not been asked, for this reason; all rows that are left, and how many lacked something.
    pub(crate) fn give_up(&mut self, reason: Reason, now: BootMillis) -> (Vec<Scan>, u64) {
        let mut unasked = 0;
        let scans = self.reads.iter_mut().filter_map(|read| {
            if !read.is_complete() && read.row.is_some() {
                unasked += 1;
                let open: Vec<usize> = read.open_parts().collect();
                open.into_iter().for_each(|part| read.fill(part, reason));
            }
            read.end(now)
        });
        (scans.collect(), unasked)
    }

    /// A row for each read that says nothing but this reason.
    pub(crate) fn bad_rows(&self, reason: Reason, time: BootMillis) -> impl Iterator<Item = Scan> {
        self.reads.iter().map(move |read| Scan {
            columns: Arc::clone(&read.columns),
            time,
            samples: vec![Sample::bad(reason); read.decoders.len()],
        })
    }

    /// Forgets the rows that are not complete: their readings were given otherwise.
    pub(crate) fn drop_rows(&mut self) {
        self.reads.iter_mut().for_each(|read| read.row = None);
    }
}

impl Read {
    fn new(device: &Device, request: &Request, columns: Arc<Columns>) -> Self {
        let signals = request.signals.iter().filter_map(|at| device.signals.get(*at));
        Read {
            columns,
            decoders: signals.map(|signal| (signal.address.offset, Decoder::new(signal))).collect(),
            isolation: Isolation::new(request.clone()),
            version: None,
            row: None,
        }
    }

    fn begin(&mut self, device: &Device, learned: &Learned, version: u64) {
        if !self.isolation.is_open() && (self.isolation.is_stale() || self.version != Some(version)) {
            self.isolation.plan_around(device, learned);
            self.version = Some(version);
        }
        // What is in no part lies in a hole.
        let lost = |at: &usize| {
            let signal = device.signals.get(*at)?;
            learned.refusal(lineside_protocols::modbus::plan::entries_of(signal))
        };
        let samples = if learned.is_empty() {
            vec![Sample::bad(Reason::DeviceLost); self.decoders.len()]
        } else {
            let codes = self
                .isolation
                .whole()
                .signals
                .iter()
                .map(|at| lost(at).map_or(Reason::DeviceLost, Reason::ModbusException));
            codes.map(Sample::bad).collect()
        };
        let done = vec![false; self.isolation.parts().len()];
        self.row = Some(Row { samples, done, time: None });
    }

    fn open_parts(&self) -> impl Iterator<Item = usize> + '_ {
        let done = self.row.iter().flat_map(|row| row.done.iter().enumerate());
        done.filter(|(_, done)| !**done).map(|(part, _)| part)
    }

    fn is_complete(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.done.iter().all(|done| *done))
    }

    /// A part was answered with values.
    pub(crate) fn answered(&mut self, part: usize, raw: &Raw, time: BootMillis) {
        self.note(part, Some(time), |(offset, decoder), first| {
            decoder.decode(raw, usize::from(offset.saturating_sub(first)))
        });
    }

    /// A part gave no values.
    pub(crate) fn fill(&mut self, part: usize, reason: Reason) {
        self.note(part, None, |_, _| Sample::bad(reason));
    }

    /// A part that gave no values has become two; whether these are asked in this round.
    pub(crate) fn split(&mut self, part: usize, ask: bool) {
        if let Some(row) = &mut self.row
            && part < row.done.len()
        {
            row.done.splice(part..=part, [!ask; 2]);
        }
    }

    /// A part that was refused is to be looked at again.
    pub(crate) fn reopen(&mut self, part: usize) {
        if let Some(done) = self.row.as_mut().and_then(|row| row.done.get_mut(part)) {
            *done = false;
        }
    }

    fn note(&mut self, part: usize, time: Option<BootMillis>, sample: impl Fn(&(u16, Decoder), u16) -> Sample) {
        let (Some(row), Some(Part { request, .. })) = (&mut self.row, self.isolation.parts().get(part)) else { return };
        row.time = time.or(row.time);
        if let Some(done) = row.done.get_mut(part) {
            *done = true;
        }
        // Both are in the order of the planned request, of which the part has some or all.
        let mut wanted = request.signals.iter().peekable();
        let whole = self.isolation.whole().signals.iter();
        for ((at, decoder), place) in whole.zip(&self.decoders).zip(&mut row.samples) {
            if wanted.next_if_eq(&at).is_some() {
                *place = sample(decoder, request.first);
            }
        }
    }

    /// The row as it is. Its time is that of the last answer in it.
    fn end(&mut self, now: BootMillis) -> Option<Scan> {
        let Row { samples, time, .. } = self.row.take()?;
        Some(Scan { columns: Arc::clone(&self.columns), time: time.unwrap_or(now), samples })
    }
}
