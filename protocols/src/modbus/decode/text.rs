//! Registers become a text. Its length is that of its registers at most, 250 bytes before decoding.

use crate::modbus::settings::{Characters, MAX_REGISTERS, Text, TextEncoding, Trim};
use crate::sample::{Reason, Value};

/// The text in the first `text.length` registers.
///
/// What is cut off behind a NUL is not looked at: it is what a longer text has left, and need not be one.
pub(super) fn decode(text: Text, registers: &[u16]) -> Result<Value, Reason> {
    let length = usize::from(text.length.min(MAX_REGISTERS));
    let registers = registers.get(..length).ok_or(Reason::ModbusFrame)?;
    let mut bytes = bytes(text.characters, registers);
    if matches!(text.trim, Trim::Both | Trim::Nul)
        && let Some(end) = bytes.iter().position(|byte| *byte == 0)
    {
        bytes.truncate(end);
    }
    let whole: String = match text.encoding {
        TextEncoding::Utf8 => String::from_utf8(bytes).map_err(|_| Reason::DecodeUtf8)?,
        TextEncoding::Ascii if !bytes.is_ascii() => return Err(Reason::DecodeUtf8),
        TextEncoding::Ascii | TextEncoding::Latin1 => bytes.into_iter().map(char::from).collect(),
    };
    Ok(Value::String(match text.trim {
        Trim::Both | Trim::Space => whole.trim_matches(' ').into(),
        Trim::Nul | Trim::None => whole.into(),
    }))
}

fn bytes(characters: Characters, registers: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * registers.len());
    for [high, low] in registers.iter().map(|register| register.to_be_bytes()) {
        match characters {
            Characters::AB => bytes.extend([high, low]),
            Characters::BA => bytes.extend([low, high]),
            Characters::Low => bytes.push(low),
            Characters::High => bytes.push(high),
        }
    }
    bytes
}
