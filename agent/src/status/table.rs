//! The status as a table for a person. What the figures mean is in [`super`].

use std::fmt::{self, Write as _};

use super::Status;

/// The buffer and its lanes alone.
#[must_use]
pub fn buffer_table(status: &Status, now: i64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_buffer(&mut text, status, now).and_then(|()| write_lanes(&mut text, status));
    text
}

/// The table that a person reads; `now` is Unix ms, for ages.
#[must_use]
pub fn table(status: &Status, now: i64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(&mut text, status, now);
    text
}

fn write_table(out: &mut String, status: &Status, now: i64) -> fmt::Result {
    match status.uptime_s {
        Some(seconds) => writeln!(out, "{} · lineside {} · up {}", status.agent, status.version, span(seconds))?,
        None => writeln!(out, "{} · lineside {} · not running", status.agent, status.version)?,
    }
    if let Some(uplink) = &status.uplink {
        write!(out, "uplink   {} from {}", uplink.state, uplink.source_address)?;
        if let Some(at) = uplink.last_ack {
            write!(out, ", last ack {}", ago(now, at))?;
        }
        if let Some(end) = uplink.certificate_not_after {
            match end >= now {
                true => write!(out, ", certificate ends in {}", span(millis(end - now)))?,
                false => write!(out, ", CERTIFICATE ENDED {}", ago(now, end))?,
            }
        }
        writeln!(out)?;
        if let Some(problem) = &uplink.last_error {
            writeln!(out, "         {} ({})", problem.text, ago(now, problem.at))?;
        }
        for notice in &uplink.notices {
            writeln!(out, "notice   {} (since {})", notice.text, span(millis(now - notice.since)))?;
        }
    }
    write_buffer(out, status, now)?;
    writeln!(out, "clock    {}", status.clock.state)?;
    write_lanes(out, status)?;
    if let Some(count) = status.readings_held_back.filter(|&count| count > 0) {
        let noun = if count == 1 { "reading that said" } else { "readings that said" };
        writeln!(out, "held back since the start: {count} {noun} nothing new")?;
    }
    if status.devices.is_empty() {
        return Ok(());
    }
    let rows = status.devices.iter().map(|device| {
        let error = device.last_error.as_ref().map_or(String::new(), |p| format!("{} ({})", p.text, ago(now, p.at)));
        vec![
            device.name.clone(),
            device.protocol.clone(),
            device.state.clone(),
            device.last_good.map_or("never".to_owned(), |at| ago(now, at)),
            device.signals.to_string(),
            device.polls.to_string(),
            device.failures.to_string(),
            device.overruns.to_string(),
            error,
        ]
    });
    let head = ["device", "protocol", "state", "last good", "signals", "polls", "failures", "overruns", "last error"];
    write_columns(out, &head, rows.collect(), 4..8)
}

fn write_buffer(out: &mut String, status: &Status, now: i64) -> fmt::Result {
    let buffer = &status.buffer;
    write!(out, "buffer   {}, {} of {}", buffer.state, size(buffer.bytes), size(buffer.max_bytes))?;
    if (1..buffer.max_bytes).contains(&buffer.cap_bytes) {
        write!(out, " (the disk allows {})", size(buffer.cap_bytes))?;
    }
    if let Some(at) = buffer.oldest {
        write!(out, ", oldest {}", ago(now, at))?;
    }
    writeln!(out)?;
    if let Some(seconds) = buffer.time_to_full_s {
        writeln!(out, "         an outage of {} fits, at the rate of the last hour", span(seconds))?;
    }
    Ok(())
}

fn write_lanes(out: &mut String, status: &Status) -> fmt::Result {
    let rows = status.lanes.iter().map(|lane| {
        let numbers = [lane.collected, lane.delivered, lane.pending, lane.quarantined, lane.dropped, lane.unreported];
        let sum = if lane.adds_up() { "adds up" } else { "DOES NOT ADD UP" };
        std::iter::once(lane.name.clone()).chain(numbers.map(|n| n.to_string())).chain([sum.to_owned()]).collect()
    });
    let head = ["lane", "collected", "delivered", "pending", "quarantined", "dropped", "unreported", ""];
    write_columns(out, &head, rows.collect(), 1..7)
}

pub(crate) fn write_columns(
    out: &mut String,
    head: &[&str],
    rows: Vec<Vec<String>>,
    right: std::ops::Range<usize>,
) -> fmt::Result {
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    writeln!(out)?;
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if right.contains(&column) {
                write!(line, "{cell:>width$}  ")?;
            } else {
                write!(line, "{cell:<width$}  ")?;
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown to two digits")]
fn millis(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(crate) fn ago(now: i64, at: i64) -> String {
    format!("{} ago", span(millis(now - at)))
}

/// A duration in its two largest units, at least `0 s`.
pub(super) fn span(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which suits a display"
    )]
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// Bytes in the binary unit that keeps the number short.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = units.into_iter();
    let mut name = unit.next().unwrap_or_default();
    for next in unit {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = next;
    }
    format!("{value:.1} {name}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn the_table_shows_what_is_wrong() {
        insta::assert_snapshot!(table(&example(), 1_795_400_000_000));
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(
            [size(0), size(1023), size(1024), size(1536), size(2 << 30)],
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "2.0 GiB"]
        );
    }
}
