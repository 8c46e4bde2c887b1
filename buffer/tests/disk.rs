//! Disks that are full, that fail, and that come back: real file systems on loop mounts of their own.
//!
//! `cargo test -p lineside-buffer --test disk -- --ignored`, as root. Each test makes an image, mounts it, and leaves
//! nothing behind. At the end of each the books add up and agree with the rows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lineside_buffer::{Append, Buffer, Entry, GapReason, Lane, OpenError, Settings, Settlement, State, Stats};
use tempfile::TempDir;

const MEBIBYTE: u64 = 1 << 20;
/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file system in a file, mounted.
struct Disk {
    directory: TempDir,
}

impl Disk {
    fn new(mebibytes: u64, features: &[&str]) -> Self {
        let disk = Disk { directory: TempDir::with_prefix("lineside-disk-").unwrap() };
        File::create(disk.image()).unwrap().set_len(mebibytes * MEBIBYTE).unwrap();
        fs::create_dir(disk.mount_point()).unwrap();
        run("mkfs.ext4", &[&["-q", "-F", "-m", "0"], features, &[text(&disk.image())]].concat());
        disk.mount("loop");
        disk
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn mount(&self, options: &str) {
        run("mount", &["-o", options, text(&self.image()), text(&self.mount_point())]);
    }

    fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), text(&self.mount_point())]);
    }

    /// Takes the file system away, but for the files that are open in it, and puts a repaired copy in its place: the
    /// kernel would take a file system that is still in use for the same one, abort and all.
    fn replace(&self) {
        run("umount", &["--lazy", text(&self.mount_point())]);
        let copy = self.directory.path().join("repaired");
        fs::copy(self.image(), &copy).unwrap();
        fs::rename(&copy, self.image()).unwrap();
        let fsck = Command::new("fsck.ext4").args(["-y", "-f", text(&self.image())]).output().unwrap();
        assert!(fsck.status.code().is_some_and(|code| code <= 1), "{fsck:?}");
        self.mount("loop");
    }

    /// Everything that is left goes to somebody else.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut piece = vec![7; 1 << 20];
        while !piece.is_empty() {
            if filler.write_all(&piece).and_then(|()| filler.sync_data()).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        assert!(self.is_full());
    }

    fn filler(&self) -> PathBuf {
        self.mount_point().join("filler")
    }

    fn is_full(&self) -> bool {
        let file = File::create(self.mount_point().join("probe")).and_then(|mut file| file.write_all(&[7; 4096]));
        fs::remove_file(self.mount_point().join("probe")).unwrap();
        file.is_err()
    }

    fn settings(&self, max_bytes: u64) -> Settings {
        Settings {
            directory: self.mount_point().join("buffer"),
            max_bytes,
            max_age: None,
            min_free_bytes: 0,
            max_commit_delay: Duration::from_millis(10),
        }
    }

    /// Blocks that are allocated to a file of the buffer, in bytes.
    fn allocated(&self, name: &str) -> u64 {
        fs::metadata(self.mount_point().join("buffer").join(name)).unwrap().blocks() * 512
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", text(&self.mount_point())]).status();
    }
}

fn readings(first: u64, count: u64, bytes: usize) -> Append {
    Append::Block { lane: Lane::Readings, first, count, frame: vec![7; bytes], catalogue: None }
}

fn lane(stats: &Stats, lane: Lane) -> [u64; 5] {
    let lane = stats.lane(lane).unwrap();
    assert!(lane.adds_up(), "{lane:?}");
    [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped]
}

async fn until(buffer: &Buffer, what: &str, condition: impl FnMut(&Stats) -> bool) -> Stats {
    let mut stats = buffer.stats();
    let waited = tokio::time::timeout(PATIENCE, stats.wait_for(condition)).await;
    let found = waited.ok().map(|found| found.unwrap().clone());
    found.unwrap_or_else(|| panic!("waited for {what}: {:?}", buffer.stats().borrow()))
}

/// Everything that is owed goes out, in order, and then the books close.
async fn drain(buffer: &Buffer) -> Vec<(u64, u64, Option<GapReason>)> {
    let mut told = Vec::new();
    while let Some(peek) = buffer.peek(Lane::Readings, 1 << 20, None).await {
        told.extend(peek.entries().iter().map(|entry| {
            let reason = if let Entry::Gap { reason, .. } = entry { Some(*reason) } else { None };
            (entry.range().0, entry.range().1, reason)
        }));
        buffer.settle(&peek, Settlement { accepted: vec![peek.range()], ..Settlement::default() }).await.unwrap();
    }
    buffer.verify().await.unwrap();
    told
}

