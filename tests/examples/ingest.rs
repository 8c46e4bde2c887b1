//! The reference receiver as a process of its own: `ingest DIRECTORY`. Makes a throw-away CA in the directory, listens on
//! a free port of 127.0.0.1 and prints one line of JSON with its URL and the client's files. From then on it obeys
//! commands on its standard input, each answered by one line of JSON, and ends with it. For `tests/bench/run`, and for
//! trying a gateway by hand.
//!
//! ```text
//! stop            cuts every connection and closes the port
//! start           listens again
//! await N         waits until N readings are held
//! counters        what it holds
//! lateness EPOCH  how long after they were read this epoch's readings came, and its events: of requests since the last
//!                 `lateness`; quantiles in milliseconds
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lineside_testbed::ingest::{Counters, Ingest, Lane, Options, StoreError, Synchronous};
use lineside_testbed::pki::Pki;
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: ingest DIRECTORY")?;
    let pki = Pki::new(directory.join("pki"))?;
    let server = pki.server(&["localhost", "127.0.0.1"])?;
    let client = pki.client("gw-bench")?;
    let mut options = Options::new(&pki, server, directory.join("cloud.db"));
    options.synchronous = Synchronous::Normal;
    let ingest = Ingest::start(options)?;
    let mut out = std::io::stdout();
    let opening = json!({
        "url": ingest.url(), "ca": pki.ca(), "certificate": client.certificate, "private_key": client.key,
    });
    writeln!(out, "{opening}")?;

    let (commands, mut given) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.map(|line| commands.blocking_send(line)).take_while(Result::is_ok).count()
    });
    let mut first_reading = None;
    let mut since = Duration::ZERO;
    loop {
        let command = tokio::select! {
            command = given.recv() => command,
            _ = ingest.until(|counters| counters.readings > 0), if first_reading.is_none() => {
                first_reading = Some(now());
                continue;
            }
        };
        let Some(command) = command else { break };
        let answer = match command.split(' ').collect::<Vec<_>>()[..] {
            ["stop"] => {
                ingest.stop().await;
                json!({})
            }
            ["start"] => {
                ingest.start_again()?;
                json!({})
            }
            ["await", readings] => {
                let readings = readings.parse()?;
                counted(ingest.until(|counters| counters.readings >= readings).await)
            }
            ["counters"] => counted(ingest.store().counters()),
            ["lateness", epoch] => {
                let from = std::mem::replace(&mut since, now());
                let of = |lane| lateness(&ingest, lane, epoch, from);
                json!({"readings": of(Lane::Readings)?, "events": of(Lane::Events)?})
            }
            _ => json!({"error": "stop, start, await N, counters or lateness EPOCH"}),
        };
        writeln!(out, "{}", stamped(answer, "at_ms", Some(now())))?;
    }
    reader.await?;
    writeln!(out, "{}", stamped(counted(ingest.store().counters()), "first_reading_ms", first_reading))?;
    Ok(())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn counted(counters: Counters) -> Value {
    json!({
        "readings": counters.readings, "events": counters.events, "gaps": counters.gaps,
        "duplicates": counters.duplicates, "requests": counters.requests, "body_bytes": counters.body_bytes,
    })
}

fn stamped(mut answer: Value, key: &str, at: Option<Duration>) -> Value {
    if let Some(members) = answer.as_object_mut() {
        members.insert(key.to_owned(), json!(at.map(|at| at.as_secs_f64() * 1e3)));
    }
    answer
}

/// Quantiles of how much later than it happened each record of the lane had come in whole, in requests from `from` on.
fn lateness(ingest: &Ingest, lane: Lane, epoch: &str, from: Duration) -> Result<Value, StoreError> {
    // Last number of a request → its first number, and when it came. What came twice counts when it came first.
    let mut came: BTreeMap<u64, (u64, i64)> = BTreeMap::new();
    for request in ingest.requests().into_iter().rev().filter(|request| request.time >= from) {
        let key = request.idempotency_key.unwrap_or_default();
        let parts: Vec<&str> = key.trim_matches('"').rsplit(':').collect();
        if let [range, name, of, _] = parts[..]
            && (name, of) == (lane.name(), epoch)
            && let Some((first, last)) = range.split_once('-')
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
        {
            came.insert(last, (first, i64::try_from(request.time.as_millis()).unwrap_or(i64::MAX)));
        }
    }
    let late = |number: u64, time: i64| {
        let (_, (first, at)) = came.range(number..).next()?;
        (*first <= number).then_some(at - time)
    };
    let mut all: Vec<i64> = match lane {
        Lane::Readings => ingest
            .store()
            .readings_of(epoch)?
            .filter_map(|reading| reading.map(|reading| late(reading.number, reading.time)).transpose())
            .collect::<Result<_, _>>()?,
        Lane::Events => ingest
            .store()
            .events()?
            .iter()
            .filter(|event| &*event.epoch == epoch)
            .filter_map(|event| {
                let time = event.event.get("time")?.as_str()?.parse::<jiff::Timestamp>().ok()?;
                late(event.number, time.as_millisecond())
            })
            .collect(),
    };
    all.sort_unstable();
    let quantile = |q: usize| all.get(all.len().saturating_sub(1) * q / 100);
    Ok(json!({"count": all.len(), "p50": quantile(50), "p99": quantile(99), "max": quantile(100)}))
}
