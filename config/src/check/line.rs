//! How a Modbus device is reached: which keys belong to which transport, and what a serial line can do. What devices on
//! one line must agree about is in [`super::plant`].

use std::time::Duration;

use lineside_protocols::modbus::settings::{Host, Line, Parity, Serial, Transport};

use super::{Section, span};
use crate::problem::{Checked, Fault};
use crate::raw;
use crate::raw::line::Protocol;
use crate::raw::quantity::show_duration;
use crate::source::Span;

/// A setting of the line as a whole: what devices on it must agree about.
pub(crate) struct Shared {
    pub(crate) key: &'static str,
    /// As it is written.
    pub(crate) shown: String,
    /// Where, if it is.
    pub(crate) span: Option<Span>,
}

/// A line, the settings that its devices share, and where its address stands.
pub(crate) struct Reached {
    pub(crate) line: Line,
    pub(crate) shared: Vec<Shared>,
    pub(crate) address: Span,
}

pub(crate) fn line(
    raw: &raw::Device,
    protocol: Checked<Protocol>,
    at: &mut Section<'_, '_>,
) -> Checked<Reached> {
    let transport = transport(raw, protocol, at);
    let connect_timeout = at.take("connect_timeout", &raw.connect_timeout);
    let connect_pause = at.take("connect_pause", &raw.connect_pause);
    let request_delay = at.take("request_delay", &raw.request_delay);
    let idle_close = at.take("idle_close", &raw.idle_close);
    let reconnect = at.ordered(("reconnect_min", &raw.reconnect_min), ("reconnect_max", &raw.reconnect_max));
    let (transport, (reconnect_min, reconnect_max)) = (transport?, reconnect?);
    let address = if protocol?.is_serial() { span(&raw.serial) } else { span(&raw.address) };
    let (connect_timeout, connect_pause) = (connect_timeout?, connect_pause?);
    let (request_delay, idle_close) = (request_delay?, idle_close?);
    let line =
        Line { transport, connect_timeout, connect_pause, request_delay, idle_close, reconnect_min, reconnect_max };
    Ok(Reached { shared: shared(raw, &line), address: address.cloned().unwrap_or_default(), line })
}

fn transport(raw: &raw::Device, protocol: Checked<Protocol>, at: &mut Section<'_, '_>) -> Checked<Transport> {
    let address = at.optional("address", &raw.address);
    let serial = serial(raw, at);
    let protocol = protocol?;
    let word = protocol.word();
    if protocol.is_serial() {
        if let Some(span) = span(&raw.address) {
            let why = format!("`address` is for devices on the network, and this one is {word}");
            let help = "remove `address`; or write `protocol = \"modbus-tcp\"`, or `\"modbus-rtu-tcp\"` where a serial \
                        server passes RTU frames on";
            return Err(at.refuse("address", Some(span), Fault::new(why, help)));
        }
        let serial = serial?.ok_or_else(|| missing(raw, at, "serial", "serial = \"/dev/ttyS0\""))?;
        fits(raw, protocol, &serial, at)?;
        return Ok(if protocol == Protocol::ModbusAscii { Transport::Ascii(serial) } else { Transport::Rtu(serial) });
    }
    let written = serial_keys(raw);
    if let [(key, span), others @ ..] = written.as_slice() {
        let keys: Vec<String> = written.iter().map(|(key, _)| format!("`{key}`")).collect();
        let are = if others.is_empty() { "is" } else { "are" };
        let why = format!("{} {are} for serial lines of this gateway, and this device is {word}", keys.join(", "));
        let help = "remove what does not belong to it, or write `protocol = \"modbus-rtu\"`";
        return Err(at.refuse(key, Some(span), Fault::new(why, help)));
    }
    let (host, port) = address?.ok_or_else(|| missing(raw, at, "address", "address = \"10.1.1.7:502\""))?;
    let host = Host { host, port };
    Ok(if protocol == Protocol::ModbusTcp { Transport::Tcp(host) } else { Transport::RtuOverTcp(host) })
}

/// Where the device is reached is missing.
fn missing(raw: &raw::Device, at: &mut Section<'_, '_>, key: &str, example: &str) -> crate::problem::Reported {
    let word = raw.protocol.as_ref().and_then(|field| field.value.as_ref().ok()).map_or("", |protocol| protocol.word());
    let why = format!("`{key}` is missing, and {word} needs it");
    at.refuse(key, span(&raw.protocol), Fault::new(why, format!("add `{example}`")))
}

/// The settings of the serial line, where it is named.
fn serial(raw: &raw::Device, at: &mut Section<'_, '_>) -> Checked<Option<Serial>> {
    let path = at.optional("serial", &raw.serial);
    let baud = at.take("baud", &raw.baud);
    let (data_bits, stop_bits) = (at.take("data_bits", &raw.data_bits), at.take("stop_bits", &raw.stop_bits));
    let parity = at.take("parity", &raw.parity);
    let (rts_before, rts_after) = (at.take("rts_before", &raw.rts_before), at.take("rts_after", &raw.rts_after));
    let frame_gap = at.take("frame_gap", &raw.frame_gap);
    let small = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    let serial = Serial {
        path: Default::default(),
        baud: baud?,
        data_bits: small(data_bits?),
        parity: parity?,
        stop_bits: small(stop_bits?),
        rts_before: rts_before?,
        rts_after: rts_after?,
        frame_gap: frame_gap?,
    };
    Ok(path?.map(|path| Serial { path, ..serial }))
}