#[tokio::test]
#[ignore = "needs root and loop mounts; tests/run runs it"]
async fn a_disk_without_a_free_byte_stops_neither_appends_nor_acks_nor_evictions() {
    let disk = Disk::new(64, &[]);
    let settings = disk.settings(24 * MEBIBYTE);
    let (buffer, _) = Buffer::open(&settings, "gw", "e1", 0).unwrap();
    assert_eq!(disk.allocated("buffer.db"), 16 * MEBIBYTE, "the cap, less what the WAL may take");
    assert!(disk.allocated("buffer.db-wal") >= 8 * MEBIBYTE);
    disk.fill();

    let mut first = 1;
    for round in 0..40 {
        for _ in 0..20 {
            buffer.append_durable(vec![readings(first, 100, 50_000)]).await.unwrap();
            first += 100;
        }
        assert!(!buffer.stats().borrow().state.is_failing(), "{}", buffer.stats().borrow().state);
        // Now and then the cloud takes some.
        if round % 8 == 0 {
            let peek = buffer.peek(Lane::Readings, 200_000, None).await.unwrap();
            buffer.settle(&peek, Settlement { accepted: vec![peek.range()], ..Settlement::default() }).await.unwrap();
        }
    }
    assert!(disk.is_full(), "and nobody has made room");
    buffer.verify().await.unwrap();
    let before = buffer.close().await;
    let [collected, delivered, pending, _, dropped] = lane(&before, Lane::Readings);
    assert_eq!(collected, 80_000);
    assert!(delivered > 0 && dropped > 40_000 && pending > 20_000, "{before:?}");
    assert_eq!(before.cap_bytes, 24 * MEBIBYTE);

    // A restart finds what it left, and goes on in it.
    assert!(disk.is_full());
    let (buffer, _) = Buffer::open(&settings, "gw", "e2", 0).unwrap();
    let after = buffer.stats().borrow().clone();
    assert_eq!(lane(&after, Lane::Readings), lane(&before, Lane::Readings));
    assert_eq!(after.cap_bytes, 24 * MEBIBYTE);
    for at in 0..400 {
        buffer.append_durable(vec![readings(1 + at * 100, 100, 50_000)]).await.unwrap();
    }
    drain(&buffer).await;
    let last = buffer.close().await;
    assert_eq!(lane(&last, Lane::Readings)[0], 120_000);
    assert_eq!(lane(&last, Lane::Readings)[2], 0);
    assert!(disk.is_full());
}

#[tokio::test]
#[ignore = "needs root and loop mounts; tests/run runs it"]
async fn a_disk_that_cannot_reserve_shows_that_it_is_full_and_resumes_when_it_is_not() {
    let disk = Disk::new(96, &["-O", "^extent,^64bit,^metadata_csum"]);
    let (buffer, _) = Buffer::open(&disk.settings(64 * MEBIBYTE), "gw", "e1", 0).unwrap();
    buffer.append_durable(vec![readings(1, 100, 500_000)]).await.unwrap();
    assert!(disk.allocated("buffer.db") < 8 * MEBIBYTE, "nothing is reserved");
    disk.fill();
    let mut first = 101;
    // Collection goes on whatever the disk does; at most what it holds in memory waits.
    for _ in 0..80 {
        buffer.append(vec![readings(first, 100, 100_000)]).unwrap();
        first += 100;
        // It is taken from the queue before the next.
        let _answer = buffer.verify().await;
        if buffer.stats().borrow().state.is_failing() {
            break;
        }
    }
    let failing = until(&buffer, "a full disk", |stats| stats.state.is_failing()).await;
    assert!(matches!(failing.state, State::DiskFull(_)), "{}", failing.state);
    for _ in 0..100 {
        buffer.append(vec![readings(first, 100, 100_000)]).unwrap();
        first += 100;
        let _answer = buffer.verify().await;
    }
    fs::remove_file(disk.filler()).unwrap();
    let resumed = until(&buffer, "the disk to be back", |stats| {
        !stats.state.is_failing() && lane(stats, Lane::Readings)[0] == first - 1
    })
    .await;
    // The cap grows with what the disk allows.
    until(&buffer, "the old cap", |stats| stats.cap_bytes == 64 * MEBIBYTE).await;
    buffer.append_durable(vec![readings(first, 100, 100_000)]).await.unwrap();
    let told = drain(&buffer).await;
    assert_eq!(told.iter().map(|(first, last, _)| last - first + 1).sum::<u64>(), first + 99);
    let dropped: u64 = told.iter().filter(|told| told.2.is_some()).map(|(first, last, _)| last - first + 1).sum();
    assert!(told.iter().all(|told| told.2.is_none_or(|why| why == GapReason::BufferFull)), "{told:?}");
    assert_eq!(dropped, lane(&resumed, Lane::Readings)[4], "each drop is told");
}

