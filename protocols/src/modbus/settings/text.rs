//! How registers make a text, and in which order they make a number of several digits. Which type a signal has is in
//! [`super::layout`].

use std::fmt;

/// Which register of several bears the highest digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WordOrder {
    /// The first one.
    #[default]
    HighFirst,
    /// The last one.
    LowFirst,
}

/// Where a register has its characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Characters {
    /// Two: the first one in the high byte.
    #[default]
    AB,
    /// Two: the first one in the low byte.
    BA,
    /// One, in the low byte; the high byte is not looked at.
    Low,
    /// One, in the high byte; the low byte is not looked at.
    High,
}

/// What the bytes of a text stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8 (RFC 3629).
    #[default]
    Utf8,
    /// ISO 8859-1: each byte is the character of that number, so nothing can be broken.
    Latin1,
    /// Bytes up to 127.
    Ascii,
}

/// What is not part of a text that is shorter than its registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trim {
    /// The first NUL and all behind it, then spaces at both ends.
    #[default]
    Both,
    /// The first NUL and all behind it: what was left there by a longer text.
    Nul,
    /// Spaces at both ends.
    Space,
    /// Nothing.
    None,
}

/// A text in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Registers, 1 to [`super::MAX_REGISTERS`].
    pub length: u16,
    /// See [`Characters`].
    pub characters: Characters,
    /// See [`TextEncoding`].
    pub encoding: TextEncoding,
    /// See [`Trim`].
    pub trim: Trim,
}

impl Text {
    /// A text of `length` registers with every setting at its default.
    #[must_use]
    pub const fn new(length: u16) -> Self {
        Text { length, characters: Characters::AB, encoding: TextEncoding::Utf8, trim: Trim::Both }
    }
}

/// As the configuration writes it.
impl fmt::Display for WordOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WordOrder::HighFirst => "high-first",
            WordOrder::LowFirst => "low-first",
        })
    }
}

/// The length, and what is not as it mostly is: `8`, `8 BA latin-1`. What is trimmed does not change what was sent.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.length)?;
        f.write_str(match self.characters {
            Characters::AB => "",
            Characters::BA => " BA",
            Characters::Low => " char-low",
            Characters::High => " char-high",
        })?;
        f.write_str(match self.encoding {
            TextEncoding::Utf8 => "",
            TextEncoding::Latin1 => " latin-1",
            TextEncoding::Ascii => " ascii",
        })
    }
}
