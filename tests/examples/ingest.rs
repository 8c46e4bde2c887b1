//! The reference receiver as a process of its own: `ingest DIRECTORY`. Makes a throw-away CA in the directory, listens on
//! a free port of 127.0.0.1 and prints one line of JSON with its URL and the client's files; when its standard input ends,
//! prints its counters. For `tests/bench/run`, and for trying a gateway by hand.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lineside_testbed::ingest::{Ingest, Options, Synchronous};
use lineside_testbed::pki::Pki;
use serde_json::json;

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
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let first = async {
        ingest.until(|counters| counters.readings > 0).await;
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    tokio::pin!(end, first);
    let first_reading_ms = tokio::select! {
        at = &mut first => {
            end.await??;
            Some(at)
        }
        ended = &mut end => {
            ended??;
            None
        }
    };
    let counters = ingest.store().counters();
    let closing = json!({
        "readings": counters.readings, "events": counters.events, "duplicates": counters.duplicates,
        "requests": counters.requests, "body_bytes": counters.body_bytes,
        "first_reading_ms": first_reading_ms,
    });
    writeln!(out, "{closing}")?;
    Ok(())
}
