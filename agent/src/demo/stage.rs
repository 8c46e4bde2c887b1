//! What plays in the demonstration: a plant, a receiver that can be cut off, and the daemon as a child process, in a
//! temporary directory that goes with it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use lineside_buffer::Buffer;
use lineside_config::Config;
use lineside_testbed::ingest::{Ingest, Options};
use lineside_testbed::pki::Pki;
use lineside_testbed::plant::machine::{OVEN, PRESS, Point, Points, ROBOT};
use lineside_testbed::plant::{Plant, running_clock};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Final;
use crate::status::{Lane, Status};
use crate::{api, daemon};

/// The only address that the receiver lets in, and that the gateway sends from.
const PINNED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// What the daemon gets to end in order.
const PATIENCE: Duration = Duration::from_secs(15);
/// What the picture shows of the plant.
const SHOWN: [&str; 6] =
    ["hydraulic_pressure", "oil_temperature", "cycles", "zone_1_temperature", "gas_energy", "axis_1_angle"];
/// The machines of the plant, by the names that it gives them.
const MACHINES: [(&str, Points); 3] = [("press-7", PRESS), ("oven-2", OVEN), ("robot-1", ROBOT)];

/// Everything that plays.
pub(super) struct Stage {
    // In the order in which they are dropped.
    daemon: Child,
    ingest: Ingest,
    plant: Plant,
    config: Config,
    away: bool,
    directory: TempDir,
}

impl Stage {
    /// Starts the plant, the receiver and the daemon.
    pub(super) fn set() -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("lineside-demo-").context("no temporary directory")?;
        let pki = Pki::new(directory.path().join("pki"))?;
        let server = pki.server(&["localhost", "127.0.0.1"])?;
        let client = pki.client("gw-demo")?;
        let database = directory.path().join("cloud.db");
        let ingest = Ingest::start(Options { allow: vec![PINNED], ..Options::new(&pki, server, database) })?;
        let plant = Plant::demo(&running_clock())?;
        let file = directory.path().join("lineside.toml");
        let mut text = format!(
            "schema = 1\n[agent]\nid = \"gw-demo\"\nlocation = \"acme/stuttgart/paint/line-2\"\n[uplink]\nurl = \"{}\"\n\
             source_address = \"{PINNED}\"\nca = {:?}\ncertificate = {:?}\nprivate_key = {:?}\n[buffer]\n\
             directory = {:?}\nmax_size = \"64MiB\"\n",
            ingest.url(),
            pki.ca(),
            client.certificate,
            client.key,
            directory.path().join("buffer"),
        );
        for device in plant.devices() {
            let points =
                MACHINES.iter().find(|(name, _)| *name == device.name()).map_or(&[][..], |(_, points)| points.0);
            write!(
                text,
                "[[device]]\nname = \"{}\"\nprotocol = \"modbus-tcp\"\naddress = \"{}\"\npoll = \"250ms\"\n",
                device.name(),
                device.address()
            )?;
            for point in points {
                write_signal(&mut text, point)?;
            }
        }
        std::fs::write(&file, text).context("the configuration cannot be written")?;
        let config = lineside_config::load(&file)?;
        let program = std::env::current_exe().context("this program does not know its own path")?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let daemon = Command::new(program)
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the daemon cannot be started")?;
        Ok(Stage { daemon, ingest, plant, config, away: false, directory })
    }

    /// What plays, in a few lines.
    pub(super) fn opening(&self) -> String {
        let devices: Vec<&str> = self.plant.devices().iter().map(|device| device.name()).collect();
        format!(
            "A plant of three machines ({}) on Modbus TCP, the daemon, and a cloud that lets in {PINNED} only,\n\
             with certificates made for this hour. Everything is on this computer, in {}.",
            devices.join(", "),
            self.directory.path().display(),
        )
    }

    /// The cloud goes away, if it is there.
    pub(super) async fn cut_off(&mut self) {
        if !std::mem::replace(&mut self.away, true) {
            self.ingest.stop().await;
        }
    }

    /// The cloud comes back, if it is away.
    pub(super) fn bring_back(&mut self) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.away, false) {
            self.ingest.start_again().context("the receiver's port is gone")?;
        }
        Ok(())
    }

    /// What `lineside status --json` says; nothing while the daemon starts.
    pub(super) async fn status(&self) -> Option<Status> {
        api::ask(&api::socket(&self.config.buffer.directory)).await.ok()
    }

    /// The newest values that the cloud holds, with their units.
    pub(super) fn latest(&self) -> anyhow::Result<Vec<(String, String)>> {
        let points = || MACHINES.iter().flat_map(|(_, points)| points.0);
        let mut latest: Vec<(String, String)> = SHOWN.iter().map(|name| ((*name).to_owned(), "—".to_owned())).collect();
        for reading in self.ingest.store().readings(None)? {
            let reading = reading?;
            let row = latest.iter_mut().find(|(name, _)| reading.signal.rsplit('/').next() == Some(name));
            if let Some((name, text)) = row {
                let unit = points().find(|point| point.name == name).map_or("", |point| point.unit);
                *text = match reading.value.as_f64() {
                    Some(number) if reading.value.is_f64() => format!("{number:.1} {unit}"),
                    _ => format!("{} {unit}", reading.value),
                };
            }
        }
        Ok(latest)
    }

    /// Ends the daemon and reads both books.
    pub(super) async fn finish(mut self) -> anyhow::Result<Final> {
        if let Some(id) = self.daemon.id() {
            Command::new("kill")
                .args(["-TERM", &id.to_string()])
                .status()
                .await
                .context("the daemon cannot be stopped")?;
        }
        let ended = timeout(PATIENCE, self.daemon.wait()).await;
        let buffer = &self.config.buffer;
        let stats = Buffer::read_stats(&buffer.directory, buffer.max_size).context("the ledger cannot be read")?;
        let gateway: Vec<Lane> = daemon::stopped(&self.config, &stats).lanes;
        let cloud = self.ingest.store().counters();
        self.ingest.stop().await;
        Ok(Final {
            gateway,
            cloud: (cloud.readings, cloud.events),
            duplicates: cloud.duplicates,
            clean_exit: matches!(ended, Ok(Ok(status)) if status.success()),
        })
    }
}

fn write_signal(text: &mut String, point: &Point) -> std::fmt::Result {
    let Point { name, table, address, format, scale, unit, .. } = point;
    let (kind, order) = format.configuration();
    let table = table.name();
    write!(text, "[[device.signal]]\nname = \"{name}\"\nregister = \"{table}:{address}\"\ntype = \"{kind}\"\n")?;
    if let Some(order) = order {
        writeln!(text, "order = \"{order}\"")?;
    }
    if (scale - 1.0).abs() > f64::EPSILON {
        writeln!(text, "scale = {scale}")?;
    }
    if !unit.is_empty() {
        writeln!(text, "unit = \"{unit}\"")?;
    }
    Ok(())
}