/// The serial keys that are written, in the order of the file.
fn serial_keys(raw: &raw::Device) -> Vec<(&'static str, Span)> {
    let keys = [
        ("serial", span(&raw.serial)),
        ("baud", raw.baud.span.as_ref()),
        ("data_bits", raw.data_bits.span.as_ref()),
        ("parity", raw.parity.span.as_ref()),
        ("stop_bits", raw.stop_bits.span.as_ref()),
        ("rts_before", raw.rts_before.span.as_ref()),
        ("rts_after", raw.rts_after.span.as_ref()),
        ("frame_gap", raw.frame_gap.span.as_ref()),
    ];
    let mut keys: Vec<_> = keys.into_iter().filter_map(|(key, span)| Some((key, span?.clone()))).collect();
    keys.sort_by_key(|(_, span)| span.start);
    keys
}

/// What the frames of the protocol ask of the line.
fn fits(raw: &raw::Device, protocol: Protocol, serial: &Serial, at: &mut Section<'_, '_>) -> Checked<()> {
    if protocol == Protocol::ModbusRtu && serial.data_bits != 8 {
        let why = "RTU frames are bytes of 8 bits (MODBUS over Serial Line 1.02, 2.5.1)";
        let help = "write `data_bits = 8`, or `protocol = \"modbus-ascii\"` if the device is set to ASCII";
        return Err(at.refuse("data_bits", raw.data_bits.span.as_ref(), Fault::new(why, help)));
    }
    let Some(gap) = serial.frame_gap else { return Ok(()) };
    let span = raw.frame_gap.span.as_ref();
    if protocol == Protocol::ModbusAscii {
        let why = "an ASCII frame ends with CR LF, and no silence says where it does";
        return Err(at.refuse("frame_gap", span, Fault::new(why, "remove `frame_gap`")));
    }
    let least = Serial { frame_gap: None, ..serial.clone() }.silence();
    // In whole milliseconds, as the key is written: 4ms is near enough to 4.01.
    if gap.as_millis() < least.as_millis() {
        let (shown, baud, least) = (show_duration(gap), serial.baud, least.as_secs_f64() * 1e3);
        let why = format!("{shown} is less than the 3.5 characters between two frames: {least:.2} ms at {baud} baud");
        return Err(at.refuse("frame_gap", span, Fault::new(why, "raise it, or write `frame_gap = \"auto\"`")));
    }
    Ok(())
}

/// Serial lines have addresses from 1 to 247 (MODBUS over Serial Line 1.02, 2.2), networks know 0 to 255.
pub(crate) fn unit(raw: &raw::Device, protocol: Checked<Protocol>, at: &mut Section<'_, '_>) -> Checked<u8> {
    let unit = at.take("unit", &raw.unit)?;
    if protocol? != Protocol::ModbusTcp && !(1..=247).contains(&unit) {
        let why = match unit {
            0 => "0 is the broadcast address of a serial line, which no device answers".to_owned(),
            _ => format!("{unit} is no address on a serial line: 248 to 255 are reserved"),
        };
        return Err(at.refuse("unit", raw.unit.span.as_ref(), Fault::new(why, "choose from 1 to 247")));
    }
    Ok(u8::try_from(unit).unwrap_or(u8::MAX))
}

/// What belongs to the line and not to a unit. `pipeline` and `max_rate` are each device's own.
fn shared(raw: &raw::Device, line: &Line) -> Vec<Shared> {
    let shared = |key, shown: String, span: Option<&Span>| Shared { key, shown, span: span.cloned() };
    let time = |key, time: Duration, span: &Option<Span>| shared(key, show_duration(time), span.as_ref());
    let mut all = vec![shared("protocol", line.transport.protocol().to_owned(), span(&raw.protocol))];
    if let Transport::Rtu(serial) | Transport::Ascii(serial) = &line.transport {
        let parity = match serial.parity {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        let gap = serial.frame_gap.map_or_else(|| "auto".to_owned(), show_duration);
        all.extend([
            shared("baud", serial.baud.to_string(), raw.baud.span.as_ref()),
            shared("data_bits", serial.data_bits.to_string(), raw.data_bits.span.as_ref()),
            shared("parity", parity.to_owned(), raw.parity.span.as_ref()),
            shared("stop_bits", serial.stop_bits.to_string(), raw.stop_bits.span.as_ref()),
            time("rts_before", serial.rts_before, &raw.rts_before.span),
            time("rts_after", serial.rts_after, &raw.rts_after.span),
            shared("frame_gap", gap, raw.frame_gap.span.as_ref()),
        ]);
    }
    let idle = line.idle_close.map_or_else(|| "off".to_owned(), show_duration);
    all.extend([
        time("connect_timeout", line.connect_timeout, &raw.connect_timeout.span),
        time("connect_pause", line.connect_pause, &raw.connect_pause.span),
        time("request_delay", line.request_delay, &raw.request_delay.span),
        shared("idle_close", idle, raw.idle_close.span.as_ref()),
        time("reconnect_min", line.reconnect_min, &raw.reconnect_min.span),
        time("reconnect_max", line.reconnect_max, &raw.reconnect_max.span),
    ]);
    all
}
