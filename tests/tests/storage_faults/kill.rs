//! `kill -9` at random moments: while it starts, while it runs, while a backlog grows, while it drains, while it stops;
//! with a receiver that is up, down, or slow and forgetful.

use std::time::Duration;

use lineside_testbed::ingest::{Answer, Route};

use super::stage::{Running, Stage, rounds};

/// Rounds between two audits.
const AUDIT: u64 = 50;

#[derive(Clone, Copy, Debug)]
enum Receiver {
    Up,
    Down,
    /// Takes what it gets and never answers, or cuts the line before it does.
    Slow,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    Starting,
    Running,
    /// With the receiver back in the same moment.
    Draining,
    Stopping,
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_random_moments() {
    let rounds = rounds(20);
    let mut stage = Stage::new("");
    for round in 1..=rounds {
        let receiver = stage.random.pick(&[Receiver::Up, Receiver::Up, Receiver::Down, Receiver::Slow]);
        set(&stage, receiver).await;
        let running = stage.start();
        let moment = stage.random.pick(&[
            Moment::Starting,
            Moment::Running,
            Moment::Running,
            Moment::Draining,
            Moment::Stopping,
        ]);
        wait(&mut stage, &running, moment).await;
        running.kill();
        if round % AUDIT == 0 || round == rounds {
            stage.settle().await;
        }
    }
    stage.finish("kill", rounds);
}

async fn set(stage: &Stage, receiver: Receiver) {
    let ingest = &stage.site.ingest;
    ingest.unscript();
    match receiver {
        Receiver::Up => ingest.start_again().unwrap(),
        Receiver::Down => ingest.stop().await,
        Receiver::Slow => {
            let answers = [Answer::StoreAndHang, Answer::LoseAnswer, Answer::Contract, Answer::Hang];
            ingest.script(Route::Batches, answers.into_iter().cycle().take(20));
            ingest.start_again().unwrap();
        }
    }
}

async fn wait(stage: &mut Stage, running: &Running, moment: Moment) {
    if matches!(moment, Moment::Starting) {
        return stage.some_time(Duration::from_millis(60)).await;
    }
    running.until("its first status", |_| true).await;
    match moment {
        Moment::Starting => {}
        Moment::Running => stage.some_time(Duration::from_millis(300)).await,
        Moment::Draining => {
            stage.site.ingest.start_again().unwrap();
            stage.some_time(Duration::from_millis(100)).await;
        }
        Moment::Stopping => {
            running.daemon.terminate();
            stage.some_time(Duration::from_millis(40)).await;
        }
    }
}
