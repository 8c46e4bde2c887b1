//! Random sequences of everything that can happen to the file, against a model that knows the fate of every number.
//!
//! After each step the ledger must be the model's, the recount must agree with it, and what a peek reads out must be
//! the oldest that is owed, byte for byte. A crash copies the file and its WAL away while a transaction may be open:
//! the model goes back to the last commit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::retention::Ages;
use super::*;
use crate::entry::Cursor;
use crate::set_aside::{Decision, Selection};

const LANES: [Lane; 2] = Lane::ALL;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Delivered,
    Quarantined { told: bool },
    Dropped { told: bool },
}

impl Fate {
    /// Whether the cloud has to hear of it.
    fn is_owed(self) -> bool {
        matches!(self, Fate::Pending | Fate::Quarantined { told: false } | Fate::Dropped { told: false })
    }
}

/// (lane, epoch, number), in order of reading out within a lane.
type Key = (Lane, u64, u64);

#[derive(Clone, Debug, Default)]
struct Model {
    fates: BTreeMap<Key, Fate>,
    /// First number and frame of the block that a number came in.
    frames: BTreeMap<Key, (u64, Vec<u8>)>,
    epoch: u64,
}

impl Model {
    fn next(&self, lane: Lane) -> u64 {
        self.fates
            .range((lane, self.epoch, 0)..=(lane, self.epoch, u64::MAX))
            .next_back()
            .map_or(1, |(key, _)| key.2 + 1)
    }

    fn of(&self, lane: Lane) -> impl Iterator<Item = (Key, Fate)> {
        self.fates.iter().map(|(key, fate)| (*key, *fate)).filter(move |(key, _)| key.0 == lane)
    }

    fn count(&self, lane: Lane, which: impl Fn(Fate) -> bool) -> u64 {
        u64::try_from(self.of(lane).filter(|(_, fate)| which(*fate)).count()).unwrap()
    }

    fn ledger(&self, lane: Lane) -> [u64; 5] {
        [
            self.count(lane, |_| true),
            self.count(lane, |fate| fate == Fate::Delivered),
            self.count(lane, |fate| fate == Fate::Pending),
            self.count(lane, |fate| matches!(fate, Fate::Quarantined { .. })),
            self.count(lane, |fate| matches!(fate, Fate::Dropped { .. })),
        ]
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { lane: usize, count: u64, bytes: usize },
    Gap { lane: usize, count: u64 },
    Commit,
    Rollback,
    Peek { lane: usize, max_bytes: usize, behind: bool },
    LetGo,
    Settle { which: prop::sample::Index, skip: u64, take: u64, as_what: u8 },
    Decide { retry: bool, id: Option<i64> },
    Age { committed: u64 },
    Crash,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || prop_oneof![1 => Just(0_usize), 3 => Just(1_usize)];
    let bytes = prop_oneof![3 => 0_usize..2_000, 1 => 4_000_usize..60_000];
    let step = prop_oneof![
        8 => (lane(), 1_u64..30, bytes).prop_map(|(lane, count, bytes)| Step::Append { lane, count, bytes }),
        2 => (lane(), 1_u64..9).prop_map(|(lane, count)| Step::Gap { lane, count }),
        4 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        5 => (lane(), 0_usize..100_000, any::<bool>())
            .prop_map(|(lane, max_bytes, behind)| Step::Peek { lane, max_bytes, behind }),
        1 => Just(Step::LetGo),
        6 => (any::<prop::sample::Index>(), 0_u64..20, 1_u64..80, 0_u8..5)
            .prop_map(|(which, skip, take, as_what)| Step::Settle { which, skip, take, as_what }),
        2 => (any::<bool>(), prop::option::of(1_i64..12)).prop_map(|(retry, id)| Step::Decide { retry, id }),
        1 => (0_u64..150).prop_map(|committed| Step::Age { committed }),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..80)
}

struct Run {
    directory: TempDir,
    store: Option<Store>,
    now: Model,
    committed: Model,
    peeks: Vec<(Peek, u64)>,
}

impl Run {
    fn new() -> Self {
        let mut run = Run {
            directory: TempDir::new().unwrap(),
            store: None,
            now: Model::default(),
            committed: Model::default(),
            peeks: vec![],
        };
        run.open();
        run
    }

