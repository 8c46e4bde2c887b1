//! One Modbus signal: where it lies, and which values it can have. What its type, order and bit make together is in
//! [`super::layout`].

use std::time::Duration;

use lineside_protocols::modbus::settings::{Address, Layout, Limits, NoValue, Scale, Signal};
use lineside_protocols::sample::Scalar;

use super::layout::{layout, timezone};
use super::{Section, report, span};
use crate::problem::{Checked, Fault};
use crate::raw;
use crate::source::Span;

/// Entries of each of the four tables (Modbus Application Protocol 1.1b3, 4.4).
const TABLE_SIZE: u32 = 65_536;

/// `device_poll` is what holds where the signal says nothing; `limits` are the device's.
pub(crate) fn signal(
    raw: &raw::Signal,
    device_poll: Checked<Duration>,
    limits: Checked<Limits>,
    at: &mut Section<'_, '_>,
) -> Checked<Signal> {
    let name = at.required("name", &raw.name);
    let unit = at.optional("unit", &raw.unit);
    let poll = at.optional("poll", &raw.poll).and_then(|poll| poll.map_or(device_poll, Ok));
    let address = address(raw, at);
    let layout = layout(raw, address, at);
    let timezone = timezone(raw, layout, at);
    let scale = scale(raw, layout, at);
    let clamp = clamp(raw, layout, at);
    let no_value = no_value(raw, layout, at);
    let reporting = report::reporting(raw, layout.map(Layout::raw_type), at);
    if let (Ok(address), Ok(layout)) = (address, layout) {
        fits(raw, address, layout, limits, at)?;
    }
    Ok(Signal {
        timezone: timezone?,
        scale: scale?,
        clamp: clamp?,
        no_value: no_value?,
        unit: unit?,
        reporting: reporting?,
        ..Signal::new(name?, address?, layout?, poll?)
    })
}

/// Exactly one of `register` and `reference`.
fn address(raw: &raw::Signal, at: &mut Section<'_, '_>) -> Checked<Address> {
    let register = at.optional("register", &raw.register);
    let reference = at.optional("reference", &raw.reference);
    match (register?, reference?) {
        (Some(address), None) | (None, Some(address)) => Ok(address),
        (Some(_), Some(_)) => {
            let fault = Fault::new("`register` and `reference` both say where the signal lies", "remove one of them");
            Err(at.refuse("reference", span(&raw.reference), fault))
        }
        (None, None) => {
            let help = "add `register = \"holding:0\"`, or `reference = 40001` as the manual has it";
            Err(at.refuse("register", span(&raw.name), Fault::new("where the signal lies is missing", help)))
        }
    }
}

/// The signal ends inside its table, and one request can read it as a whole.
fn fits(
    raw: &raw::Signal,
    address: Address,
    layout: Layout,
    limits: Checked<Limits>,
    at: &mut Section<'_, '_>,
) -> Checked<()> {
    let (width, table) = (layout.width(), address.table);
    let (key, place) = match raw.register {
        Some(_) => ("register", span(&raw.register)),
        None => ("reference", span(&raw.reference)),
    };
    if u32::from(address.offset) + u32::from(width) > TABLE_SIZE {
        let why = format!("`{layout}` at {address} takes {width} registers, and the table ends at 65535");
        let last = TABLE_SIZE - u32::from(width);
        let help = format!("the last address for this type is {}:{last}; check the manual", table.name());
        return Err(at.refuse(key, place, Fault::new(why, help)));
    }
    let most = limits?.max_registers;
    if !table.is_bits() && width > most {
        let why = format!("`{layout}` takes {width} registers, and one request may read {most}");
        let help = format!("raise the device's `max_registers` to {width}, or read the parts as signals of their own");
        let (key, place) = if raw.length.is_some() { ("length", span(&raw.length)) } else { ("type", span(&raw.kind)) };
        return Err(at.refuse(key, place, Fault::new(why, help)));
    }
    Ok(())
}

