use lineside_buffer::{Append, Buffer, Settings};
use tempfile::TempDir;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RATE: u64 = 100_000;
/// So much that the line is what counts.
const ANY_RATE: u64 = u64::MAX;

/// Places in a real lane: behind the numbers 10, 20 and 30.
async fn cursors() -> [Cursor; 3] {
    let directory = TempDir::new().unwrap();
    let settings = Settings {
        directory: directory.path().to_owned(),
        max_bytes: 16 << 20,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay: SECOND,
    };
    let (buffer, _) = Buffer::open(&settings, "gw-test", "e1", 0).unwrap();
    let mut cursors = Vec::new();
    for first in [1, 11, 21] {
        let lane = Lane::Readings;
        let block = Append::Block { lane, first, count: 10, frame: vec![1], catalogue: None };
        buffer.append_durable(vec![block]).await.unwrap();
        cursors.push(buffer.newest(lane).await.unwrap());
    }
    cursors.try_into().unwrap()
}

fn streams(schedule: &Schedule) -> Vec<Stream> {
    schedule.streams().collect()
}

/// An answer to a request of so many bytes after so many milliseconds.
fn answer(schedule: &mut Schedule, stream: Stream, bytes: usize, took: u64, now: Instant) {
    schedule.answered(stream, bytes, Duration::from_millis(took), Limits::default(), now);
}

#[tokio::test]
async fn what_was_committed_before_the_link_came_back_is_the_backlog() {
    let [old, mark, new] = cursors().await;
    let mut schedule = Schedule::new(RATE);
    assert_eq!((streams(&schedule), schedule.begin(Stream::Live)), (vec![Stream::Events, Stream::Live], None));
    schedule.up(Some(mark), false);
    assert_eq!(streams(&schedule), [Stream::Events, Stream::Live, Stream::Backfill]);
    assert_eq!(schedule.begin(Stream::Live), Some(mark));
    assert_eq!((schedule.begin(Stream::Events), schedule.begin(Stream::Backfill)), (None, None));
    assert!(
        schedule.is_behind_the_mark(new) && !schedule.is_behind_the_mark(mark) && !schedule.is_behind_the_mark(old)
    );
    schedule.drained();
    assert_eq!((streams(&schedule), schedule.begin(Stream::Live)), (vec![Stream::Events, Stream::Live], None));
}

#[tokio::test]
async fn a_hiccup_leaves_the_mark_where_it_is() {
    let [_, mark, new] = cursors().await;
    let mut schedule = Schedule::new(RATE);
    schedule.up(Some(mark), true);
    assert_eq!(schedule.begin(Stream::Live), None, "what fits one request is no backlog");
    schedule.up(Some(mark), false);
    schedule.down();
    assert!(schedule.is_down());
    assert_eq!(schedule.begin(Stream::Live), Some(mark), "live goes first then too");
    schedule.up(Some(new), true);
    assert_eq!(schedule.begin(Stream::Live), Some(mark));
    schedule.down();
    schedule.up(Some(new), false);
    assert_eq!(schedule.begin(Stream::Live), Some(new), "what was live has become a backlog");
}

#[tokio::test]
async fn the_backlog_alone_is_held_to_its_rate() {
    let [_, mark, _] = cursors().await;
    let now = Instant::now();
    let mut schedule = Schedule::new(RATE);
    schedule.up(Some(mark), false);
    answer(&mut schedule, Stream::Live, 1_000_000, 1, now);
    assert_eq!(schedule.closed_until(Stream::Backfill, now), None);
    answer(&mut schedule, Stream::Backfill, 100_000, 1, now);
    assert_eq!(schedule.closed_until(Stream::Backfill, now), Some(now + SECOND * 3 / 4));
    for stream in [Stream::Events, Stream::Live] {
        assert_eq!(schedule.closed_until(stream, now), None);
    }
}

#[tokio::test]
async fn what_the_cloud_asks_for_holds_for_all() {
    let now = Instant::now();
    let mut schedule = Schedule::new(RATE);
    let limits = Limits { max_bytes: Some(50_000), bytes_per_s: Some(20_000) };
    schedule.answered(Stream::Live, 10_000, SECOND, limits, now);
    for stream in [Stream::Events, Stream::Live, Stream::Backfill] {
        assert_eq!(schedule.closed_until(stream, now), Some(now + SECOND / 2));
        assert_eq!(schedule.closed_until(stream, now + SECOND), None);
    }
    schedule.up(None, true);
    assert_eq!((schedule.max_bytes(Stream::Live), schedule.max_bytes(Stream::Backfill)), (50_000, 2_000));
}

