//! The power goes while the daemon writes. What its last status called collected is on the medium, on ext4 and on xfs;
//! a kill alone could not tell `synchronous=FULL` from `NORMAL`, this does.

use std::time::Duration;

use super::disk::{Disk, FileSystem};
use super::stage::{Stage, rounds};

/// Rounds between two audits.
const AUDIT: u64 = 25;
/// Enough for the smallest xfs.
const MEBIBYTES: u64 = 320;

async fn power_cuts(system: FileSystem) {
    let rounds = rounds(5);
    let mut stage = Stage::new("max_size = \"64MiB\"\n");
    let image = stage.site.directory.path().join("disk.img");
    let disk = Disk::new(system, MEBIBYTES, &image, &stage.site.buffer());
    for round in 1..=rounds {
        stage.pick_receiver().await;
        let before = stage.told().collected;
        let running = stage.start();
        running.until("a commit", |status| status["lanes"][1]["collected"].as_u64() > Some(before)).await;
        stage.some_time(Duration::from_millis(400)).await;
        disk.cut_power(running.daemon.pid());
        running.kill();
        disk.unmount();
        disk.mount_again();
        if round % AUDIT == 0 || round == rounds {
            stage.settle().await;
        }
    }
    stage.finish(&format!("power-cut-{}", system.name()), rounds);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: a disk of its own"]
async fn power_cuts_on_ext4() {
    power_cuts(FileSystem::Ext4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: a disk of its own"]
async fn power_cuts_on_xfs() {
    power_cuts(FileSystem::Xfs).await;
}
