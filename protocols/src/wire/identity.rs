//! Who a line is from, and the small closed vocabularies that lines are stamped with.

use std::fmt;
use std::str::FromStr;

use crate::name::Name;

/// One of the two sequences that an epoch numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What happened to the agent and its devices. Goes first.
    Events,
    /// What the devices said.
    Readings,
}

impl Lane {
    /// Both, in the order in which they are sent.
    pub const ALL: [Lane; 2] = [Lane::Events, Lane::Readings];

    /// `events` or `readings`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Events => "events",
            Lane::Readings => "readings",
        }
    }
}

/// How far the agent's wall clock could be trusted while a block was filled: one state for the whole block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockState {
    /// Disciplined by a time source, as the kernel has it (adjtimex(2), `STA_UNSYNC`).
    Synced,
    /// Running free: as it was at the start of the daemon, or since a time source was lost. In 1970 perhaps.
    Unsynced,
    /// Running free, and set at least once since it was last synchronised, or since the start of the daemon: by hand,
    /// or by a program that does not discipline it. Likely better than it was, but nobody vouches for it.
    Stepped,
}

impl ClockState {
    const ALL: [ClockState; 3] = [ClockState::Synced, ClockState::Unsynced, ClockState::Stepped];

    /// `synced`, `unsynced` or `stepped`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ClockState::Synced => "synced",
            ClockState::Unsynced => "unsynced",
            ClockState::Stepped => "stepped",
        }
    }
}

/// A text that names none of the values it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct Unknown {
    what: &'static str,
    text: String,
}

impl Unknown {
    /// `text`, where a `what` was expected. A long text is cut, for it may come from anywhere.
    #[must_use]
    pub fn new(what: &'static str, text: &str) -> Self {
        Unknown { what, text: text.chars().take(64).collect() }
    }
}

impl FromStr for Lane {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Lane::ALL.into_iter().find(|lane| lane.name() == text).ok_or_else(|| Unknown::new("lane", text))
    }
}

impl FromStr for ClockState {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let found = ClockState::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| Unknown::new("state of the clock", text))
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ClockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One life of the daemon: random, minted at every start, 32 hexadecimal digits. Numbers are unique within it, so a
/// history that was rolled back can never give a number away twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch([u8; 16]);

/// One start of the gateway's kernel (`/proc/sys/kernel/random/boot_id`), 32 hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

impl Epoch {
    /// From 128 random bits.
    #[must_use]
    pub const fn from_random(bits: [u8; 16]) -> Self {
        Epoch(bits)
    }

    /// The same 128 bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl BootId {
    /// From 128 random bits.
    #[must_use]
    pub const fn from_random(bits: [u8; 16]) -> Self {
        BootId(bits)
    }
}

impl FromStr for Epoch {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        from_hex(text).map(Epoch).ok_or_else(|| Unknown::new("epoch (32 hexadecimal digits)", text))
    }
}

impl FromStr for BootId {
    type Err = Unknown;

    /// 32 hexadecimal digits, or the same as the kernel prints them: a UUID with its hyphens (RFC 9562, section 4).
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let uuid = text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
        let digits = if uuid { text.replace('-', "") } else { text.to_owned() };
        from_hex(&digits).map(BootId).ok_or_else(|| Unknown::new("boot id (32 hexadecimal digits)", text))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Whose numbers a line speaks of. Stays with a block for ever: a later epoch sends it unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The agent that collected.
    pub agent: Name,
    /// Its life at that time.
    pub epoch: Epoch,
}

/// The bytes that `text` spells in lower-case digits, two for each byte.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

pub(super) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back() {
        let bits = [0xb4, 0x1c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff];
        let epoch = Epoch::from_random(bits);
        assert_eq!(epoch.to_string(), "b41c000102030405060708090a0b0cff");
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        let boot = BootId::from_random(bits);
        assert_eq!(boot.to_string().parse(), Ok(boot));
        assert_eq!("b41c0001-0203-0405-0607-08090a0b0cff".parse(), Ok(boot));
    }

    #[test]
    fn an_identity_has_one_spelling() {
        for bad in ["", "b41c", "B41C000102030405060708090A0B0CFF", "+41c000102030405060708090a0b0cff", "é"] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
        for bad in ["b41c-00010203-0405-0607-08090a0b0cff", "b41c0001020304050607-08090a0b0cff"] {
            assert!(bad.parse::<BootId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn vocabularies_read_back() {
        assert!(Lane::ALL.into_iter().all(|lane| lane.to_string().parse() == Ok(lane)));
        assert!(ClockState::ALL.into_iter().all(|state| state.to_string().parse() == Ok(state)));
        assert_eq!("alarms".parse::<Lane>().unwrap_err().to_string(), "`alarms` is no lane");
    }
}
