use lineside_buffer::{Append, Buffer, Quarantine, Settings, Settlement};
use lineside_protocols::uplink::Encoding;
use lineside_protocols::wire::block::events_block;
use lineside_protocols::wire::decode::Line;
use tempfile::TempDir;

use super::*;

const EPOCH: &str = "0123456789abcdef0123456789abcdef";

/// A real buffer with two blocks of four events and a gap of two between them.
fn buffer() -> (TempDir, Buffer) {
    let directory = TempDir::new().unwrap();
    let (buffer, _) = Buffer::open(&settings(&directory), "gw-test", EPOCH, 0).unwrap();
    (directory, buffer)
}

fn settings(directory: &TempDir) -> Settings {
    let max_commit_delay = std::time::Duration::from_secs(1);
    Settings {
        directory: directory.path().to_owned(),
        max_bytes: 16 << 20,
        max_age: None,
        min_free_bytes: 0,
        max_commit_delay,
    }
}

fn block(first: u64) -> Append {
    let identity = Identity { agent: "gw-test".parse().unwrap(), epoch: EPOCH.parse().unwrap() };
    let events: Vec<String> = (first..first + 4).map(|number| format!("{{\"n\":{number}}}")).collect();
    let frame = Compressor::new(Encoding::Zstd).unwrap().compress(&events_block(&identity, first, &events)).unwrap();
    Append::Block { lane: lineside_buffer::Lane::Events, first, count: 4, frame, catalogue: None }
}

async fn filled() -> (TempDir, Buffer) {
    let (directory, buffer) = buffer();
    let lane = lineside_buffer::Lane::Events;
    let gap = Append::Gap { lane, first: 5, last: 6, reason: lineside_buffer::GapReason::QueueFull };
    buffer.append_durable(vec![block(1), gap, block(7)]).await.unwrap();
    (directory, buffer)
}

async fn peek(buffer: &Buffer) -> Peek {
    buffer.peek(lineside_buffer::Lane::Events, 1 << 20, None).await.unwrap()
}

fn assembler() -> Assembler {
    Assembler::new(Compressor::new(Encoding::Zstd).unwrap())
}

/// The ranges of the body's lines, and the first line's kind.
fn lines(batch: &Batch) -> Vec<(u64, u64, &'static str)> {
    let text = frame::decompress(Encoding::Zstd, &batch.body, 1 << 20).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let range = |line: &[u8]| match Line::decode(line).unwrap() {
        Line::Block(block) => (block.first(), block.last(), "block"),
        Line::Gap(notice) => (notice.first, notice.last, "gap"),
        Line::Quarantined(notice) => (notice.first, notice.last, "quarantined"),
        Line::Catalogue(_) => panic!("a catalogue is not a line of a batch"),
    };
    lines.map(range).collect()
}

#[tokio::test]
async fn whole_blocks_are_sent_as_they_are_stored_with_gaps_in_their_places() {
    let (_directory, buffer) = filled().await;
    let peek = peek(&buffer).await;
    let batch = assembler().assemble(&peek, None).unwrap().unwrap();
    assert_eq!(batch.range, (1, 10));
    assert_eq!(lines(&batch), [(1, 4, "block"), (5, 6, "gap"), (7, 10, "block")]);
    let [Entry::Block(first), ..] = peek.entries() else { panic!() };
    assert_eq!(batch.body[..first.frame.len()], first.frame, "the stored frame, byte for byte");
    let again = assembler().assemble(&peek, None).unwrap().unwrap();
    assert_eq!(again.body, batch.body, "a retried batch is byte-identical");
}

#[tokio::test]
async fn a_window_cuts_blocks_and_gaps() {
    let (_directory, buffer) = filled().await;
    let peek = peek(&buffer).await;
    let batch = assembler().assemble(&peek, Some((3, 5))).unwrap().unwrap();
    assert_eq!(batch.range, (3, 5));
    assert_eq!(lines(&batch), [(3, 4, "block"), (5, 5, "gap")]);
    assert!(assembler().assemble(&peek, Some((11, 20))).unwrap().is_none());
}

#[tokio::test]
async fn halving_ends_at_one_record() {
    let (_directory, buffer) = filled().await;
    let peek = peek(&buffer).await;
    let mut window = None;
    let mut steps = Vec::new();
    loop {
        let batch = assembler().assemble(&peek, window).unwrap().unwrap();
        steps.push(batch.range);
        match batch.first_half() {
            Some(half) => window = Some(half),
            None => break,
        }
    }
    assert_eq!(steps, [(1, 10), (1, 5), (1, 3), (1, 2), (1, 1)]);
}