    fn open(&mut self) {
        self.now.epoch += 1;
        let (store, opened) = open(self.directory.path(), MEBIBYTE, AGENT, &format!("e{}", self.now.epoch), 0).unwrap();
        self.committed = self.now.clone();
        let mut expected: BTreeMap<(String, Lane), u64> = BTreeMap::new();
        for (lane, epoch, number) in self.now.fates.keys() {
            let owed = self.now.fates.range((*lane, *epoch, 0)..=(*lane, *epoch, u64::MAX)).any(|(_, f)| f.is_owed());
            if owed {
                expected.insert((format!("e{epoch}"), *lane), *number);
            }
        }
        let earlier: BTreeMap<_, _> = opened.earlier.into_iter().map(|e| ((e.epoch, e.lane), e.last)).collect();
        assert_eq!(earlier, expected);
        self.store = Some(store);
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append { lane, count, bytes } => self.append(LANES[lane], count, bytes),
            Step::Gap { lane, count } => {
                let (lane, first) = (LANES[lane], self.now.next(LANES[lane]));
                let last = first + count - 1;
                self.store().append(&Append::Gap { lane, first, last, reason: GapReason::QueueFull }, 1).unwrap();
                for number in first..=last {
                    self.now.fates.insert((lane, self.now.epoch, number), Fate::Dropped { told: false });
                }
            }
            Step::Commit => {
                self.store().commit().unwrap();
                self.committed = self.now.clone();
            }
            Step::Rollback => {
                self.store().rollback();
                self.now = self.committed.clone();
                self.peeks.clear();
            }
            Step::Peek { lane, max_bytes, behind } => self.peek(LANES[lane], max_bytes, behind),
            Step::LetGo => self.peeks.clear(),
            Step::Settle { which, skip, take, as_what } if !self.peeks.is_empty() => {
                self.settle(which.index(self.peeks.len()), skip, take, as_what);
            }
            Step::Settle { .. } => {}
            Step::Decide { retry, id } => self.decide(retry, id),
            Step::Age { committed } => self.age(committed),
            Step::Crash => {
                let copy = TempDir::new().unwrap();
                for file in ["buffer.db", "buffer.db-wal"] {
                    std::fs::copy(self.directory.path().join(file), copy.path().join(file)).unwrap();
                }
                self.peeks.clear();
                self.store = None;
                self.directory = copy;
                self.now = self.committed.clone();
                self.open();
            }
            Step::Reopen => {
                self.store().commit().unwrap();
                self.peeks.clear();
                self.store = None;
                self.open();
            }
        }
        self.check();
    }

    fn append(&mut self, lane: Lane, count: u64, bytes: usize) {
        let (epoch, first) = (self.now.epoch, self.now.next(lane));
        self.store().append(&block(lane, first, count, bytes), 1).unwrap();
        for number in first..first + count {
            self.now.fates.insert((lane, epoch, number), Fate::Pending);
            self.now.frames.insert((lane, epoch, number), (first, frame(lane, first, bytes)));
        }
        // What was evicted is the buffer's choice; that it was the right one is checked here.
        let owed = self.owed();
        for victims in LANES {
            let pending: Vec<Key> = self.now.of(victims).filter(|(_, f)| *f == Fate::Pending).map(|(k, _)| k).collect();
            let gone: Vec<Key> = pending.iter().copied().filter(|key| !owed.contains_key(key)).collect();
            for key in &gone {
                self.now.fates.insert(*key, Fate::Dropped { told: false });
                let itself = key.0 == lane && key.1 == epoch && key.2 >= first;
                assert!(!self.in_flight(*key), "{key:?} was in flight");
                assert!(victims == Lane::Readings || lane == Lane::Events, "a reading drove out {key:?}");
                let older_left = pending.iter().any(|other| {
                    let block_in_flight =
                        pending.iter().any(|flown| self.same_block(*other, *flown) && self.in_flight(*flown));
                    other < key && owed.contains_key(other) && !block_in_flight
                });
                assert!(itself || !older_left, "{key:?} went before an older one");
            }
        }
    }

    fn same_block(&self, one: Key, other: Key) -> bool {
        (one.0, one.1) == (other.0, other.1) && self.now.frames[&one].0 == self.now.frames[&other].0
    }

    fn in_flight(&self, (lane, epoch, number): Key) -> bool {
        let inside = |peek: &Peek| peek.range().0 <= number && number <= peek.range().1;
        self.peeks.iter().any(|(peek, of)| peek.lane() == lane && *of == epoch && inside(peek))
    }

    /// Numbers that blocks owe, as the file says.
    fn owed(&mut self) -> BTreeMap<Key, ()> {
        let mut owed = BTreeMap::new();
        for lane in LANES {
            let store = self.store.as_ref().unwrap();
            let (mut epoch, mut behind) = (0, 0);
            while let Some(block) = block_behind(&store.conn, lane, epoch, behind).unwrap() {
                let name = store.epoch(block.epoch).unwrap().name;
                let of: u64 = name[1..].parse().unwrap();
                owed.extend(block.owed().iter().flat_map(|(a, b)| a..=b).map(|number| ((lane, of, number), ())));
                (epoch, behind) = (block.epoch, block.first);
            }
        }
        owed
    }