/// `None` where nothing is changed: a default that is written out means the same as one that is not.
fn scale(raw: &raw::Signal, layout: Checked<Layout>, at: &mut Section<'_, '_>) -> Checked<Option<Scale>> {
    let (factor, offset) = (at.take("scale", &raw.scale), at.take("offset", &raw.offset));
    let scale = Scale { factor: factor?, offset: offset? };
    if scale == (Scale { factor: 1.0, offset: 0.0 }) {
        return Ok(None);
    }
    let (key, span) = match scale.factor {
        1.0 => ("offset", &raw.offset.span),
        _ => ("scale", &raw.scale.span),
    };
    number(key, layout, span.as_ref(), at)?;
    Ok(Some(scale))
}

fn clamp(raw: &raw::Signal, layout: Checked<Layout>, at: &mut Section<'_, '_>) -> Checked<Option<(f64, f64)>> {
    let clamp = at.optional("clamp", &raw.clamp)?;
    if clamp.is_some() {
        number("clamp", layout, span(&raw.clamp), at)?;
    }
    Ok(clamp)
}

/// `key` needs a number, and a bit, a text and a time are none.
fn number(key: &str, layout: Checked<Layout>, span: Option<&Span>, at: &mut Section<'_, '_>) -> Checked<()> {
    let layout = layout?;
    if layout.is_number() {
        return Ok(());
    }
    let (what, help) = match layout.raw_type() {
        Scalar::String => ("a text", format!("remove `{key}`")),
        Scalar::Time if key == "offset" => ("a time", "write `timezone` for a clock that does not show UTC".to_owned()),
        Scalar::Time => ("a time", format!("remove `{key}`")),
        _ => ("true or false", format!("remove `{key}`")),
    };
    let why = format!("`{key}` needs a number, and this signal is {what}");
    Err(at.refuse(key, span, Fault::new(why, help)))
}

/// Values that the type can have. `nan` may be listed and changes nothing: it is bad by itself.
fn no_value(raw: &raw::Signal, layout: Checked<Layout>, at: &mut Section<'_, '_>) -> Checked<Vec<NoValue>> {
    let Some(values) = at.optional("no_value", &raw.no_value)? else { return Ok(Vec::new()) };
    let place = span(&raw.no_value);
    number("no_value", layout, place, at)?;
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        match occurs(value, layout?) {
            Some(NoValue::Float(number)) if number.is_nan() => {}
            Some(value) => kept.push(value),
            None => {
                let value = match value {
                    NoValue::Integer(number) => number.to_string(),
                    NoValue::Float(number) => format!("{number:?}").to_lowercase(),
                };
                let why = format!("`{}` is never {value}", layout?.name());
                let help = "write the value as it comes from the device, before `scale` and `offset`";
                return Err(at.refuse("no_value", place, Fault::new(why, help)));
            }
        }
    }
    Ok(kept)
}

/// The value as the type holds it, if it can: -9999.9 is not an `f32`, the `f32` nearest to it is. Decimal digits can
/// also be bits that are none.
fn occurs(value: NoValue, layout: Layout) -> Option<NoValue> {
    #[expect(clippy::cast_precision_loss, reason = "the nearest value of the type is what the device sends")]
    let float = match value {
        NoValue::Integer(number) => number as f64,
        NoValue::Float(number) => number,
    };
    let NoValue::Integer(number) = value else {
        return match layout {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the nearest f32 is meant; beyond its range is refused"
            )]
            Layout::F32(_) => {
                let nearest = f64::from(float as f32);
                (nearest.is_finite() || !float.is_finite()).then_some(NoValue::Float(nearest))
            }
            Layout::F64(_) => Some(NoValue::Float(float)),
            _ => None,
        };
    };
    let integer = |fits: bool| fits.then_some(NoValue::Integer(number));
    match layout {
        Layout::U16(_) | Layout::Bcd16(_) => integer(u16::try_from(number).is_ok()),
        Layout::I16(_) => integer(i16::try_from(number).is_ok()),
        Layout::U32(_) | Layout::Bcd32(_) | Layout::Mod10k32(_) => integer(u32::try_from(number).is_ok()),
        Layout::I32(_) => integer(i32::try_from(number).is_ok()),
        Layout::Mod10k48(_) => integer((0..1 << 48).contains(&number)),
        Layout::U64(_) | Layout::Bcd64(_) | Layout::Mod10k64(_) => integer(u64::try_from(number).is_ok()),
        Layout::I64(_) => integer(i64::try_from(number).is_ok()),
        Layout::F32(_) | Layout::F64(_) => occurs(NoValue::Float(float), layout),
        _ => None,
    }
}
