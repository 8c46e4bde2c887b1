//! The plan in words, for `lineside plan` and for whoever wonders why it asks as it does.

use std::fmt;

use super::Plan;

/// As `lineside plan` prints it: interval by interval the requests with their size, their signals and what they read
/// over; then what is planned around, and what it costs the device.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for poll in &self.polls {
            writeln!(f, "every {:?}: {}", poll.every, counted(poll.requests.len(), "request"))?;
            for request in &poll.requests {
                let unit = if request.table.is_bits() { "bit" } else { "register" };
                let count = counted(request.count.into(), unit);
                let signals = counted(request.signals.len(), "signal");
                write!(f, "  {:<22} {count:>13} {signals:>12}", request.to_string())?;
                match request.read_over {
                    0 => writeln!(f)?,
                    over => writeln!(f, ", {} read over", counted(over.into(), unit))?,
                }
            }
        }
        for hole in &self.holes {
            let what = match hole.signals.len() {
                0 => "not read over".to_owned(),
                lost => format!("{} not read", counted(lost, "signal")),
            };
            writeln!(f, "around {}: the device answers exception {}, {what}", hole.entries, hole.code)?;
        }
        for (table, most, code) in &self.limits {
            let table = table.name();
            writeln!(f, "at most {most} of {table} at once: the device answers exception {code} to more")?;
        }
        write!(f, "{:.2} requests/s", self.requests_per_second())
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
