//! A network of two hosts that a test may do anything to: the receiver and the plant on one side, the daemon on the other,
//! in a network namespace of its own with two addresses. Nothing of it reaches the machine's own network, and all of it
//! ends with the test. Needs root or user namespaces, iproute2, nftables and dnsmasq.
//!
//! ```text
//!   test, receiver, plant                       daemon
//!   cloud0 10.77.0.1/24  ───────── veth ─────── gateway0 10.77.0.12/24, 10.77.0.11/24 (pinned)
//! ```

mod allow_list;
mod names;
mod paths;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use lineside_testbed::plant::Plant;
use serde_json::Value;

use crate::site::{Daemon, Site};
use crate::stage::{SOON, check_nothing_given_up, configure, finish, press};

/// Tells the inner test that it may change the network, because it has one of its own.
const INSIDE: &str = "LINESIDE_TEST_NAMESPACE";
const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// The first address of the interface, which is what an unbound socket would be sent from.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);

/// Runs the ignored test `inner` in network and mount namespaces of its own, and prints what it printed.
fn run_alone(inner: &str) {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", inner, "--ignored", "--nocapture"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "unshare, or the test in it:\n{text}");
    text.lines()
        .filter(|line| line.starts_with("faults: ") || line.starts_with("LINESIDE_"))
        .for_each(|line| println!("{line}"));
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes a whole rule set, on the receiver's side.
fn nft(rules: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("flush ruleset\n{rules}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{rules}");
}

/// The gateway's host: a process that holds its network namespace open.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    fn new() -> Self {
        assert!(std::env::var_os(INSIDE).is_some(), "this would change the network of the whole machine");
        // `cat` says when it is there, and ends with its standard input, and so with this test.
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut [0]).unwrap();
        let host = Host(child);
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "cloud0", "type", "veth", "peer", "gateway0", "netns", &host.0.id().to_string()]);
        run("ip", &["address", "add", &format!("{CLOUD}/24"), "dev", "cloud0"]);
        run("ip", &["link", "set", "cloud0", "up"]);
        for link in ["lo", "gateway0"] {
            host.run("ip", &["link", "set", link, "up"]);
        }
        for address in [OTHER, GATEWAY] {
            host.run("ip", &["address", "add", &format!("{address}/24"), "dev", "gateway0"]);
        }
        host
    }

    /// A command that runs here.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program).args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Both hosts, and a daemon that polls and delivers across.
struct Across {
    site: Site,
    host: Host,
    daemon: Daemon,
    _plant: Plant,
}

impl Across {
    /// `prepare` is run before the daemon starts; `name` is what it calls the receiver.
    async fn new(name: &str, prepare: impl FnOnce(&Site, &Host)) -> Self {
        let host = Host::new();
        // What a firewall lets through the receiver takes, so that it is the firewall that is tested.
        let addresses = [GATEWAY, OTHER].map(IpAddr::from);
        let site = Site::with(|options| {
            options.listen = SocketAddr::from((CLOUD, 0));
            options.allow = addresses.to_vec();
        });
        prepare(&site, &host);
        let (plant, devices) = press(|options| options.listen(SocketAddr::from((CLOUD, 0))));
        let url = format!("https://{name}:{}", site.ingest.address().port());
        let config: PathBuf = configure(&site, &url, &format!("{SOON}source_address = \"{GATEWAY}\"\n"), &devices);
        let daemon = site.start_with(&config, |command| {
            let mut there = host.command(&command.get_program().to_string_lossy(), &[]);
            there.args(command.get_args()).env_remove("LINESIDE_LOG");
            *command = there;
        });
        site.received("the first readings and events", |c| c.readings > 0 && c.events >= 3).await;
        Across { site, host, daemon, _plant: plant }
    }

    fn port(&self) -> u16 {
        self.site.ingest.address().port()
    }

    /// `GET /v1/whoami` from an address of the gateway's host.
    fn visit(&self, source: Ipv4Addr) -> Output {
        let url = format!("https://{CLOUD}:{}/v1/whoami", self.port());
        let mut command = self.host.command("curl", &["--silent", "--show-error", "--noproxy", "*", "--max-time", "2"]);
        command.args(["--interface", &source.to_string(), "--cacert"]).arg(self.site.pki.ca());
        command.arg("--cert").arg(&self.site.client.certificate).arg("--key").arg(&self.site.client.key);
        command.arg(url).output().unwrap()
    }

    /// Both books agree, nothing was given up, and all of it came from the pinned address.
    fn finish(self, name: &str, rounds: u32) -> Value {
        let requests = self.site.ingest.requests();
        let posts = requests.iter().filter(|request| request.method == "POST");
        assert!(posts.clone().all(|request| request.source.ip() == GATEWAY), "{:#?}", posts.collect::<Vec<_>>());
        let status = finish(&self.site, self.daemon, name, rounds);
        check_nothing_given_up(&status);
        status
    }
}
