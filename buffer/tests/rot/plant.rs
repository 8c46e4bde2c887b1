//! A buffer with something of everything in it, and a cloud that knows every frame that was ever appended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lineside_buffer::{
    Append, Block, Buffer, Entry, GapReason, Lane, OpenError, Opened, Peek, Quarantine, Settings, Settlement,
};

pub(crate) const AGENT: &str = "gw-paint-01";
/// The files that a buffer consists of.
pub(crate) const FILES: [&str; 2] = ["buffer.db", "buffer.db-wal"];

/// Repeatable noise (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// At least 0, less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[7]).collect()
    }
}

/// Where a number has gone, as the cloud sees it. The first answer stands: later ones are trimmed as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    Data,
    Gap,
    Quarantined,
}

type Key = (String, Lane);
/// Count, catalogue, frame.
type Appended = (u64, Option<String>, Vec<u8>);

/// What was appended, and what the cloud has of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cloud {
    blocks: BTreeMap<(String, Lane, u64), Appended>,
    places: BTreeMap<Key, Vec<Place>>,
    pub(crate) figures: Figures,
    /// What was done to the files, for whoever has to do it again.
    label: String,
}

/// What the evidence page says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) lost: u64,
    /// Numbers that the ledger counts more than once.
    pub(crate) duplicated: u64,
    pub(crate) wrong: u64,
    /// Numbers that are told as a gap, `damaged`, and that the cloud does not hold.
    pub(crate) damaged: u64,
}

impl Cloud {
    /// The same once more, for one round.
    pub(crate) fn labelled(&self, label: String) -> Self {
        Self { label, ..self.clone() }
    }

    /// Appends a block of noise to the buffer, and remembers it.
    pub(crate) async fn append(&mut self, buffer: &Buffer, epoch: &str, lane: Lane, count: u64, frame: Vec<u8>) {
        let places = self.places.entry((epoch.to_owned(), lane)).or_default();
        let first = places.len() as u64 + 1;
        places.extend((0..count).map(|_| Place::Nowhere));
        let catalogue = (lane == Lane::Readings).then(|| format!("catalogue-of-{epoch}"));
        self.blocks.insert((epoch.to_owned(), lane, first), (count, catalogue.clone(), frame.clone()));
        buffer.append_durable(vec![Append::Block { lane, first, count, frame, catalogue }]).await.unwrap();
    }

    /// Numbers that were dropped before they reached the buffer.
    pub(crate) async fn gap(&mut self, buffer: &Buffer, epoch: &str, lane: Lane, count: u64) {
        let places = self.places.entry((epoch.to_owned(), lane)).or_default();
        let first = places.len() as u64 + 1;
        places.extend((0..count).map(|_| Place::Nowhere));
        let gap = Append::Gap { lane, first, last: first + count - 1, reason: GapReason::QueueFull };
        buffer.append_durable(vec![gap]).await.unwrap();
    }

    /// What the cloud says to one entry.
    fn receive(&mut self, epoch: &str, lane: Lane, entry: &Entry, settlement: &mut Settlement) {
        let (first, last) = entry.range();
        if let Entry::Block(block) = entry
            && !self.is_as_appended(epoch, lane, block)
        {
            self.figures.wrong += 1;
            eprintln!("wrong: {epoch} {lane:?} {first}-{last}");
        }
        let places = self.places.entry((epoch.to_owned(), lane)).or_default();
        let mut never_given = 0;
        for number in first..=last {
            let Some(place) = places.get_mut(number as usize - 1) else {
                never_given += 1;
                settlement.accepted.push((number, number));
                continue;
            };
            let held = *place == Place::Data;
            if *place == Place::Nowhere {
                *place = match entry {
                    Entry::Block(_) => Place::Data,
                    Entry::Gap { .. } => Place::Gap,
                    Entry::Quarantined { .. } => Place::Quarantined,
                };
                self.figures.damaged += u64::from(matches!(entry, Entry::Gap { reason: GapReason::Damaged, .. }));
            }
            let ranges = if held { &mut settlement.held } else { &mut settlement.accepted };
            match ranges.last_mut() {
                Some(before) if before.1 + 1 == number => before.1 = number,
                _ => ranges.push((number, number)),
            }
        }
        if never_given > 0 {
            eprintln!("wrong: {never_given} of {epoch} {lane:?} {first}-{last} were never given away");
            self.figures.wrong += never_given;
        }
        if matches!(entry, Entry::Quarantined { .. }) {
            *settlement = Settlement { accepted: vec![(first, last)], ..Settlement::default() };
        }
    }

    fn is_as_appended(&self, epoch: &str, lane: Lane, block: &Block) -> bool {
        self.blocks
            .get(&(epoch.to_owned(), lane, block.first))
            .is_some_and(|known| *known == (block.count, block.catalogue.clone(), block.frame.clone()))
    }

