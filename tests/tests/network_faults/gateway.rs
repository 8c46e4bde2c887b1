//! nginx before the receiver, as cloud teams put it there: it checks certificates and addresses, limits, and answers with
//! pages of its own. Its pages must never be taken for the ingest API's word. Needs `tests/peers/install`.

mod limits;
mod outage;
mod refusal;
mod rotation;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lineside_testbed::Port;
use lineside_testbed::ingest::Counters;
use lineside_testbed::pki::{Pair, Subject, Validity};
use lineside_testbed::plant::Plant;
use serde_json::Value;
use tokio::time::{Instant, interval};

use crate::site::{Daemon, PATIENCE, PINNED, Site};
use crate::stage::{SOON, check_nothing_given_up, configure, finish, press};

const TEMPLATE: &str = include_str!("../../peers/nginx/gateway.conf");

/// What of the template differs between tests.
#[derive(Clone, Copy)]
struct Settings {
    http2: bool,
    /// `allow` and `deny`.
    access: &'static str,
    /// Of the server, beside what the template has.
    tls: &'static str,
    max_body: &'static str,
    /// Requests of one address, if they are limited, and the status of the others.
    limit: Option<(&'static str, u16)>,
}

impl Settings {
    const PINNED_ONLY: &str = "allow 127.0.0.2; deny all;";

    const fn new(http2: bool) -> Self {
        Settings { http2, access: Settings::PINNED_ONLY, tls: "", max_body: "4m", limit: None }
    }
}

/// A running nginx. Ended with its workers when it is dropped.
struct Nginx {
    child: Child,
    directory: PathBuf,
    pki: PathBuf,
    upstream: SocketAddr,
    port: Port,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.end();
    }
}

impl Nginx {
    async fn start(site: &Site, settings: Settings) -> Self {
        site.pki.issue("gateway", Subject::Server(&["127.0.0.1"]), Validity::Now).unwrap();
        site.pki.client("nginx").unwrap();
        site.pki.revoke(&[]).unwrap();
        let directory = site.directory.path().join("nginx");
        fs::create_dir_all(&directory).unwrap();
        let port = Port::reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let pki = site.pki.ca().parent().unwrap().to_owned();
        let upstream = site.ingest.address();
        write(&directory, &pki, upstream, port.address(), settings);
        let child = spawn(&directory);
        let nginx = Nginx { child, directory, pki, upstream, port };
        nginx.listening().await;
        nginx
    }

    fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// Takes other settings with new connections alone.
    async fn restart_with(&mut self, settings: Settings) {
        write(&self.directory, &self.pki, self.upstream, self.port.address(), settings);
        self.restart().await;
    }

    /// Takes other settings, or certificates and revocations that were replaced, by a reload: connections that are in
    /// use are served to their end.
    fn reload(&self, settings: Settings) {
        write(&self.directory, &self.pki, self.upstream, self.port.address(), settings);
        self.signal("HUP");
    }

    /// Ends it with every connection, and starts it again.
    async fn restart(&mut self) {
        self.end();
        self.child = spawn(&self.directory);
        self.listening().await;
    }

    fn end(&mut self) {
        // A fast end, of the workers too; killed it would leave them behind.
        self.signal("TERM");
        let _ = self.child.wait();
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
    }

