//! Somebody else's file takes the last byte of the disk, while the gateway delivers and while it cannot. Needs root.

use lineside_testbed::audit::Ledger;

use super::disk::{Disk, FileSystem};
use super::stage::{Stage, rounds};

/// Why a reading may be missing at the end.
const REASONS: [&str; 4] = ["buffer-full", "disk-error", "queue-full", "max-age"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: a disk of its own"]
async fn a_full_disk_stops_neither_collection_nor_delivery() {
    let rounds = rounds(3);
    let mut stage = Stage::new("max_size = \"16MiB\"\n");
    let image = stage.site.directory.path().join("disk.img");
    let disk = Disk::new(FileSystem::Ext4, 192, &image, &stage.site.buffer());
    for _ in 0..rounds {
        stage.site.ingest.start_again().unwrap();
        let running = stage.start();
        let readings = |status: &_| Ledger::of(status, "readings");
        let begun = stage.told().delivered;
        running.until("a delivery", |status| readings(status).delivered > begun + 100).await;

        let fill = disk.fill();
        let full = stage.told().delivered;
        running.until("deliveries while the disk is full", |status| readings(status).delivered > full + 500).await;

        stage.site.ingest.stop().await;
        stage.more_polls(200).await;
        if stage.random.pick(&[true, false]) {
            stage.site.ingest.start_again().unwrap();
            let offline = stage.told().delivered;
            running.until("what was held", |status| readings(status).delivered > offline + 500).await;
        }

        std::fs::remove_file(fill).unwrap();
        stage.site.ingest.start_again().unwrap();
        let freed = stage.told().collected;
        let resumed = |status: &_| readings(status).collected > freed + 500 && readings(status).pending < 500;
        let status = running.until("the buffer to resume by itself", resumed).await;
        assert_eq!(status["buffer"]["state"], "ok", "{status:#}");
        running.kill();
    }
    stage.settle().await;
    let gaps = stage.site.ingest.store().gaps().unwrap();
    assert!(gaps.iter().all(|gap| REASONS.contains(&gap.reason.as_str())), "{gaps:?}");
    drop(disk);
    stage.finish("disk-full", rounds);
}
