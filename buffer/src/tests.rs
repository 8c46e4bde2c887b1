//! The handle with its thread, on real files.

use std::time::Duration;

use tempfile::TempDir;

use crate::*;

const MAX_BYTES: u64 = 16 << 20;
const AGENT: &str = "gw-paint-01";

fn settings(directory: &TempDir) -> Settings {
    Settings {
        directory: directory.path().to_owned(),
        max_bytes: MAX_BYTES,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: Duration::from_millis(10),
    }
}

fn open(directory: &TempDir, epoch: &str) -> Buffer {
    Buffer::open(&settings(directory), AGENT, epoch, 0).unwrap().0
}

fn readings(first: u64, count: u64, bytes: usize) -> Append {
    Append::Block { lane: Lane::Readings, first, count, frame: vec![7; bytes], catalogue: None }
}

fn figures(stats: &Stats) -> [u64; 5] {
    let lane = stats.lane(Lane::Readings).unwrap();
    assert!(lane.adds_up(), "{lane:?}");
    [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped]
}

#[tokio::test]
async fn appended_peeked_settled_closed() {
    let directory = TempDir::new().unwrap();
    let buffer = open(&directory, "e1");
    let mut stats = buffer.stats();
    let catalogue = Append::Catalogue { id: "9f2a".into(), frame: vec![1, 2, 3] };
    buffer.append(vec![catalogue, readings(1, 10, 100)]).unwrap();
    stats.wait_for(|stats| figures(stats) == [10, 0, 10, 0, 0]).await.unwrap();
    assert_eq!(buffer.catalogue("9f2a").await, Ok(Some(vec![1, 2, 3])));

    let peek = buffer.peek(Lane::Readings, 1000, None).await.unwrap();
    let settled = buffer.settle(&peek, Settlement { accepted: vec![(1, 4)], ..Settlement::default() }).await.unwrap();
    assert_eq!(settled.delivered, 4);
    drop(peek);
    stats.wait_for(|stats| figures(stats) == [10, 4, 6, 0, 0]).await.unwrap();
    let commits = stats.borrow().written.commits;
    stats.wait_for(|stats| stats.written.commits > commits).await.unwrap(); // the ack alone, after its delay
    buffer.verify().await.unwrap();

    let other = buffer.clone();
    assert_eq!(figures(&buffer.close().await), [10, 4, 6, 0, 0]);
    assert!(matches!(other.append(vec![readings(11, 1, 1)]), Err(AppendError::Stopped(_))));
    assert!(other.peek(Lane::Readings, 1000, None).await.is_none());
    assert_eq!(figures(&Buffer::read_stats(directory.path(), MAX_BYTES).unwrap()), [10, 4, 6, 0, 0]);
}

#[tokio::test]
async fn what_was_appended_before_the_last_handle_goes_is_committed() {
    let directory = TempDir::new().unwrap();
    let buffer = open(&directory, "e1");
    for at in 0..100 {
        buffer.append(vec![readings(1 + at * 10, 10, 20_000)]).unwrap();
    }
    drop(buffer);
    let stats = Buffer::read_stats(directory.path(), MAX_BYTES).unwrap();
    assert_eq!(figures(&stats), [1000, 0, 1000, 0, 0]);
    let (buffer, opened) = Buffer::open(&settings(&directory), AGENT, "e2", 0).unwrap();
    assert_eq!(opened.earlier, [EarlierEpoch { epoch: "e1".into(), lane: Lane::Readings, last: 1000 }]);
    let peek = buffer.peek(Lane::Readings, 1 << 30, None).await.unwrap();
    assert_eq!((peek.epoch(), peek.range()), ("e1", (1, 1000)));
}

#[tokio::test]
async fn durable_means_that_a_copy_of_the_files_has_it() {
    let directory = TempDir::new().unwrap();
    let buffer = open(&directory, "e1");
    for at in 0..20 {
        buffer.append_durable(vec![readings(1 + at * 10, 10, 100)]).await.unwrap();
        let copy = TempDir::new().unwrap();
        for file in ["buffer.db", "buffer.db-wal"] {
            std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
        }
        let stats = Buffer::read_stats(copy.path(), MAX_BYTES).unwrap();
        assert_eq!(figures(&stats), [(at + 1) * 10, 0, (at + 1) * 10, 0, 0]);
    }
}

#[tokio::test]
async fn durable_says_so_when_there_was_no_room() {
    let directory = TempDir::new().unwrap();
    let buffer = open(&directory, "e1");
    let event = |first| Append::Block { lane: Lane::Events, first, count: 1, frame: vec![7; 1 << 20], catalogue: None };
    for first in 1..=10 {
        buffer.append_durable(vec![event(first)]).await.unwrap();
    }
    let refused = buffer.append_durable(vec![readings(1, 10, 1 << 20)]).await;
    assert!(matches!(refused, Err(DurableError::NotStored)), "{refused:?}");
    let stats = buffer.stats().borrow().clone();
    assert_eq!((figures(&stats), stats.state), ([10, 0, 0, 0, 10], State::Full));
}

#[test]
fn a_cap_too_small_is_refused_before_anything_is_made() {
    let directory = TempDir::new().unwrap();
    let settings = Settings { max_bytes: MAX_BYTES - 1, ..settings(&directory) };
    let error = Buffer::open(&settings, AGENT, "e1", 0).unwrap_err();
    assert!(matches!(error, OpenError::TooSmall { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