    /// Takes everything that the buffer owes, and looks at what is left: nothing.
    pub(crate) async fn drain(&mut self, buffer: Buffer) {
        // Until neither lane owes anything: a file that is built anew in between may owe again what was not yet
        // committed as delivered.
        let mut drained = false;
        while !drained {
            drained = true;
            for lane in Lane::ALL {
                while let Some(peek) = buffer.peek(lane, 64 << 10, None).await {
                    drained = false;
                    for entry in peek.entries() {
                        let mut settlement = Settlement::default();
                        self.receive(peek.epoch(), lane, entry, &mut settlement);
                        buffer.settle(&peek, settlement).await.unwrap();
                    }
                }
            }
        }
        if let Err(error) = buffer.verify().await {
            panic!("{}: {error}", self.label);
        }
        let stats = buffer.close().await;
        for lane in &stats.lanes {
            let drained = lane.adds_up() && lane.pending == 0 && lane.unreported == 0;
            assert!(drained, "{}: {lane:?}, {}", self.label, stats.state);
            let given =
                self.places.iter().filter(|((_, of), _)| *of == lane.lane).map(|(_, places)| places.len() as u64);
            self.figures.duplicated += lane.collected.saturating_sub(given.sum());
        }
        self.figures.lost = self.missing().len() as u64;
    }

    /// Numbers that the cloud cannot account for.
    pub(crate) fn missing(&self) -> Vec<(&str, Lane, u64)> {
        let all = self.places.iter().flat_map(|((epoch, lane), places)| {
            let number = move |(at, _)| (epoch.as_str(), *lane, at as u64 + 1);
            places.iter().enumerate().filter(|(_, place)| **place == Place::Nowhere).map(number)
        });
        all.collect()
    }
}

pub(crate) fn open(directory: &Path, epoch: &str) -> Result<(Buffer, Opened), OpenError> {
    let settings = Settings {
        directory: directory.to_owned(),
        max_bytes: 16 << 20,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: Duration::from_millis(10),
    };
    Buffer::open(&settings, AGENT, epoch, 1_795_400_000_000)
}

/// Three epochs with both lanes, a backlog, gaps told and untold, quarantine told and untold, partial accepts; the last
/// one in the log, as a kill leaves it. The files are copied to `to`.
pub(crate) async fn build(directory: &Path, to: &Path) -> Cloud {
    let mut cloud = Cloud::default();
    let mut noise = Noise::new(7);
    for epoch in ["first", "second", "third"] {
        let (buffer, _) = open(directory, epoch).unwrap();
        let catalogue = Append::Catalogue { id: format!("catalogue-of-{epoch}"), frame: noise.bytes(3000) };
        buffer.append_durable(vec![catalogue]).await.unwrap();
        for at in 0..14 {
            for lane in Lane::ALL {
                let (bytes, count) = match lane {
                    Lane::Events => (200 + noise.below(200), 1 + noise.below(2)),
                    Lane::Readings => (1000 + noise.below(9000), 5 + noise.below(40)),
                };
                let frame = noise.bytes(bytes);
                cloud.append(&buffer, epoch, lane, count, frame).await;
                if at % 5 == 3 {
                    cloud.gap(&buffer, epoch, lane, 3).await;
                }
            }
        }
        for lane in Lane::ALL {
            deliver_some(&mut cloud, &buffer, lane).await;
        }
        // The acks are committed with this.
        let frame = noise.bytes(500);
        cloud.append(&buffer, epoch, Lane::Events, 1, frame).await;
        if epoch == "third" {
            copy(directory, to);
        }
        buffer.close().await;
    }
    cloud
}

/// The cloud takes two thirds of a peek, refuses some of it for good, and does not hear of the rest.
async fn deliver_some(cloud: &mut Cloud, buffer: &Buffer, lane: Lane) {
    let Some(peek) = buffer.peek(lane, 24 << 10, None).await else { return };
    let (entries, epoch) = (peek.entries(), peek.epoch().to_owned());
    for (at, entry) in entries.iter().take(entries.len() * 2 / 3).enumerate() {
        let mut settlement = Settlement::default();
        let (first, last) = entry.range();
        match entry {
            Entry::Block(_) if at % 4 == 1 => settlement.quarantine = vec![refused(first, last)],
            Entry::Block(block) if at % 4 == 2 && last - first > 3 => {
                // Accepted in part, refused in part, the rest is not spoken of.
                let part = Entry::Block(Block { owed: (first, first + 1), ..block.clone() });
                cloud.receive(&epoch, lane, &part, &mut settlement);
                settlement.quarantine = vec![refused(first + 2, first + 2)];
            }
            _ => cloud.receive(&epoch, lane, entry, &mut settlement),
        }
        buffer.settle(&peek, settlement).await.unwrap();
    }
    drop(peek);
    tell_a_quarantine(cloud, buffer, lane).await;
}

async fn tell_a_quarantine(cloud: &mut Cloud, buffer: &Buffer, lane: Lane) {
    let peek: Option<Peek> = buffer.peek(lane, 24 << 10, None).await;
    let Some(peek) = peek else { return };
    if let Some(entry) = peek.entries().iter().find(|entry| matches!(entry, Entry::Quarantined { .. })) {
        let mut settlement = Settlement::default();
        cloud.receive(peek.epoch(), lane, entry, &mut settlement);
        buffer.settle(&peek, settlement).await.unwrap();
    }
}

fn refused(first: u64, last: u64) -> Quarantine {
    Quarantine { first, last, reason: "invalid-record".into(), detail: "line 3: no such unit".into() }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in FILES {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}
