//! The receiver's name: its server is gone, silent, or does not know it, and comes back.

use std::process::{Child, Stdio};

use super::{Across, GATEWAY, Host, run, run_alone};
use crate::stage::{caught_up, readings, rounds, state};

/// dnsmasq on the gateway's host; killed when it is dropped.
struct NameServer(Child);

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl NameServer {
    /// Knows these names and no others. `--no-daemon` keeps it from changing its user, which a namespace may not allow.
    fn start(host: &Host, names: &[&str]) -> Self {
        let mut command = host.command("dnsmasq", &["--no-daemon", "--conf-file=/dev/null", "--no-resolv"]);
        command.args(["--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]);
        command.args(names).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        NameServer(command.spawn().unwrap())
    }
}

#[test]
fn a_name_that_is_gone_and_comes_back() {
    run_alone("namespace::names::of_the_receiver");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a network of its own"]
async fn of_the_receiver() {
    const KNOWN: &[&str] = &["--address=/ingest.test/10.77.0.1"];
    let mut server = None;
    let stage = Across::new("ingest.test", |site, host| {
        // Over the system's own, in this test's mount namespace alone.
        let resolver = site.directory.path().join("resolv.conf");
        std::fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        run("mount", &["--bind", &resolver.to_string_lossy(), "/etc/resolv.conf"]);
        server = Some(NameServer::start(host, KNOWN));
    })
    .await;
    let rounds = rounds(1);
    for _ in 0..rounds {
        // Nobody listens there, it answers that there is no such name, it says nothing at all.
        for gone in ["refused", "unknown", "silent"] {
            drop(server.take());
            match gone {
                "unknown" => server = Some(NameServer::start(&stage.host, &["--local=/test/"])),
                "silent" => {
                    let silent = NameServer::start(&stage.host, KNOWN);
                    run("kill", &["-STOP", &silent.0.id().to_string()]);
                    server = Some(silent);
                }
                _ => {}
            }
            let dst = GATEWAY.to_string();
            let port = stage.port().to_string();
            run("ss", &["--kill", "state", "established", "dst", &dst, "sport", "=", &port]);
            stage.daemon.until(gone, |status| state(status) == "waiting").await;
            let held = stage.site.ingest.store().counters().readings;
            let before = readings(&stage.daemon.status().await).pending;
            stage.daemon.until("a backlog", |status| readings(status).pending > before + 100).await;
            assert_eq!(stage.site.ingest.store().counters().readings, held, "{gone}");
            drop(server.take());
            server = Some(NameServer::start(&stage.host, KNOWN));
            caught_up(&stage.daemon).await;
        }
    }
    stage.finish("dns", rounds);
}
