//! A new daemon opens the buffer that an older one left behind, killed in the middle of an outage.
//!
//! `tests/fixtures/format-N` is what the last daemon that wrote format N left: its buffer, the receiver that had heard
//! the first part of it, and what `status` told. It is made by this test with that daemon:
//! `LINESIDE_FIXTURE=tests/fixtures/format-N cargo test -p lineside-testbed --test storage_faults upgrade`.

use std::fs;
use std::path::{Path, PathBuf};

use lineside_testbed::audit::Ledger;
use lineside_testbed::ingest::{Answer, Rejected, Route};
use rusqlite::Connection;
use serde_json::Value;

use super::site::{Site, stopped_status};
use super::stage::{PRESS, Stage};

/// Not the one that the new daemon reads: its clock, which stamps each value, began anew.
const OLD_PRESS: &str = "press-old";
const RECEIVER: &str = "cloud.db";
const BUFFER: [&str; 2] = ["buffer.db", "buffer.db-wal"];
const STATUS: &str = "status.json";
/// Quarantined in the fixture.
const REJECTED: u64 = 7;

fn fixture(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/format-{format}"))
}

fn pack(from: &Path, to: &Path) {
    fs::write(to, zstd::encode_all(fs::File::open(from).unwrap(), 19).unwrap()).unwrap();
}

fn unpack(from: &Path, to: &Path) {
    fs::write(to, zstd::decode_all(fs::File::open(from).unwrap()).unwrap()).unwrap();
}

fn packed(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.zst"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_backlog_of_format_1() {
    if let Ok(folder) = std::env::var("LINESIDE_FIXTURE") {
        return make(Path::new(&folder)).await;
    }
    let folder = fixture(1);
    let site = Site::with(|options| unpack(&packed(&folder, RECEIVER), &options.database));
    fs::create_dir_all(site.buffer()).unwrap();
    for name in BUFFER {
        unpack(&packed(&folder, name), &site.buffer().join(name));
    }
    let old: Value = serde_json::from_slice(&fs::read(folder.join(STATUS)).unwrap()).unwrap();
    let mut stage = Stage::on(site, PRESS, "");
    stage.oracle().observe(&old);
    let new = stage.settle().await;
    let (old, new) = (Ledger::of(&old, "readings"), Ledger::of(&new, "readings"));
    assert!(new.delivered > old.delivered + old.pending, "{old:?} became {new:?}");
    assert_eq!((new.quarantined, new.dropped), (old.quarantined, old.dropped), "{old:?} became {new:?}");
    stage.finish("upgrade", 1);
}

/// Two epochs, one stopped and one killed, of which the cloud has heard a part, and one reading that it refused for good.
async fn make(folder: &Path) {
    let stage = Stage::on(Site::new(), OLD_PRESS, "");
    let ingest = &stage.site.ingest;
    let pending = |status: &Value| Ledger::of(status, "readings").pending;
    let events = |status: &Value| Ledger::of(status, "events").pending;
    ingest.stop().await;
    let running = stage.start();
    running.until("a backlog", |status| pending(status) > 300 && events(status) == 3).await;
    let kind = "urn:lineside:problem:invalid-record".to_owned();
    let rejected = Rejected { first: REJECTED, last: REJECTED, kind, detail: "not this one".into(), retryable: false };
    ingest.script(Route::Batches, [Answer::Contract, Answer::Reject(vec![rejected])]);
    ingest.start_again().unwrap();
    running
        .until("a quarantine", |status| Ledger::of(status, "readings").quarantined == 1 && pending(status) == 0)
        .await;
    ingest.stop().await;
    running.until("a backlog", |status| pending(status) > 300).await;
    // A stop empties the WAL into the file, a kill leaves it: the fixture has both.
    let (exit, _) = running.stop();
    assert!(exit.success());
    let running = stage.start();
    running.until("a backlog", |status| pending(status) > 600).await;
    running.kill();

    fs::create_dir_all(folder).unwrap();
    for name in BUFFER {
        pack(&stage.site.buffer().join(name), &packed(folder, name));
    }
    let whole = stage.site.directory.path().join("whole.db");
    let receiver = Connection::open(stage.site.directory.path().join(RECEIVER)).unwrap();
    receiver.execute("VACUUM INTO ?1", [whole.to_str().unwrap()]).unwrap();
    pack(&whole, &packed(folder, RECEIVER));
    let status = serde_json::to_string_pretty(&stopped_status(&stage.config)).unwrap();
    fs::write(folder.join(STATUS), status + "\n").unwrap();
}
