//! What type, order and bit of a Modbus signal make together, or length, layout and encoding of a text. Single values
//! are read in [`crate::raw::layout`].

use jiff::tz::TimeZone;
use lineside_protocols::modbus::settings::{Address, Layout, Order16, Order32, Order64, Signal, Text, WordOrder};
use lineside_protocols::sample::Scalar;

use super::{Section, span};
use crate::problem::{Checked, Fault, Reported};
use crate::raw;
use crate::raw::layout::{Order, Type};
use crate::raw::text::Choice;
use crate::shape::join;

/// What the keys `type`, `order`, `bit`, `length`, `layout`, `encoding` and `trim` make together.
pub(super) fn layout(raw: &raw::Signal, address: Checked<Address>, at: &mut Section<'_, '_>) -> Checked<Layout> {
    let kind = at.optional("type", &raw.kind);
    let order = at.optional("order", &raw.order);
    let bit = at.optional("bit", &raw.bit);
    let text = text(raw, at);
    let (address, kind, order, bit, text) = (address?, kind?, order?, bit?, text?);
    let table = address.table;
    let bits = table.is_bits();
    let kind = kind.unwrap_or(if bits { Type::Bool } else { Type::U16 });
    let word = word(kind);
    if kind != Type::Text {
        no_text(raw, word, at)?;
    }

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
    if kind == Type::Text {
        return text_layout(raw, text, order, at);
    }
    ordered(kind, order).ok_or_else(|| wrong_order(kind, order, raw, at))
}

/// The settings of a text; the length is `None` where it is not written.
fn text(raw: &raw::Signal, at: &mut Section<'_, '_>) -> Checked<(Option<u16>, Text)> {
    let length = at.optional("length", &raw.length);
    let characters = at.optional("layout", &raw.layout);
    let encoding = at.optional("encoding", &raw.encoding);
    let trim = at.optional("trim", &raw.trim);
    let (length, characters) = (length?, characters?.unwrap_or_default());
    let (encoding, trim) = (encoding?.unwrap_or_default(), trim?.unwrap_or_default());
    Ok((length, Text { characters, encoding, trim, ..Text::new(length.unwrap_or_default()) }))
}

fn text_layout(
    raw: &raw::Signal,
    (length, text): (Option<u16>, Text),
    order: Option<Order>,
    at: &mut Section<'_, '_>,
) -> Checked<Layout> {
    if order.is_some() {
        let help = "remove `order`; where the characters lie the other way round, write `layout = \"BA\"`";
        return Err(at.refuse("order", span(&raw.order), Fault::new("a text has a `layout`, and no `order`", help)));
    }
    if length.is_none() {
        let help = "add `length`, the number of its registers as the manual has it: 8 registers hold 16 bytes";
        return Err(at.refuse("length", span(&raw.kind), Fault::new("the length of the text is missing", help)));
    }
    Ok(Layout::Text(text))
}

/// Refuses the first key that only texts have.
fn no_text(raw: &raw::Signal, word: &str, at: &mut Section<'_, '_>) -> Checked<()> {
    let places = [
        ("length", span(&raw.length)),
        ("layout", span(&raw.layout)),
        ("encoding", span(&raw.encoding)),
        ("trim", span(&raw.trim)),
    ];
    let Some((key, place)) = places.into_iter().find(|(_, place)| place.is_some()) else { return Ok(()) };
    let why = format!("`{key}` is for texts, and the type is `{word}`");
    let help = match (key, word) {
        ("layout", "u16" | "i16" | "bool") => "write `type = \"string\"`, or `order` in the place of `layout`",
        ("layout", _) => "remove `layout`; the bytes of a number lie as `order` says",
        _ => "write `type = \"string\"`, or remove it",
    };
    Err(at.refuse(key, place, Fault::new(why, help)))
}

