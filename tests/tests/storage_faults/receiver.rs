//! The cloud is restored from an old backup: it answers `state-mismatch`, and gets what it lacks, or a gap where the
//! gateway has deleted it on the cloud's own word.

use std::time::Duration;

use lineside_testbed::audit::Ledger;
use lineside_testbed::ingest::Lane;
use serde_json::Value;
use tokio::time::{interval, timeout};

use super::stage::{Stage, rounds};

/// How far back the backup may lie, in readings.
const OLDEST: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_restored_from_a_backup_accounts_for_everything_again() {
    let rounds = rounds(3);
    let mut stage = Stage::new("");
    for _ in 0..rounds {
        stage.site.ingest.start_again().unwrap();
        let running = stage.start();
        let begun = stage.told().delivered;
        // What earlier runs owe goes first: something of this one has to be there to be lost.
        let enough = |status: &Value| {
            let lanes = stage.site.ingest.store().lanes().unwrap();
            let is_there = lanes.iter().any(|lane| lane.lane == Lane::Readings && status["epoch"] == *lane.epoch);
            is_there && Ledger::of(status, "readings").delivered > begun + OLDEST
        };
        let status = running.until("deliveries", enough).await;
        let epoch = status["epoch"].as_str().unwrap().to_owned();
        stage.site.ingest.stop().await;
        stage.some_time(Duration::from_millis(300)).await;

        let store = stage.site.ingest.store();
        let lanes = store.lanes().unwrap();
        let lane = lanes.iter().find(|lane| lane.epoch == epoch && lane.lane == Lane::Readings).unwrap();
        let highest = lane.highest - stage.random.below(OLDEST.min(lane.highest));
        stage.site.ingest.store().set_back("gw-test", &epoch, Lane::Readings, highest).unwrap();
        stage.site.ingest.start_again().unwrap();
        if stage.random.pick(&[true, false]) {
            stage.some_time(Duration::from_millis(200)).await;
            running.kill();
            let running = stage.start();
            whole(&stage).await;
            running.kill();
        } else {
            whole(&stage).await;
            running.kill();
        }
    }
    stage.settle_as(|audit| audit.set_back()).await;
    stage.finish("receiver-set-back", rounds);
}

/// Waits until no lane has a hole; where that does not come, the audit says what is missing.
async fn whole(stage: &Stage) {
    let wait = async {
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let lanes = stage.site.ingest.store().lanes().unwrap();
            if lanes.iter().all(|lane| lane.highest == 0 || lane.accepted == [(1, lane.highest)]) {
                return;
            }
        }
    };
    let _never = timeout(Duration::from_secs(20), wait).await;
}
