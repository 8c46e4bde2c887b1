//! A gateway's files, a simulated press, and the real binary with its output made comparable.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lineside_testbed::pki::Pki;
use lineside_testbed::plant::{Clock, Plant};
use tempfile::TempDir;

/// Right in every respect, on a machine whose cloud and device do not answer. Paths are relative to the file.
pub(crate) const RIGHT: &str = r#"schema = 1
[agent]
id = "gw-paint-01"
location = "acme/stuttgart/paint/line-2"
[uplink]
url = "https://127.0.0.1:1"
source_address = "127.0.0.1"
ca = "pki/ca.pem"
certificate = "pki/gw-paint-01.pem"
private_key = "pki/gw-paint-01.key"
[buffer]
directory = "buffer"
max_size = "16MiB"
commit_interval = "50ms"
[[device]]
name = "press-7"
protocol = "modbus-tcp"
address = "127.0.0.1:1"
poll = "1d"
[[device.signal]]
name = "hydraulic_pressure"
register = "holding:0"
type = "f32"
order = "CDAB"
unit = "bar"
[[device.signal]]
name = "oil_temperature"
reference = 40003
type = "i16"
scale = 0.1
unit = "Cel"
[[device.signal]]
name = "running"
register = "coil:0"
"#;

/// [`RIGHT`] with one thing changed.
pub(crate) fn with(old: &str, new: &str) -> String {
    assert_eq!(RIGHT.matches(old).count(), 1, "{old}");
    RIGHT.replace(old, new)
}

/// A gateway's files.
pub(crate) struct Gateway {
    pub(crate) directory: TempDir,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("lineside-cli-").unwrap();
        let pki = Pki::new(directory.path().join("pki")).unwrap();
        pki.client("gw-paint-01").unwrap();
        pki.client("gw-paint-02").unwrap();
        Gateway { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The binary, with `text` as its configuration.
    pub(crate) fn command(&self, text: &str, arguments: &[&str]) -> Command {
        // A file that is right already stays as it is: a daemon may be about to read it.
        if fs::read_to_string(self.path("lineside.toml")).ok().as_deref() != Some(text) {
            fs::write(self.path("lineside.toml"), text).unwrap();
        }
        let mut command = lineside(arguments);
        command.arg("--config").arg(self.path("lineside.toml"));
        command
    }

    /// What a command prints and exits with, without what differs from one run to the next.
    pub(crate) fn shown(&self, text: &str, arguments: &[&str]) -> String {
        self.told(&self.command(text, arguments).output().unwrap())
    }

    pub(crate) fn told(&self, output: &Output) -> String {
        told(output).replace(self.directory.path().to_str().unwrap(), "[DIR]")
    }
}

pub(crate) fn lineside(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lineside"));
    command.args(arguments).env_remove("LINESIDE_LOG").env_remove("CREDENTIALS_DIRECTORY").stdin(Stdio::null());
    command
}

pub(crate) fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let error = match text(&output.stderr) {
        nothing if nothing.is_empty() => nothing,
        error => format!("--- stderr ---\n{error}"),
    };
    format!("exit {}\n{}{error}", output.status.code().unwrap(), text(&output.stdout))
}

/// A simulated press whose time stands still, and [`RIGHT`] with its address.
pub(crate) fn press() -> (Plant, String) {
    let clock: Clock = Arc::new(|| Duration::from_millis(6_500));
    let plant = Plant::demo(&clock).unwrap();
    let address = plant.device("press-7").unwrap().address();
    let text = with("address = \"127.0.0.1:1\"", &format!("address = \"{address}\""));
    (plant, text)
}
