//! A daemon, a second one beside it, and what `status` tells when none is left.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use insta::{assert_snapshot, with_settings};
use serde_json::Value;
use tokio::time::{Instant, interval};

use super::gateway::{Gateway, press, told};

/// Longest wait for a state; a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon; killed when it is dropped.
pub(crate) struct Daemon(pub(crate) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_daemon_for_a_buffer_and_its_ledger_when_it_has_stopped() {
    let gateway = Gateway::new();
    let (_plant, text) = press();
    let mut report = String::new();
    let mut say = |title: &str, shown: String| report += &format!("##### {title}\n{shown}\n");
    say("status before there was any daemon", gateway.shown(&text, &["status"]));

    let daemon = gateway.command(&text, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut daemon = Daemon(daemon);
    // The press is read once a day: at the start. Started, configuration loaded and device up are the events.
    until_pending(&gateway, &text, 3, 3).await;
    say("a second daemon on the same buffer", gateway.shown(&text, &["run"]));
    let mismatch = text.replace("gw-paint-01.key", "gw-paint-02.key");
    say("a third, whose key is another certificate's", gateway.shown(&mismatch, &["run"]));
    // The daemon whose buffer it is has not noticed.
    until_pending(&gateway, &text, 3, 3).await;
    let signalled = Command::new("kill").args(["-TERM", &daemon.0.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));

    say("status of a daemon that has stopped", gateway.shown(&text, &["status"]));
    let output = gateway.command(&text, &["status", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(pending(&output), Some((3, 4)), "agent.stopped is the fourth event");
    let filters = vec![
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[TIME]"),
        (r"ok, \d+(\.\d+)? [KM]iB", "ok, [SIZE]"),
        (r"oldest \S+( \S+)? ago", "oldest [TIME] ago"),
        (r"clock    \w+", "clock    [STATE]"),
    ];
    with_settings!({filters => filters}, { assert_snapshot!(report.trim_end()) });
}

/// Asks a daemon until it holds so many readings and events.
async fn until_pending(gateway: &Gateway, text: &str, readings: u64, events: u64) {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let output = gateway.command(text, &["status", "--json"]).output().unwrap();
        if output.status.success() && pending(&output) == Some((readings, events)) {
            return;
        }
        assert!(Instant::now() < deadline, "waited for {readings} readings and {events} events: {}", told(&output));
    }
}

/// Readings and events that wait for the cloud, in a document of `status --json`.
fn pending(output: &Output) -> Option<(u64, u64)> {
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    let lanes = status["lanes"].as_array()?;
    let of = |name: &str| lanes.iter().find(|lane| lane["name"] == name)?["pending"].as_u64();
    Some((of("readings")?, of("events")?))
}
