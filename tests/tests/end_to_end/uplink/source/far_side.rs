//! A gateway and a cloud in two network namespaces, seen from the cloud's: what really left the gateway, and from where.
//!
//! ```text
//!  the gateway's: the daemon                     the test's: receiver, plant, counters
//!    gw        10.77.0.10 .11 .12, fd77::10 …  ────  10.77.0.1, fd77::1   cloud
//!    machines  10.78.0.2                       ────  10.78.0.1            plant
//! ```
//!
//! All of it ends with the test: the namespace of the test with its process, the gateway's with the process that holds
//! it open.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Output, Stdio};

use lineside_testbed::ingest::Ingest;

use super::ip;

/// Where the plant listens.
pub(super) const PLANT: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// The gateway's namespace, and counters of what comes out of it.
pub(super) struct FarSide {
    holder: Child,
}

impl Drop for FarSide {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl FarSide {
    /// Two cables between this namespace, which the test must have to itself, and a new one.
    pub(super) fn new() -> Self {
        ip(&["link", "set", "lo", "up"]);
        let mut command = Command::new("unshare");
        // It ends with its standard input, so it does not outlive a test that is killed.
        command.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut far = FarSide { holder: command.spawn().unwrap() };
        far.wait_for_the_namespace();
        let pid = far.holder.id().to_string();
        for (near, theirs, addresses) in
            [("cloud", "gw", &["10.77.0.1/24", "fd77::1/64"][..]), ("plant", "machines", &["10.78.0.1/24"])]
        {
            ip(&["link", "add", near, "type", "veth", "peer", "name", theirs, "netns", &pid]);
            for address in addresses {
                far.add_to(near, address, ip);
            }
            ip(&["link", "set", near, "up"]);
            far.ip(&["link", "set", theirs, "up"]);
        }
        far.ip(&["link", "set", "lo", "up"]);
        far.ip(&["address", "add", "10.78.0.2/24", "dev", "machines"]);
        far
    }

    /// The holder echoes what it is told, once it runs: by then unshare has made the namespace.
    fn wait_for_the_namespace(&mut self) {
        use std::io::{Read as _, Write as _};
        self.holder.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        self.holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }

    /// Gives the gateway an address on the cable to the cloud.
    pub(super) fn add(&self, address: &str) {
        let length = if address.contains(':') { 64 } else { 24 };
        self.add_to("gw", &format!("{address}/{length}"), |arguments| self.ip(arguments));
    }

    fn add_to(&self, device: &str, address: &str, ip: impl Fn(&[&str])) {
        // Without duplicate address detection, which takes a second.
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        ip(&[&["address", "add", address, "dev", device], nodad].concat());
    }

    pub(super) fn remove(&self, address: &str) {
        let length = if address.contains(':') { 64 } else { 24 };
        self.ip(&["address", "del", &format!("{address}/{length}"), "dev", "gw"]);
    }

    /// The gateway's addresses on the cable to the cloud, in the kernel's order; IPv6 link-local ones aside.
    pub(super) fn addresses(&self) -> String {
        let shown = self.run(&["ip", "-oneline", "address", "show", "dev", "gw", "scope", "global"]);
        let text = String::from_utf8(shown.stdout).unwrap();
        let of = |line: &str| Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned());
        text.lines().filter_map(of).collect::<Vec<_>>().join(" ")
    }

    fn ip(&self, arguments: &[&str]) {
        let output = self.run(&[&["ip"], arguments].concat());
        assert!(output.status.success(), "ip {arguments:?}: {output:?}");
    }

    /// Runs something on the gateway.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]);
        self.enter(&mut command);
        command.output().unwrap()
    }

    /// Makes a command one that runs on the gateway.
    pub(super) fn enter(&self, command: &mut Command) {
        let mut there = Command::new("nsenter");
        there.args(["--target", &self.holder.id().to_string(), "--net", "--"]).arg(command.get_program());
        there.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        *command = there;
    }

    /// Counts what comes to the receiver's port, from the pinned address and from any other, before any other rule.
    pub(super) fn count(&self, ingest: &Ingest, pinned: IpAddr) {
        let port = ingest.address().port();
        let family = if pinned.is_ipv4() { "ip" } else { "ip6" };
        nft("add table inet seen");
        nft("add chain inet seen in { type filter hook prerouting priority -300; }");
        for (name, sign) in [("pinned", "=="), ("other", "!=")] {
            nft(&format!("add counter inet seen {name}"));
            nft(&format!("add rule inet seen in tcp dport {port} {family} saddr {sign} {pinned} counter name {name}"));
        }
    }

    /// Packets that came to the receiver's port: from the pinned address, and from any other.
    pub(super) fn counted(&self) -> (u64, u64) {
        let packets = |name: &str| -> u64 {
            let text = nft(&format!("list counter inet seen {name}"));
            let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
            words.nth(1).unwrap().parse().unwrap()
        };
        (packets("pinned"), packets("other"))
    }
}

fn nft(command: &str) -> String {
    let output = Command::new("nft").arg(command).output().unwrap();
    assert!(output.status.success(), "nft {command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