#[tokio::test]
async fn too_much_halves_the_rate_of_the_backlog() {
    let now = Instant::now();
    let wait = |halved: u32| {
        let mut schedule = Schedule::new(RATE);
        (0..halved).for_each(|_| schedule.too_much(now));
        answer(&mut schedule, Stream::Backfill, 100_000, 1, now);
        (schedule.closed_until(Stream::Backfill, now).unwrap() - now + SECOND / 4).as_secs()
    };
    assert_eq!([wait(0), wait(1), wait(2), wait(6), wait(20)], [1, 2, 4, 64, 64]);
}

/// A line of so many bytes per second and this round trip: what a request of the backlog comes to after a while.
fn settles_at(bytes_per_s: usize, round_trip: u64) -> (usize, u64) {
    let mut schedule = Schedule::new(ANY_RATE);
    schedule.up(None, true);
    let took = |bytes: usize| round_trip + (bytes * 1000 / bytes_per_s) as u64;
    let now = Instant::now();
    for _ in 0..20 {
        // A live request now and then; a block of the backlog has 2 kB.
        answer(&mut schedule, Stream::Live, 200, took(200), now);
        let bytes = schedule.max_bytes(Stream::Backfill).max(2_000);
        answer(&mut schedule, Stream::Backfill, bytes, took(bytes), now);
    }
    let bytes = schedule.max_bytes(Stream::Backfill).max(2_000);
    (bytes, took(bytes) - round_trip)
}

#[test]
fn a_request_of_the_backlog_takes_a_tenth_of_a_second_on_any_line() {
    for round_trip in [1, 50, 700] {
        assert_eq!(settles_at(100_000_000, round_trip).0, BODY, "a fast line");
        for bytes_per_s in [64_000, 500_000, 1_000_000] {
            let (bytes, took) = settles_at(bytes_per_s, round_trip);
            assert!((30..=130).contains(&took), "{bytes} bytes take {took} ms at {bytes_per_s} B/s, {round_trip} ms");
        }
        assert_eq!(settles_at(8_000, round_trip).0, 2_000, "a block at least");
    }
}

#[test]
fn after_a_failure_requests_are_small_again() {
    let now = Instant::now();
    let mut schedule = Schedule::new(ANY_RATE);
    assert_eq!(schedule.max_bytes(Stream::Live), FIRST_BODY);
    schedule.up(None, true);
    for _ in 0..10 {
        answer(&mut schedule, Stream::Backfill, BODY, 10, now);
    }
    assert_eq!((schedule.max_bytes(Stream::Live), schedule.max_bytes(Stream::Backfill)), (BODY, BODY));
    schedule.down();
    assert_eq!((schedule.max_bytes(Stream::Live), schedule.max_bytes(Stream::Backfill)), (FIRST_BODY, FIRST_BODY));
}

#[test]
fn a_request_of_the_backlog_is_a_quarter_of_a_second_of_its_rate() {
    let now = Instant::now();
    let mut schedule = Schedule::new(RATE);
    (0..10).for_each(|_| answer(&mut schedule, Stream::Live, BODY, 1, now));
    assert_eq!(schedule.max_bytes(Stream::Backfill), 25_000);
    schedule.too_much(now);
    assert_eq!(schedule.max_bytes(Stream::Backfill), 12_500);
    (0..9).for_each(|_| schedule.too_much(now));
    assert_eq!(schedule.max_bytes(Stream::Backfill), LEAST_BODY);
}

#[test]
fn what_is_too_large_is_halved_at_once_and_grows_slowly() {
    let now = Instant::now();
    let mut schedule = Schedule::new(RATE);
    schedule.up(None, true);
    schedule.too_large(BODY);
    assert_eq!(schedule.max_bytes(Stream::Live), BODY / 2);
    answer(&mut schedule, Stream::Live, 1, 1, now);
    assert_eq!(schedule.max_bytes(Stream::Live), BODY / 2 + LEAST_BODY);
    (0..20).for_each(|_| schedule.too_large(1));
    assert_eq!(schedule.max_bytes(Stream::Live), LEAST_BODY);
}
