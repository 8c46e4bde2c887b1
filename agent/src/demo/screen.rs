//! How the demonstration looks: a picture that is drawn over itself on a terminal, plain lines elsewhere. Nothing is
//! measured here.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use super::Final;
use crate::status::{Lane, Status, size};

/// Where in the play we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// All is well.
    Before,
    /// The cloud is away.
    Outage,
    /// The cloud is back.
    After,
}

impl Phase {
    fn text(self) -> &'static str {
        match self {
            Phase::Before => "live: what the machines say is in the cloud a second later",
            Phase::Outage => "OUTAGE: the cloud is gone, the gateway goes on and keeps everything",
            Phase::After => "recovered: the backlog is delivered, each reading once",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Phase::Before => "\x1b[32m",
            Phase::Outage => "\x1b[31m",
            Phase::After => "\x1b[36m",
        }
    }
}

/// One moment of the play.
#[derive(Debug)]
pub(super) struct View {
    pub(super) elapsed: Duration,
    pub(super) length: Duration,
    pub(super) phase: Phase,
    pub(super) status: Status,
    /// Signal, value with unit: the newest that the cloud holds.
    pub(super) latest: Vec<(String, String)>,
}

/// Standard output, drawn or printed.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    drawn: usize,
    phase: Option<Phase>,
}

const BAR: usize = 40;

impl Screen {
    pub(super) fn new(terminal: bool) -> Self {
        Screen { terminal, drawn: 0, phase: None }
    }

    /// What plays, before it begins.
    pub(super) fn opening(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{text}")
    }

    /// One moment.
    pub(super) fn show(&mut self, view: &View) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.terminal {
            if self.phase.replace(view.phase) != Some(view.phase) {
                writeln!(out, "-- {}", view.phase.text())?;
            }
            return writeln!(out, "{}", line(view));
        }
        let picture = picture(view);
        if self.drawn > 0 {
            write!(out, "\x1b[{}F\x1b[J", self.drawn)?;
        }
        self.drawn = picture.lines().count();
        write!(out, "{picture}")?;
        out.flush()
    }

    /// The end.
    pub(super) fn ledger(&self, ledger: &Final) -> io::Result<()> {
        write!(io::stdout(), "{}", ending(ledger))
    }
}

fn line(view: &View) -> String {
    let mut text = format!("{:>4.0} s", view.elapsed.as_secs_f64());
    if let Some(uplink) = &view.status.uplink {
        let _ = write!(text, "  uplink {:<10}", uplink.state.to_string());
    }
    for lane in view.status.lanes.iter().filter(|lane| lane.name == "readings") {
        let Lane { collected, delivered, pending, .. } = lane;
        let _ = write!(text, "  collected {collected:>6} = delivered {delivered:>6} + pending {pending:>5}");
    }
    for (signal, value) in view.latest.iter().take(1) {
        let _ = write!(text, "  {signal} {value}");
    }
    text
}

fn picture(view: &View) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut text, view);
    text
}

fn draw(out: &mut String, view: &View) -> std::fmt::Result {
    let (elapsed, length) = (view.elapsed.as_secs_f64(), view.length.as_secs_f64());
    writeln!(out, "\n  {}{}\x1b[0m", view.phase.colour(), view.phase.text())?;
    writeln!(out, "  {}  {elapsed:.0} of {length:.0} s\n", bar(elapsed / length, '─', ' '))?;
    writeln!(out, "  in the cloud now")?;
    for (signal, value) in &view.latest {
        writeln!(out, "    {signal:<32} {value:>16}")?;
    }
    let sum = |count: fn(&Lane) -> u64| view.status.lanes.iter().map(count).sum::<u64>();
    let (pending, collected) = (sum(|lane| lane.pending), sum(|lane| lane.collected));
    #[expect(clippy::cast_precision_loss, reason = "a bar of forty characters")]
    let share = pending as f64 / collected.max(1) as f64;
    let bar = bar(share, '█', '░');
    writeln!(out, "\n  buffer  {}{bar}\x1b[0m {pending} of {collected} wait", view.phase.colour())?;
    writeln!(out, "          {} of {}\n", size(view.status.buffer.bytes), size(view.status.buffer.max_bytes))?;
    for lane in &view.status.lanes {
        let Lane { name, collected, delivered, pending, quarantined, dropped, .. } = lane;
        writeln!(
            out,
            "  {name:<8}  {collected:>7} collected = {delivered:>7} delivered + {pending:>6} pending + {quarantined} set aside + {dropped} dropped"
        )?;
    }
    if let Some(uplink) = &view.status.uplink {
        writeln!(out, "\n  uplink  {}", uplink.state)?;
    }
    Ok(())
}

fn bar(share: f64, full: char, empty: char) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped")]
    let filled = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    (0..BAR).map(|at| if at < filled { full } else { empty }).collect()
}

fn ending(ledger: &Final) -> String {
    let mut text = String::from("\nthe ledger\n");
    for lane in &ledger.gateway {
        let cloud = if lane.name == "events" { ledger.cloud.1 } else { ledger.cloud.0 };
        let Lane { name, collected, delivered, pending, quarantined, dropped, .. } = lane;
        let _ = writeln!(
            text,
            "  {name:<8}  collected {collected} = delivered {delivered} + pending {pending} + set aside {quarantined} + \
             dropped {dropped}; the cloud holds {cloud}"
        );
    }
    let again = ledger.duplicates;
    let _ = match (ledger.is_complete(), again) {
        (true, 0) => writeln!(text, "collected = delivered: nothing was lost, nothing came twice"),
        (true, _) => writeln!(text, "collected = delivered: nothing was lost; {again} were sent again and recognised"),
        (false, _) if !ledger.clean_exit => writeln!(text, "FAILED: the daemon did not end in order"),
        (false, _) => writeln!(text, "FAILED: the books of gateway and cloud differ"),
    };
    text
}
