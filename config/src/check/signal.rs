//! One Modbus signal: what its register, type, order and bit make together, and which values it can have.

use std::time::Duration;

use lineside_protocols::modbus::settings::{
    Address, Layout, Limits, NoValue, Order16, Order32, Order64, Scale, Signal,
};
use lineside_protocols::sample::ValueType;

use super::{Section, report, span};
use crate::problem::{Checked, Fault, Reported};
use crate::raw;
use crate::raw::register::{Order, Type};
use crate::raw::text::Choice;
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
    let scale = scale(raw, layout, at);
    let clamp = clamp(raw, layout, at);
    let no_value = no_value(raw, layout, at);
    let reporting = report::reporting(raw, layout.map(Layout::raw_type), at);
    if let (Ok(address), Ok(layout)) = (address, layout) {
        fits(raw, address, layout, limits, at)?;
    }
    Ok(Signal {
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
        let help = format!("raise the device's `max_registers` to {width}, or read the halves as two signals");
        return Err(at.refuse("type", span(&raw.kind), Fault::new(why, help)));
    }
    Ok(())
}

fn layout(raw: &raw::Signal, address: Checked<Address>, at: &mut Section<'_, '_>) -> Checked<Layout> {
    let kind = at.optional("type", &raw.kind);
    let order = at.optional("order", &raw.order);
    let bit = at.optional("bit", &raw.bit);
    let (address, kind, order, bit) = (address?, kind?, order?, bit?);
    let table = address.table;
    let bits = table.is_bits();
    let kind = kind.unwrap_or(if bits { Type::Bool } else { Type::U16 });
    let word = word(kind);

    if bits && kind != Type::Bool {
        let why = format!("an entry of the table `{}` is a single bit, and no `{word}`", table.name());
        let help = "write `type = \"bool\"`, or remove `type`; numbers lie in `holding` and `input`";
        return Err(at.refuse("type", span(&raw.kind), Fault::new(why, help)));
    }
    if let Some(bit) = bit {
        let fault = match (bits, kind) {
            (true, _) => Fault::new(format!("an entry of the table `{}` has no bits", table.name()), "remove `bit`"),
            (false, Type::Bool) => return bit_of(bit, raw, order, at),
            (false, _) => Fault::new(
                format!("`bit` picks one bit of a register, and the type is `{word}`"),
                "write `type = \"bool\"`, or remove `bit`",
            ),
        };
        return Err(at.refuse("bit", span(&raw.bit), fault));
    }
    if bits {
        return match order {
            None => Ok(Layout::Coil),
            Some(_) => Err(at.refuse("order", span(&raw.order), Fault::new("a bit has no order", "remove `order`"))),
        };
    }
    if kind == Type::Bool {
        let why = "a register has 16 bits, and which of them is the value is missing";
        let help = "add `bit = 0` to `bit = 15`, 0 the least significant";
        return Err(at.refuse("bit", span(&raw.kind), Fault::new(why, help)));
    }
    ordered(kind, order).ok_or_else(|| wrong_order(kind, order, raw, at))
}

fn bit_of(bit: u16, raw: &raw::Signal, order: Option<Order>, at: &mut Section<'_, '_>) -> Checked<Layout> {
    match order16(order) {
        Some(order) => Ok(Layout::Bit(u8::try_from(bit).unwrap_or(u8::MAX), order)),
        None => Err(wrong_order(Type::U16, order, raw, at)),
    }
}

/// The layout of a number in registers, if the order is one of its width.
fn ordered(kind: Type, order: Option<Order>) -> Option<Layout> {
    Some(match kind {
        Type::Bool => return None,
        Type::U16 => Layout::U16(order16(order)?),
        Type::I16 => Layout::I16(order16(order)?),
        Type::U32 => Layout::U32(order32(order?)?),
        Type::I32 => Layout::I32(order32(order?)?),
        Type::F32 => Layout::F32(order32(order?)?),
        Type::U64 => Layout::U64(order64(order?)?),
        Type::I64 => Layout::I64(order64(order?)?),
        Type::F64 => Layout::F64(order64(order?)?),
    })
}

fn order16(order: Option<Order>) -> Option<Order16> {
    match order {
        None | Some(Order::AB) => Some(Order16::AB),
        Some(Order::BA) => Some(Order16::BA),
        Some(_) => None,
    }
}

fn order32(order: Order) -> Option<Order32> {
    match order {
        Order::ABCD => Some(Order32::ABCD),
        Order::CDAB => Some(Order32::CDAB),
        Order::BADC => Some(Order32::BADC),
        Order::DCBA => Some(Order32::DCBA),
        _ => None,
    }
}

fn order64(order: Order) -> Option<Order64> {
    match order {
        Order::ABCDEFGH => Some(Order64::ABCDEFGH),
        Order::GHEFCDAB => Some(Order64::GHEFCDAB),
        Order::BADCFEHG => Some(Order64::BADCFEHG),
        Order::HGFEDCBA => Some(Order64::HGFEDCBA),
        _ => None,
    }
}

fn wrong_order(kind: Type, order: Option<Order>, raw: &raw::Signal, at: &mut Section<'_, '_>) -> Reported {
    let orders = Order::ALL.iter().filter(|(_, order)| ordered(kind, Some(*order)).is_some());
    let orders = orders.map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let word = word(kind);
    let (place, fault) = match order {
        Some(_) => {
            let place = span(&raw.order);
            (place, Fault::new(format!("this is no order of the bytes of `{word}`"), format!("write one of {orders}")))
        }
        None => {
            let help = format!(
                "add `order`, one of {orders}; if the manual says nothing, try the first two with a value that you know"
            );
            let why = format!("`{word}` takes more than one register, and devices differ in their order");
            (span(&raw.kind), Fault::new(why, help))
        }
    };
    at.refuse("order", place, fault)
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

/// `key` needs a number, and a bit is none.
fn number(key: &str, layout: Checked<Layout>, span: Option<&Span>, at: &mut Section<'_, '_>) -> Checked<()> {
    match layout? {
        Layout::Coil | Layout::Bit(..) => {
            let why = format!("`{key}` needs a number, and this signal is true or false");
            Err(at.refuse(key, span, Fault::new(why, format!("remove `{key}`"))))
        }
        _ => Ok(()),
    }
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
                let why = format!("`{}` is never {value}", ValueType::from(layout?.raw_type()));
                let help = "write the value as it comes from the device, before `scale` and `offset`";
                return Err(at.refuse("no_value", place, Fault::new(why, help)));
            }
        }
    }
    Ok(kept)
}

/// The value as the type holds it, if it can: -9999.9 is not an `f32`, the `f32` nearest to it is.
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
        Layout::Coil | Layout::Bit(..) => None,
        Layout::U16(_) => integer(u16::try_from(number).is_ok()),
        Layout::I16(_) => integer(i16::try_from(number).is_ok()),
        Layout::U32(_) => integer(u32::try_from(number).is_ok()),
        Layout::I32(_) => integer(i32::try_from(number).is_ok()),
        Layout::U64(_) => integer(u64::try_from(number).is_ok()),
        Layout::I64(_) => integer(i64::try_from(number).is_ok()),
        Layout::F32(_) | Layout::F64(_) => occurs(NoValue::Float(float), layout),
    }
}

/// The word of the configuration.
fn word(kind: Type) -> &'static str {
    Type::ALL.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
}
