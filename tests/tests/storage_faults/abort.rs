//! The medium fails: the file system takes no more writes until it is mounted anew, as after a card was reseated.
//! Needs root.

use std::time::Duration;

use super::disk::{Disk, FileSystem};
use super::stage::{Stage, rounds};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: a disk of its own"]
async fn an_aborted_file_system_stops_no_collection_and_loses_nothing_committed() {
    let rounds = rounds(3);
    let mut stage = Stage::new("max_size = \"16MiB\"\n");
    let image = stage.site.directory.path().join("disk.img");
    let disk = Disk::new(FileSystem::Ext4, 192, &image, &stage.site.buffer());
    for _ in 0..rounds {
        stage.pick_receiver().await;
        let running = stage.start();
        running.until("a commit", |status| status["buffer"]["state"] == "ok").await;
        stage.some_time(Duration::from_millis(400)).await;
        // While the kernel aborts a file system it answers fdatasync(2) with success for some milliseconds, and has written
        // nothing, before it calls itself read-only. Nobody can know of that: the daemon holds its breath meanwhile.
        running.daemon.freeze().await;
        disk.abort();
        running.daemon.signal("CONT");
        let status = running.until("the state to be shown", |status| status["buffer"]["state"] != "ok").await;
        assert!(!status["buffer"]["state"].as_str().unwrap().is_empty());
        // Collection neither waits nor ends, and nothing that is told meanwhile fails to add up.
        stage.more_polls(100).await;
        running.until("a status", |_| true).await;
        running.kill();
        disk.unmount();
        disk.mount_again();
    }
    stage.settle().await;
    drop(disk);
    stage.finish("remount-abort", rounds);
}
