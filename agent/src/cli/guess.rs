//! `lineside read --guess`: what registers of unknown type could be, as a table. What is asked and what is plausible is
//! decided in [`lineside_protocols::modbus::guess`].

use std::io::Write;

use lineside_modbus::{Failure, read_once};
use lineside_protocols::modbus::guess::{Cell, Row, Window, guess, shown, windows};
use lineside_protocols::modbus::settings::{Address, Device, Layout, MAX_BITS, MAX_REGISTERS, Signal};
use tokio::runtime::Runtime;

use super::read::{heading, only};
use crate::clock;

/// A column of values is not wider: a person compares, and does not read novels.
const WIDTH: usize = 22;

/// Registers whose type is in question.
pub(super) struct Subject<'a> {
    /// The signal that they belong to, and what it is taken for.
    signal: Option<&'a Signal>,
    address: Address,
    width: u16,
}

impl<'a> Subject<'a> {
    pub(super) fn of_signal(signal: &'a Signal) -> Self {
        Subject { signal: Some(signal), address: signal.address, width: signal.layout.width() }
    }

    /// Registers or bits that belong to no signal, or the reason why they cannot be asked for.
    pub(super) fn of_register(device: &Device, address: Address, count: u16) -> Result<Self, String> {
        let bits = address.table.is_bits();
        let (most, noun, key) = match bits {
            true => (device.limits.max_bits.min(MAX_BITS), "bits", "max_bits"),
            false => (device.limits.max_registers.min(MAX_REGISTERS), "registers", "max_registers"),
        };
        if count > most {
            return Err(format!("one request to {} reads {most} {noun} at most (`{key}`); lower --count", device.name));
        }
        if u32::from(address.offset) + u32::from(count) > 65_536 {
            return Err(format!("{count} {noun} from {address} on are more than the table has: it ends at 65535"));
        }
        Ok(Subject { signal: None, address, width: count })
    }

    fn configured(&self) -> Option<Layout> {
        self.signal.map(|signal| signal.layout)
    }
}

/// Asks for the registers with their neighbours, or without where the device has none, and prints what they could be.
/// Whether the device answered.
pub(super) fn run(
    device: &Device,
    subject: &Subject<'_>,
    runtime: &Runtime,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    for Window { first, count } in windows(subject.address, subject.width, &device.limits) {
        let last = (first, count) == (subject.address.offset, subject.width);
        let from = Address { offset: first, ..subject.address };
        let attempts = runtime.block_on(read_once(device, &only(from, count)));
        let Some(attempt) = attempts.first() else { return Ok(false) };
        // What lies beside the signal need not be there; 03 is what some devices say instead.
        if !last && matches!(attempt.result, Err(Failure::Exception(2 | 3))) {
            continue;
        }
        heading(device, attempt, out)?;
        let Ok(raw) = &attempt.result else { return Ok(false) };
        let offset = u32::from(subject.address.offset);
        let addresses = [offset.checked_sub(1), Some(offset), offset.checked_add(1)];
        let addresses = addresses
            .into_iter()
            .flatten()
            .filter(|at| (first.into()..u32::from(first) + u32::from(count)).contains(at));
        let addresses: Vec<u32> = addresses.collect();
        let starts: Vec<usize> =
            addresses.iter().filter_map(|at| usize::try_from(at - u32::from(first)).ok()).collect();
        let zone = subject.signal.map(|signal| &signal.timezone);
        let rows = guess(raw, &starts, subject.configured(), zone, clock::now());
        table(subject, &addresses, &rows, out)?;
        return Ok(true);
    }
    Ok(false)
}

fn table(subject: &Subject<'_>, addresses: &[u32], rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    let heading = |at: &u32| format!("{:<WIDTH$} ", format!("{}:{at}", subject.address.table.name()));
    match subject.signal {
        Some(Signal { name, address, layout, .. }) => {
            writeln!(out, "  {name}, configured as {address} {layout} (>), could be (* is plausible):\n")?;
        }
        None => writeln!(out, "  {} could be (* is plausible):\n", subject.address)?,
    }
    writeln!(out, "  {:<24} {}", "", addresses.iter().map(heading).collect::<String>().trim_end())?;
    for row in rows {
        let mark = if subject.configured() == Some(row.layout) { '>' } else { ' ' };
        let cells: String = row.cells.iter().map(|cell| format!("{:<WIDTH$} ", text(cell.as_ref()))).collect();
        writeln!(out, "{mark} {:<24} {}", row.layout.to_string(), cells.trim_end())?;
    }
    writeln!(out)?;
    Ok(())
}

/// `* 12.3` where it is plausible.
fn text(cell: Option<&Cell>) -> String {
    let Some(cell) = cell else { return String::new() };
    let value = cell.sample.value().map_or_else(|| "—".to_owned(), shown);
    let mark = if cell.plausible { '*' } else { ' ' };
    match value.char_indices().nth(WIDTH - 2) {
        Some(_) => format!("{mark} {}…", value.chars().take(WIDTH - 3).collect::<String>()),
        None => format!("{mark} {value}"),
    }
}