    fn peek(&mut self, lane: Lane, max_bytes: usize, behind: bool) {
        let after =
            self.peeks.iter().filter(|(peek, _)| behind && peek.lane() == lane).map(|(peek, _)| peek.cursor()).max();
        let from = after.map_or((lane, 0, 0), |after| self.key_of(lane, after));
        let expected = self.now.of(lane).find(|(key, fate)| *key > from && fate.is_owed());
        let Some(peek) = self.store().peek(lane, max_bytes, after, 2).unwrap() else {
            assert_eq!(expected, None, "something is owed");
            return;
        };
        let ((_, epoch, first), _) = expected.expect("nothing is owed");
        assert_eq!((peek.epoch(), peek.range().0), (format!("e{epoch}").as_str(), first));
        let mut number = first;
        let mut bytes = 0;
        for entry in peek.entries() {
            assert_eq!(entry.range().0, number, "contiguous");
            for number in number..=entry.range().1 {
                let key = (lane, epoch, number);
                match (entry, self.now.fates[&key]) {
                    (Entry::Block(block), Fate::Pending) => {
                        assert_eq!((block.first, &block.frame), (self.now.frames[&key].0, &self.now.frames[&key].1));
                    }
                    (Entry::Gap { .. }, Fate::Dropped { told: false })
                    | (Entry::Quarantined { .. }, Fate::Quarantined { told: false }) => {}
                    (entry, fate) => panic!("{number} is {fate:?}, and was read out as {}", say(entry)),
                }
            }
            number = entry.range().1 + 1;
            bytes += entry.bytes();
        }
        assert!(peek.entries().len() == 1 || bytes <= max_bytes, "over budget");
        assert_eq!(peek.range().1, number - 1);
        self.peeks.push((peek, epoch));
    }

    fn key_of(&mut self, lane: Lane, cursor: Cursor) -> Key {
        let (_, epoch) = self.peeks.iter().find(|(peek, _)| peek.cursor() == cursor && peek.lane() == lane).unwrap();
        (lane, *epoch, cursor.last)
    }

    fn settle(&mut self, which: usize, skip: u64, take: u64, as_what: u8) {
        let (peek, epoch) = &self.peeks[which];
        let (flown, lane, epoch) = (peek.hold.range, peek.lane(), *epoch);
        let first = flown.first + skip;
        let last = first + take - 1; // may reach beyond the peek
        let settlement = match as_what {
            0 => quarantine(first, last),
            1 => Settlement { held: vec![(first, last)], ..Settlement::default() },
            _ => accept(&[(first, last)]),
        };
        let range = first..=last.min(flown.last);
        // Quarantine rows are told whole or not at all: the file knows where they begin and end. Asked before, for the
        // same settlement may drive them out.
        let whole = self.untold_within(lane, epoch, first, last.min(flown.last));
        let settled = self.store().settle(flown, &settlement, 3).unwrap();
        let mut expected = Settled { ignored: take, ..Settled::default() };
        for number in range {
            let Some(fate) = self.now.fates.get_mut(&(lane, epoch, number)) else { continue };
            match *fate {
                Fate::Pending if as_what == 0 => {
                    (*fate, expected.quarantined) = (Fate::Quarantined { told: false }, expected.quarantined + 1);
                }
                Fate::Pending => (*fate, expected.delivered) = (Fate::Delivered, expected.delivered + 1),
                Fate::Dropped { told: false } => {
                    *fate = if as_what == 1 { Fate::Delivered } else { Fate::Dropped { told: true } };
                    expected.told += 1;
                }
                Fate::Quarantined { told: false } if whole.contains(&number) => {
                    (*fate, expected.told) = (Fate::Quarantined { told: true }, expected.told + 1);
                }
                _ => continue,
            }
            expected.ignored -= 1;
        }
        // The oldest of a full quarantine is dropped; these small ones never fill its rows, big frames fill its bytes.
        self.follow_quarantine();
        assert_eq!(settled, expected);
    }

    /// What is no longer in the quarantine is owed again or dropped, and nothing else changes.
    fn decide(&mut self, retry: bool, id: Option<i64>) {
        let decision = if retry { Decision::Retry } else { Decision::Drop };
        let selection = id.map_or(Selection::All, |id| Selection::Ids(vec![id]));
        let before = self.quarantined();
        let decided = self.store().decide(&selection, decision, 4).unwrap();
        let after = self.quarantined();
        let gone: Vec<Key> = before.keys().filter(|key| !after.contains_key(*key)).copied().collect();
        assert_eq!(decided.numbers, u64::try_from(gone.len()).unwrap());
        for key in gone {
            assert!(!self.in_flight(key), "{key:?} was in flight");
            assert!(id.is_none_or(|id| before[&key] == id));
            let Fate::Quarantined { told } = self.now.fates[&key] else { panic!("{key:?}") };
            self.now.fates.insert(key, if retry { Fate::Pending } else { Fate::Dropped { told } });
        }
        if id.is_none() {
            assert!(after.keys().all(|key| self.in_flight(*key) || self.shares_a_row(*key, &after)));
        }
    }