#[tokio::test]
async fn what_is_set_aside_is_told_in_its_place() {
    let (_directory, buffer) = filled().await;
    let first = peek(&buffer).await;
    let culprit = Quarantine { first: 2, last: 2, reason: "invalid-record".into(), detail: "no".into() };
    let settlement = Settlement { accepted: vec![(1, 1)], quarantine: vec![culprit], ..Settlement::default() };
    buffer.settle(&first, settlement).await.unwrap();
    drop(first);
    let batch = assembler().assemble(&peek(&buffer).await, None).unwrap().unwrap();
    assert_eq!(lines(&batch), [(2, 2, "quarantined"), (3, 4, "block"), (5, 6, "gap"), (7, 10, "block")]);
}

#[tokio::test]
async fn a_block_that_cannot_be_cut_names_its_range() {
    let (_directory, buffer) = buffer();
    let lane = lineside_buffer::Lane::Events;
    let frame = Compressor::new(Encoding::Zstd).unwrap().compress(b"not a block").unwrap();
    buffer.append_durable(vec![Append::Block { lane, first: 1, count: 4, frame, catalogue: None }]).await.unwrap();
    let error = assembler().assemble(&peek(&buffer).await, Some((1, 2))).unwrap_err();
    assert!(matches!(error, AssembleError::Unreadable { range: (1, 4), .. }), "{error:?}");
}

/// A block whose first three numbers were set aside together.
async fn with_quarantine() -> (TempDir, Buffer) {
    let (directory, buffer) = filled().await;
    let first = peek(&buffer).await;
    let culprit = Quarantine { first: 1, last: 3, reason: "conflict".into(), detail: "no".into() };
    buffer.settle(&first, Settlement { quarantine: vec![culprit], ..Settlement::default() }).await.unwrap();
    drop(first);
    (directory, buffer)
}

#[tokio::test]
async fn a_quarantine_line_is_never_cut() {
    let (_directory, buffer) = with_quarantine().await;
    let peek = peek(&buffer).await;
    let batch = assembler().assemble(&peek, Some((1, 2))).unwrap().unwrap();
    assert_eq!(lines(&batch), [(1, 3, "quarantined")], "the first one is taken whole");
    assert_eq!(batch.first_half(), None, "and cannot be halved");
    let batch = assembler().assemble(&peek, Some((1, 5))).unwrap().unwrap();
    assert_eq!(lines(&batch), [(1, 3, "quarantined"), (4, 4, "block"), (5, 5, "gap")]);
    assert_eq!(batch.first_half(), Some((1, 3)));
}

#[tokio::test]
async fn frames_of_another_encoding_are_a_batch_of_their_own() {
    let (_directory, buffer) = filled().await;
    let identity = Identity { agent: "gw-test".parse().unwrap(), epoch: EPOCH.parse().unwrap() };
    let line = events_block(&identity, 11, &["{}".to_owned()]);
    let frame = Compressor::new(Encoding::Gzip).unwrap().compress(&line).unwrap();
    let lane = lineside_buffer::Lane::Events;
    buffer.append_durable(vec![Append::Block { lane, first: 11, count: 1, frame, catalogue: None }]).await.unwrap();
    let peek = peek(&buffer).await;
    let mut gzip_now = Assembler::new(Compressor::new(Encoding::Gzip).unwrap());
    let batch = gzip_now.assemble(&peek, None).unwrap().unwrap();
    assert_eq!((batch.range, batch.encoding), ((1, 10), Encoding::Zstd), "stored as zstd, sent as zstd");
    assert_eq!(lines(&batch), [(1, 4, "block"), (5, 6, "gap"), (7, 10, "block")]);
    let cut = gzip_now.assemble(&peek, Some((2, 3))).unwrap().unwrap();
    assert_eq!(lines(&cut), [(2, 3, "block")]);
    let rest = gzip_now.assemble(&peek, Some((11, 11))).unwrap().unwrap();
    assert_eq!((rest.range, rest.encoding), ((11, 11), Encoding::Gzip));
}

#[tokio::test]
async fn a_backlog_keeps_the_name_that_its_agent_had() {
    let (directory, buffer) = filled().await;
    buffer.close().await;
    let (buffer, _) = Buffer::open(&settings(&directory), "gw-renamed", &"f".repeat(32), 0).unwrap();
    let batch = assembler().assemble(&peek(&buffer).await, None).unwrap().unwrap();
    assert_eq!(batch.identity.agent.as_str(), "gw-test");
}
