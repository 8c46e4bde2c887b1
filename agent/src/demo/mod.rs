//! `lineside demo`: the real daemon between a simulated plant and a receiver, with an outage of the receiver in the
//! middle. It shows what `lineside status` says meanwhile, and ends with the ledger of both sides.
//!
//! What plays is [`stage`]; how it looks is [`screen`]; this is the script.

mod screen;
mod stage;

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::screen::{Phase, Screen, View};
use self::stage::Stage;
use crate::exit::Exit;
use crate::status::Lane;

/// How often a terminal is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// How often a line is printed where there is no terminal.
const LINE: Duration = Duration::from_secs(1);
/// The outage, in shares of the whole.
const OUTAGE: std::ops::Range<f64> = 0.3..0.65;

/// Plays for `length`, and says whether every reading that was collected arrived exactly once.
///
/// # Errors
/// Where the stage cannot be set: no temporary directory, no port, no child process.
pub async fn run(length: Duration) -> anyhow::Result<Exit> {
    let terminal = std::io::stdout().is_terminal();
    let mut screen = Screen::new(terminal);
    let mut stage = Stage::set()?;
    screen.opening(&stage.opening())?;
    let started = Instant::now();
    let mut tick = interval(if terminal { FRAME } else { LINE });
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let elapsed = started.elapsed();
        if elapsed >= length {
            break;
        }
        let phase = phase(elapsed.as_secs_f64() / length.as_secs_f64());
        match phase {
            Phase::Outage => stage.cut_off().await,
            Phase::Before | Phase::After => stage.bring_back()?,
        }
        let Some(status) = stage.status().await else { continue };
        screen.show(&View { elapsed, length, phase, status, latest: stage.latest()? })?;
    }
    let ledger = stage.finish().await?;
    screen.ledger(&ledger)?;
    Ok(if ledger.is_complete() { Exit::Fine } else { Exit::No })
}

fn phase(share: f64) -> Phase {
    if share < OUTAGE.start {
        Phase::Before
    } else if share < OUTAGE.end {
        Phase::Outage
    } else {
        Phase::After
    }
}

/// Both sides' books after the end.
#[derive(Debug)]
struct Final {
    /// The gateway's, from its file.
    gateway: Vec<Lane>,
    /// Numbers that the cloud holds: readings and events.
    cloud: (u64, u64),
    /// Numbers that came twice and were recognised; no harm, and worth telling.
    duplicates: u64,
    /// Whether the daemon ended in order.
    clean_exit: bool,
}

impl Final {
    /// Nothing pending, set aside or dropped, and the cloud holds exactly what was collected.
    fn is_complete(&self) -> bool {
        let lane = |name: &str, cloud: u64| {
            self.gateway.iter().any(|lane| {
                let delivered = lane.collected == lane.delivered && lane.delivered == cloud;
                lane.name == name && lane.adds_up() && delivered && lane.collected > 0
            })
        };
        self.clean_exit && lane("readings", self.cloud.0) && lane("events", self.cloud.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, collected: u64, delivered: u64, dropped: u64) -> Lane {
        let pending = collected - delivered - dropped;
        Lane { name: name.into(), collected, delivered, pending, quarantined: 0, dropped, unreported: 0, oldest: None }
    }

    #[test]
    fn only_a_complete_ledger_is_a_success() {
        let good = || Final {
            gateway: vec![lane("events", 6, 6, 0), lane("readings", 800, 800, 0)],
            cloud: (800, 6),
            duplicates: 40,
            clean_exit: true,
        };
        assert!(good().is_complete());
        assert!(!Final { cloud: (799, 6), ..good() }.is_complete(), "the cloud lacks one");
        assert!(!Final { clean_exit: false, ..good() }.is_complete());
        assert!(!Final { gateway: vec![lane("readings", 800, 800, 0)], ..good() }.is_complete(), "no events");
        let pending = vec![lane("events", 6, 6, 0), lane("readings", 801, 800, 0)];
        assert!(!Final { gateway: pending, ..good() }.is_complete());
        let dropped = vec![lane("events", 6, 6, 0), lane("readings", 801, 800, 1)];
        assert!(!Final { gateway: dropped, ..good() }.is_complete());
    }

    #[test]
    fn the_outage_is_in_the_middle() {
        assert_eq!([0.0, 0.29, 0.3, 0.64, 0.65, 1.0].map(phase), {
            use Phase::{After, Before, Outage};
            [Before, Before, Outage, Outage, After, After]
        });
    }
}