/// What the device's clock shows.
pub(super) fn timezone(raw: &raw::Signal, layout: Checked<Layout>, at: &mut Section<'_, '_>) -> Checked<TimeZone> {
    let Some(zone) = at.optional("timezone", &raw.timezone)? else { return Ok(TimeZone::UTC) };
    let layout = layout?;
    if layout.raw_type() == Scalar::Time {
        return Ok(zone);
    }
    let why = format!("`timezone` is for times, and the type is `{}`", layout.name());
    let help = "remove it, or write the type of a time: epoch-s, epoch-ms, bcd-time-6, bcd-time-8";
    Err(at.refuse("timezone", span(&raw.timezone), Fault::new(why, help)))
}

/// Two texts share all of their registers or none: of two that overlap, one has a wrong address or length. `signals` are
/// those of `raw`, in the same order.
pub(super) fn texts_apart(raw: &[raw::Signal], signals: &[Signal], at: &mut Section<'_, '_>) -> Checked<()> {
    let end = |signal: &Signal| u32::from(signal.address.offset) + u32::from(signal.layout.width());
    let texts = raw.iter().zip(signals).filter(|(_, signal)| matches!(signal.layout, Layout::Text(_)));
    let mut texts: Vec<_> = texts.map(|(raw, signal)| (signal.address, end(signal), raw, signal)).collect();
    texts.sort_by_key(|(address, end, ..)| (*address, *end));
    let mut result = Ok(());
    let mut texts = texts.into_iter();
    let Some(mut before) = texts.next() else { return result };
    for here in texts {
        let (first, end, raw, signal) = here;
        let shared = first.table == before.0.table && u32::from(first.offset) < before.1;
        if shared && (first, end) != (before.0, before.1) {
            let fault = overlap(before.3, signal);
            let path = join(&join(&join(&at.path, "signal"), signal.name.as_str()), "register");
            let place = |raw: &raw::Signal| span(&raw.register).or(span(&raw.reference)).cloned().unwrap_or_default();
            result = Err(at.report.between(&place(raw), &path, fault, &place(before.2), "the other text"));
        }
        if first.table != before.0.table || end > before.1 {
            before = here;
        }
    }
    result
}

fn overlap(one: &Signal, other: &Signal) -> Fault {
    let range = |signal: &Signal| {
        let last = u32::from(signal.address.offset) + u32::from(signal.layout.width()) - 1;
        format!("`{}`, {}-{last}", signal.name, signal.address)
    };
    let why = format!("two texts overlap: {} and {}", range(one), range(other));
    Fault::new(why, "compare `register` and `length` of both with the manual")
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
        Type::Bool | Type::Text => return None,
        Type::U16 => Layout::U16(order16(order)?),
        Type::I16 => Layout::I16(order16(order)?),
        Type::U32 => Layout::U32(order32(order?)?),
        Type::I32 => Layout::I32(order32(order?)?),
        Type::F32 => Layout::F32(order32(order?)?),
        Type::U64 => Layout::U64(order64(order?)?),
        Type::I64 => Layout::I64(order64(order?)?),
        Type::F64 => Layout::F64(order64(order?)?),
        Type::Bcd16 => Layout::Bcd16(order16(order)?),
        Type::Bcd32 => Layout::Bcd32(order32(order?)?),
        Type::Bcd64 => Layout::Bcd64(order64(order?)?),
        Type::Mod10k32 => Layout::Mod10k32(words(order?)?),
        Type::Mod10k48 => Layout::Mod10k48(words(order?)?),
        Type::Mod10k64 => Layout::Mod10k64(words(order?)?),
        Type::EpochS => Layout::EpochS(order32(order?)?),
        Type::EpochMs => Layout::EpochMs(order64(order?)?),
        Type::BcdTime6 => Layout::BcdTime6(words(order.unwrap_or(Order::HighFirst))?),
        Type::BcdTime8 => Layout::BcdTime8(words(order.unwrap_or(Order::HighFirst))?),
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

fn words(order: Order) -> Option<WordOrder> {
    match order {
        Order::HighFirst => Some(WordOrder::HighFirst),
        Order::LowFirst => Some(WordOrder::LowFirst),
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
            (place, Fault::new(format!("this is no order of `{word}`"), format!("write one of {orders}")))
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

/// The word of the configuration.
fn word(kind: Type) -> &'static str {
    Type::ALL.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
}
