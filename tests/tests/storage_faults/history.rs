//! History that is rolled back without an error: a WAL with flipped bits, a buffer restored from an old copy, a gateway
//! that was cloned. What was committed after that is gone, and nothing can bring it back; but no number may be given
//! away twice, and the cloud must be able to see what is missing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lineside_testbed::audit::{Audit, Ledger};
use lineside_testbed::ingest::Lane;
use serde_json::Value;

use super::site::{PINNED, Site, lineside};
use super::stage::{PRESS, Running, Stage, is_drained, rounds};

/// Bits that rot at once.
const BITS: u64 = 4;

fn epoch(status: &Value) -> String {
    status["epoch"].as_str().unwrap().to_owned()
}

/// The buffer as it lies there, also from under a running daemon, as a backup tool takes it.
fn copy(from: &Path, to: &Path) {
    let _none_yet = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Flips bits anywhere in a file.
fn rot(stage: &mut Stage, path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for _ in 0..=stage.random.below(BITS) {
        let bit = stage.random.below(bytes.len() as u64 * 8);
        bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    }
    fs::write(path, bytes).unwrap();
}

/// How many readings a buffer that lies still knows of: none where too little is left of it to say.
fn kept(config: &Path) -> u64 {
    let output = lineside(config, &["status", "--json"]).output().unwrap();
    let status = serde_json::from_slice::<Value>(&output.stdout);
    status.map_or(0, |status| Ledger::of(&status, "readings").collected)
}

/// A daemon that has collected something in a cloud that is up or down; its epoch.
async fn run(stage: &mut Stage) -> (Running, String) {
    stage.pick_receiver().await;
    let before = stage.told().collected;
    let running = stage.start();
    let started = running.until("readings", |status| Ledger::of(status, "readings").collected > before).await;
    stage.some_time(Duration::from_millis(500)).await;
    // The line may come and go: what is live goes first, so that a hole may stand behind it.
    if stage.random.pick(&[true, false]) {
        stage.site.ingest.start_again().unwrap();
        stage.some_time(Duration::from_millis(100)).await;
    }
    (running, epoch(&started))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_with_flipped_bits() {
    let rounds = rounds(5);
    let mut stage = Stage::new("");
    let (mut rolled_back, mut gone) = (Vec::new(), 0);
    for _ in 0..rounds {
        let (running, epoch) = run(&mut stage).await;
        running.kill();
        let wal = stage.site.buffer().join("buffer.db-wal");
        rot(&mut stage, &wal);
        rolled_back.push(epoch);
        gone += stage.told().collected.saturating_sub(kept(&stage.config));
        stage.oracle().forget();
        // A clean stop leaves no WAL behind: the next round's holds the next round alone.
        stage.settle_as(|audit| audit.rolled_back(rolled_back.clone())).await;
    }
    assert!(gone > 0, "no bit hit what counts");
    stage.finish("bit-flips-wal", rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_flipped_in_the_file_at_rest() {
    let rounds = rounds(5);
    let mut stage = Stage::new("");
    let mut damaged = Vec::new();
    for _ in 0..rounds {
        stage.site.ingest.stop().await;
        let before = stage.told().pending;
        let running = stage.start();
        let backlog = |status: &Value| Ledger::of(status, "readings").pending > before + 300;
        damaged.push(epoch(&running.until("a backlog", backlog).await));
        let (exit, _) = running.stop();
        assert!(exit.success());
        let file = stage.site.buffer().join("buffer.db");
        rot(&mut stage, &file);
        stage.oracle().forget();
        stage.settle_as(|audit| audit.rolled_back(damaged.clone())).await;
    }
    stage.finish("bit-flips-file", rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_restored_from_an_old_copy() {
    let rounds = rounds(4);
    let mut stage = Stage::new("");
    let mut rolled_back = Vec::new();
    for _ in 0..rounds {
        let copied = stage.site.directory.path().join("copy");
        let (running, epoch) = run(&mut stage).await;
        if stage.random.pick(&[true, false]) {
            copy(&stage.site.buffer(), &copied);
            rolled_back.push(epoch);
            running.kill();
        } else {
            running.kill();
            copy(&stage.site.buffer(), &copied);
        }
        let (running, epoch) = run(&mut stage).await;
        running.kill();
        rolled_back.push(epoch);
        copy(&copied, &stage.site.buffer());
        stage.oracle().forget();
        stage.settle_as(|audit| audit.rolled_back(rolled_back.clone())).await;
    }
    stage.finish("old-copy", rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_sees_what_a_restored_copy_does_not_know() {
    let mut stage = Stage::new("");
    stage.site.ingest.stop().await;
    let running = stage.start();
    let pending = |status: &Value| Ledger::of(status, "readings").pending;
    let epoch = epoch(&running.until("a backlog", |status| pending(status) > 100).await);
    let (exit, known) = running.stop();
    assert!(exit.success());
    let known = Ledger::of(&known, "readings").collected;
    let copied = stage.site.directory.path().join("copy");
    copy(&stage.site.buffer(), &copied);

    // The same history goes on in a second epoch, of which the copy knows nothing; the cloud hears all of it.
    stage.site.ingest.start_again().unwrap();
    let status = stage.settle().await;
    let second = Ledger::of(&status, "readings").collected - known;
    assert!(second > 0);
    stage.site.ingest.stop().await;
    copy(&copied, &stage.site.buffer());
    stage.oracle().forget();
    stage.settle_as(|audit| audit.rolled_back([epoch.clone()])).await;

    let events = stage.site.ingest.store().events().unwrap();
    let starts = events.iter().filter(|event| event.event["type"] == "io.lineside.agent.started");
    let claims = starts.flat_map(|event| event.event["data"]["earlier"].as_array().unwrap().clone());
    let of_readings = claims.filter(|known| known["lane"] == "readings" && known["epoch"] == epoch.as_str());
    let known_after: Vec<u64> = of_readings.map(|known| known["last"].as_u64().unwrap()).collect();
    assert_eq!(known_after, [known, known], "both starts after the first tell how far they know it");
    let lanes = stage.site.ingest.store().lanes().unwrap();
    let epochs = lanes.iter().filter(|lane| lane.lane == Lane::Readings).count();
    assert_eq!(epochs, 3, "the restored gateway did not go on in an epoch that was used: {lanes:?}");
    stage.finish("old-copy-seen", 1);
}

/// Two gateways of one name, each with an address of its own: both send the backlog that they share.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_gateway() {
    let other = "127.0.0.3";
    let rounds = rounds(3);
    let site = Site::with(|options| options.allow.push(other.parse().unwrap()));
    let mut stage = Stage::on(site, PRESS, "");
    let mut shared = Vec::new();
    for _ in 0..rounds {
        stage.site.ingest.stop().await;
        let before = stage.told().collected;
        let running = stage.start();
        let backlog = |status: &Value| Ledger::of(status, "readings").collected > before + 300;
        shared.push(epoch(&running.until("a backlog", backlog).await));
        running.kill();

        let buffer = stage.site.directory.path().join("clone");
        copy(&stage.site.buffer(), &buffer);
        let text = fs::read_to_string(&stage.config).unwrap();
        let text = text.replace(stage.site.buffer().to_str().unwrap(), buffer.to_str().unwrap());
        let config = stage.site.directory.path().join("clone.toml");
        fs::write(&config, text.replace(&PINNED.to_string(), other)).unwrap();

        stage.site.ingest.start_again().unwrap();
        let (running, clone) = (stage.start(), Running::new(stage.site.start(&config), &buffer, &<_>::default()));
        let more = stage.site.ingest.store().counters().readings + 1000;
        stage.site.received("both", |counters| counters.readings > more).await;
        clone.until("the clone to deliver everything", is_drained).await;
        running.until("the first to deliver everything", is_drained).await;
        let (exit, status) = clone.stop();
        assert!(exit.success(), "{exit}");
        let everywhere = shared.clone();
        stage.close(running, |audit| audit.rolled_back(everywhere));
        let alone = Audit::new(stage.site.ingest.store()).gateway(&status).rolled_back(shared.clone()).run().unwrap();
        stage.findings.add(alone);
    }
    stage.finish("clone", rounds);
}