    /// Whether a part of the same entry is in flight.
    fn shares_a_row(&self, key: Key, rows: &BTreeMap<Key, i64>) -> bool {
        rows.iter().any(|(other, id)| *id == rows[&key] && self.in_flight(*other))
    }

    /// A day passes since the readings up to `committed` of this run.
    fn age(&mut self, committed: u64) {
        let (lane, epoch) = (Lane::Readings, self.now.epoch);
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        let store = self.store();
        let mut ages = Ages::new(day, start);
        ages.committed(lane, store.epoch_id(), committed, start);
        assert!(!store.expire(&mut ages, start + day - Duration::from_millis(1), 5).unwrap());
        assert!(!store.expire(&mut ages, start + day, 5).unwrap());
        let pending: Vec<Key> = self.now.of(lane).filter(|(_, f)| *f == Fate::Pending).map(|(k, _)| k).collect();
        for key in &pending {
            let flown = pending.iter().any(|other| self.same_block(*key, *other) && self.in_flight(*other))
                || self.block_overlaps_a_peek(*key);
            if (key.1, self.now.frames[key].0) <= (epoch, committed) && !flown {
                self.now.fates.insert(*key, Fate::Dropped { told: false });
            }
        }
    }

    /// Whether any number of a block, settled ones too, lies in a peek.
    fn block_overlaps_a_peek(&self, key: Key) -> bool {
        let frames = &self.now.frames;
        frames.keys().any(|other| self.same_block(key, *other) && self.in_flight(*other))
    }

    /// The numbers in the quarantine, with the ids of their entries.
    fn quarantined(&mut self) -> BTreeMap<Key, i64> {
        let store = self.store.as_ref().unwrap();
        let mut kept = BTreeMap::new();
        for entry in store.list_quarantine(0, 256).unwrap() {
            let epoch: u64 = entry.epoch[1..].parse().unwrap();
            kept.extend((entry.first..=entry.last).map(|number| ((entry.lane, epoch, number), entry.id)));
        }
        kept
    }

    fn rows(&mut self, sql: &str) -> Vec<(i64, String, u64, u64)> {
        let store = self.store.as_ref().unwrap();
        let mut statement = store.conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.map(rusqlite::Result::unwrap).collect()
    }

    fn untold_within(&mut self, lane: Lane, epoch: u64, first: u64, last: u64) -> Vec<u64> {
        let sql = "SELECT q.lane, e.name, q.first, q.last FROM quarantine q JOIN epochs e ON e.id = q.epoch WHERE reported = 0";
        let rows = self.rows(sql);
        let here = rows.iter().filter(|row| row.0 == lane.code() && row.1 == format!("e{epoch}"));
        here.filter(|row| first <= row.2 && row.3 <= last).flat_map(|row| row.2..=row.3).collect()
    }

    fn follow_quarantine(&mut self) {
        let kept = self.quarantined();
        for (key, fate) in &mut self.now.fates {
            if let Fate::Quarantined { told } = *fate
                && !kept.contains_key(key)
            {
                *fate = Fate::Dropped { told };
            }
        }
    }

    fn check(&mut self) {
        let store = self.store.as_ref().unwrap();
        store.verify().unwrap();
        for lane in LANES {
            assert_eq!(ledger(store, lane)[..5], self.now.ledger(lane), "{}", lane.name());
        }
        assert!(pages_in_use(&store.conn).unwrap() <= store.max_pages);
    }

    /// Everything that is owed can be delivered, in order, and then nothing is.
    fn drain(mut self) {
        self.peeks.clear();
        for lane in LANES {
            while let Some(peek) = self.store().peek(lane, 50_000, None, 2).unwrap() {
                let settlement = accept(&[peek.range()]);
                self.store().settle(peek.hold.range, &settlement, 3).unwrap();
            }
        }
        self.store().commit().unwrap();
        self.store().verify().unwrap();
        for lane in LANES {
            let [collected, delivered, pending, quarantined, dropped] = self.now.ledger(lane);
            let drained = [collected, delivered + pending, 0, quarantined, dropped, 0];
            assert_eq!(ledger(self.store(), lane), drained, "{}", lane.name());
        }
        let frames: u64 = self.store().conn.query_row("SELECT count(*) FROM blocks", [], |row| row.get(0)).unwrap();
        assert_eq!(frames, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_ledger_adds_up(steps in steps()) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.drain();
    }
}
