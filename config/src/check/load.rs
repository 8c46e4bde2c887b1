//! What the plan costs: each device's budget of requests, and what a serial line can carry. A configuration that asks
//! for more than that is refused, since it could only ever be late.

use std::collections::BTreeMap;

use lineside_protocols::modbus::load::Load;
use lineside_protocols::modbus::plan::{Plan, plan};
use lineside_protocols::modbus::settings::{Device, Limits, Transport};
use lineside_protocols::name::Name;

use super::Section;
use crate::problem::{Checked, Fault, Report};
use crate::source::Span;

/// Most devices or polls that a message lists.
const LISTED: usize = 4;

/// What is asked of each serial line so far, by its path.
#[derive(Default)]
pub(crate) struct Lines(BTreeMap<String, Line>);

struct Line {
    baud: u32,
    /// Of the first device that names it.
    place: Span,
    key: String,
    /// The share of each device.
    shares: Vec<(Name, f64)>,
}

impl Lines {
    /// Adds a device, and refuses one that asks more than its own budget.
    pub(crate) fn add(
        &mut self,
        device: &Device,
        max_rate: Option<&Span>,
        address: &Span,
        at: &mut Section<'_, '_>,
    ) -> Checked<()> {
        let plan = plan(device);
        let load = Load::of(device, &plan);
        if let (Some(share), Transport::Rtu(serial) | Transport::Ascii(serial)) =
            (load.line_share, &device.line.transport)
        {
            let new = || Line {
                baud: serial.baud,
                place: address.clone(),
                key: crate::shape::join(&at.path, "serial"),
                shares: Vec::new(),
            };
            self.0.entry(device.line.address()).or_insert_with(new).shares.push((device.name.clone(), share));
        }
        let Some(budget) = device.max_rate.filter(|budget| exceeds(load.requests_per_second, *budget)) else {
            return Ok(());
        };
        let rate = load.requests_per_second;
        let why = format!("the signals need {rate:.2} requests/s, and `max_rate` allows {budget}: {}", causes(&plan));
        Err(at.refuse("max_rate", max_rate, Fault::new(why, remedies(device, rate, budget))))
    }

    /// Refuses each line that would have to carry more than it can.
    pub(crate) fn finish(self, report: &mut Report<'_>) {
        for (path, line) in self.0 {
            let share: f64 = line.shares.iter().map(|(_, share)| share).sum();
            if !exceeds(share, 1.0) {
                continue;
            }
            let why = format!(
                "what is read on {path} needs {:.0} % of {} baud, before any device has taken time to answer: {}",
                (share * 100.0).ceil(),
                line.baud,
                shares(line.shares)
            );
            let help = "poll more slowly, raise `baud` on every device of the line, join requests with `gap`, or use \
                        a second line; `lineside plan` shows the requests once the line can carry them";
            report.at(&line.place, &line.key, Fault::new(why, help));
        }
    }
}

/// Above a bound by more than what floating-point sums are off by.
fn exceeds(value: f64, bound: f64) -> bool {
    value > bound * (1.0 + 1e-9)
}

/// The polls that cost most: `every 100ms 2 requests (20.00/s)`.
fn causes(plan: &Plan) -> String {
    let rate = |poll: &lineside_protocols::modbus::plan::Poll| poll.requests.len() as f64 / poll.every.as_secs_f64();
    let mut polls: Vec<_> = plan.polls.iter().collect();
    polls.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    let shown = polls.iter().take(LISTED).map(|poll| {
        let count = poll.requests.len();
        let noun = if count == 1 { "request" } else { "requests" };
        format!("every {:?} {count} {noun} ({:.2}/s)", poll.every, rate(poll))
    });
    let shown: Vec<String> = shown.collect();
    shown.join(", ") + if polls.len() > LISTED { ", …" } else { "" }
}

/// The devices that take most of the line.
fn shares(mut shares: Vec<(Name, f64)>) -> String {
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown: Vec<String> =
        shares.iter().take(LISTED).map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    shown.join(", ") + &if shares.len() > LISTED { format!(", {} more", shares.len() - LISTED) } else { String::new() }
}

fn remedies(device: &Device, rate: f64, budget: f64) -> String {
    let mut help = format!(
        "raise `max_rate` to {} if the device can take it, or poll more slowly",
        (rate * 100.0).ceil() / 100.0
    );
    if let Some((gap, less)) = smallest_gap(device, budget) {
        help += &format!("; with `gap = {gap}` and `gap_bits = {gap}` it would be {less:.2}, where the registers between may be read");
    }
    help
}

/// The smallest gap, of some, with which the plan keeps to the budget.
fn smallest_gap(device: &Device, budget: f64) -> Option<(u16, f64)> {
    [2, 4, 8, 16, 32, 64, 124].into_iter().find_map(|gap| {
        let limits = Limits { gap: gap.max(device.limits.gap), gap_bits: gap.max(device.limits.gap_bits), ..device.limits };
        let rate = plan(&Device { limits, ..device.clone() }).requests_per_second();
        (!exceeds(rate, budget)).then_some((gap, rate))
    })
}