    async fn listening(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut tick = interval(Duration::from_millis(10));
        while TcpStream::connect(self.port.address()).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen:\n{}", self.file("error.log"));
            tick.tick().await;
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    /// What it logged of requests with this status: address, protocol, method, status, verification and subject.
    fn answered(&self, status: u16) -> Vec<String> {
        let status = status.to_string();
        let log = self.file("access.log");
        let lines = log.lines().filter(|line| line.split(' ').nth(3) == Some(&status));
        lines.map(str::to_owned).collect()
    }
}

fn write(
    directory: &std::path::Path,
    pki: &std::path::Path,
    upstream: SocketAddr,
    listen: SocketAddr,
    settings: Settings,
) {
    let Settings { http2, access, tls, max_body, limit } = settings;
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let limit_req = if limit.is_some() { "limit_req zone=gateways;" } else { "" };
    let (rate, limit_status) = limit.unwrap_or(("1000r/s", 429));
    let values = [
        // Its workers must reach a directory that is only the owner's.
        ("user", if is_root { "user root;" } else { "" }),
        ("rate", rate),
        ("limit_status", &limit_status.to_string()),
        ("limit_req", limit_req),
        ("listen", &listen.to_string()),
        ("http2", if http2 { "http2" } else { "" }),
        ("pki", &pki.display().to_string()),
        ("tls", tls),
        ("max_body", max_body),
        ("access", access),
        ("upstream", &upstream.to_string()),
        ("read_timeout", "500ms"),
    ];
    let text = values.iter().fold(TEMPLATE.to_owned(), |text, (key, value)| text.replace(&format!("@{key}@"), value));
    fs::write(directory.join("gateway.conf"), text).unwrap();
}

fn spawn(directory: &std::path::Path) -> Child {
    let mut command = Command::new("setpriv");
    // So that a test that is killed leaves no nginx behind.
    command.args(["--pdeathsig", "TERM", "nginx", "-p"]).arg(directory).args(["-e", "error.log", "-c", "gateway.conf"]);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.unwrap_or_else(|error| panic!("nginx: {error}; run tests/peers/install"))
}

/// A daemon that delivers through nginx.
struct Behind {
    site: Site,
    nginx: Nginx,
    daemon: Daemon,
    settings: Settings,
    _plant: Plant,
}

impl Behind {
    /// Delivering already.
    async fn new(settings: Settings) -> Self {
        let behind = Behind::unready(settings, |_| ()).await;
        behind.received("the first readings and events", |c| c.readings > 0 && c.events >= 3).await;
        behind
    }

    async fn unready(settings: Settings, prepare: impl FnOnce(&Site)) -> Self {
        // The receiver lets in nginx, and nginx the gateway.
        let site = Site::with(|options| options.allow = vec![Ipv4Addr::LOCALHOST.into()]);
        let nginx = Nginx::start(&site, settings).await;
        prepare(&site);
        let (plant, devices) = press(|options| options);
        let daemon = site.start(&configure(&site, &nginx.url(), SOON, &devices));
        Behind { site, nginx, daemon, settings, _plant: plant }
    }

    async fn received(&self, what: &str, condition: impl FnMut(&Counters) -> bool) -> Counters {
        self.site.received(what, condition).await
    }

    /// Both books agree, nothing was set aside, and nginx saw the pinned address and the gateway's own name alone.
    fn finish(self, name: &str, rounds: u32) -> Value {
        let protocol = if self.settings.http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        let taken = self.nginx.answered(200).into_iter().filter(|line| line.contains(" POST ")).collect::<Vec<_>>();
        let expected = format!("{PINNED} {protocol} POST 200 SUCCESS \"CN=gw-test\"");
        assert!(!taken.is_empty() && taken.iter().all(|line| *line == expected), "{expected}: {taken:#?}");
        let name = format!("{name}-{}", if self.settings.http2 { "http2" } else { "http1" });
        let status = finish(&self.site, self.daemon, &name, rounds);
        check_nothing_given_up(&status);
        status
    }
}

/// `GET /v1/whoami` through nginx by somebody else: its status.
async fn visit(site: &Site, nginx: &Nginx, pair: Option<&Pair>, source: &str) -> u16 {
    let mut command = Command::new("curl");
    command.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--noproxy", "*"]);
    command.args(["--interface", source, "--cacert"]).arg(site.pki.ca());
    if let Some(pair) = pair {
        command.arg("--cert").arg(&pair.certificate).arg("--key").arg(&pair.key);
    }
    let output = command.arg(format!("{}/v1/whoami", nginx.url())).output().unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}