#[tokio::test]
#[ignore = "needs root and loop mounts; tests/run runs it"]
async fn a_file_system_that_aborts_costs_nothing_once_a_sound_one_is_back() {
    let disk = Disk::new(64, &[]);
    let (buffer, _) = Buffer::open(&disk.settings(24 * MEBIBYTE), "gw", "e1", 0).unwrap();
    for at in 0..10 {
        buffer.append_durable(vec![readings(1 + at * 100, 100, 50_000)]).await.unwrap();
    }
    let peek = buffer.peek(Lane::Readings, 1000, None).await.unwrap();
    buffer.settle(&peek, Settlement { accepted: vec![(1, 50)], ..Settlement::default() }).await.unwrap();
    drop(peek);
    buffer.append_durable(vec![readings(1001, 100, 50_000)]).await.unwrap();

    disk.remount("abort");
    for at in 11..21 {
        buffer.append(vec![readings(1 + at * 100, 100, 50_000)]).unwrap();
    }
    let failing = until(&buffer, "a disk that fails", |stats| stats.state.is_failing()).await;
    assert!(matches!(failing.state, State::ReadOnly(_)), "{}", failing.state);
    assert!(buffer.peek(Lane::Readings, 1000, None).await.is_some(), "what is stored can still be read and sent");
    assert_eq!(lane(&buffer.stats().borrow(), Lane::Readings), [1100, 50, 1050, 0, 0]);

    disk.replace();
    let back = until(&buffer, "the disk to be back", |stats| stats.state == State::Ok).await;
    assert_eq!(lane(&back, Lane::Readings), [2100, 50, 2050, 0, 0], "nothing was lost");
    buffer.append_durable(vec![readings(2101, 100, 50_000)]).await.unwrap();
    let told = drain(&buffer).await;
    assert_eq!(told.iter().map(|(first, last, _)| last - first + 1).sum::<u64>(), 2150);
    assert_eq!(told[0], (51, 100, None));
    let closed = buffer.close().await;
    assert_eq!(lane(&closed, Lane::Readings), [2200, 2200, 0, 0, 0]);
}

#[tokio::test]
#[ignore = "needs root and loop mounts; tests/run runs it"]
async fn a_disk_that_stays_away_for_long_costs_a_recorded_gap() {
    let disk = Disk::new(64, &[]);
    let (buffer, _) = Buffer::open(&disk.settings(24 * MEBIBYTE), "gw", "e1", 0).unwrap();
    buffer.append_durable(vec![readings(1, 100, 50_000)]).await.unwrap();
    disk.remount("abort");
    let mut lost = 0;
    for at in 1..=200 {
        // Twice what is held in memory.
        if buffer.append(vec![readings(1 + at * 100, 100, 50_000)]).is_err() {
            panic!("the queue is emptied while the disk fails");
        }
        let _answer = buffer.verify().await;
        lost = 1 + at * 100;
    }
    disk.replace();
    let back = until(&buffer, "the disk to be back", |stats| stats.state == State::Ok).await;
    let [collected, _, pending, _, dropped] = lane(&back, Lane::Readings);
    assert_eq!((collected, pending + dropped), (lost + 99, lost + 99));
    assert!(dropped > 0 && pending > 0, "{back:?}");
    let told = drain(&buffer).await;
    assert!(told.iter().any(|told| told.2 == Some(GapReason::DiskError)), "{told:?}");
}

#[tokio::test]
#[ignore = "needs root and loop mounts; tests/run runs it"]
async fn a_buffer_on_a_read_only_or_a_tiny_disk_says_so_and_what_to_do() {
    let disk = Disk::new(64, &[]);
    let settings = disk.settings(24 * MEBIBYTE);
    drop(Buffer::open(&settings, "gw", "e1", 0).unwrap());
    disk.remount("ro");
    let error = Buffer::open(&settings, "gw", "e2", 0).unwrap_err();
    assert!(error.to_string().contains("permission") || error.to_string().contains("ead-only"), "{error}");
    disk.remount("rw");
    drop(Buffer::open(&settings, "gw", "e2", 0).unwrap());

    let greedy = Settings { directory: disk.mount_point().join("other"), min_free_bytes: 60 * MEBIBYTE, ..settings };
    let error = Buffer::open(&greedy, "gw", "e1", 0).unwrap_err();
    assert!(matches!(error, OpenError::NoRoom { .. }), "{error}");
    assert!(!greedy.directory.exists(), "and nothing was made");
}
