//! Texts in registers.

use super::*;

fn text(text: Text, registers: &[u16]) -> Result<String, Sample> {
    let sample = decode(&signal(Layout::Text(text)), registers);
    match sample.value() {
        Some(Value::String(text)) => Ok(text.to_string()),
        _ => Err(sample),
    }
}

/// The bytes two to a register, the first one high, filled up with `fill`.
fn packed(bytes: &[u8], fill: u8, length: u16) -> Vec<u16> {
    let mut bytes = bytes.to_vec();
    bytes.resize(2 * usize::from(length), fill);
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn mb04_every_layout_of_characters_by_hand() {
    use Characters::*;
    let with = |characters| Text { characters, ..Text::new(4) };
    let pump = Ok("Pump".to_owned());
    assert_eq!(text(with(AB), &[0x5075, 0x6D70, 0, 0]), pump);
    assert_eq!(text(with(BA), &[0x7550, 0x706D, 0, 0]), pump);
    assert_eq!(text(with(Low), &[0x0050, 0x0075, 0x006D, 0x0070]), pump);
    assert_eq!(text(with(Low), &[0x2050, 0xFF75, 0x006D, 0x0070]), pump, "the other byte is not looked at");
    assert_eq!(text(with(High), &[0x5000, 0x7500, 0x6D00, 0x7020]), pump);
    assert_eq!(text(with(AB), &[0x5075, 0x6D70, 0]), Err(Sample::bad(Reason::ModbusFrame)));
}

#[test]
fn mb04_what_is_trimmed() {
    let with = |trim| Text { trim, ..Text::new(6) };
    let padded = |bytes: &[u8]| packed(bytes, 0, 6);
    for (trim, expected) in [
        (Trim::Both, "ab c"),
        (Trim::Nul, "  ab c "),
        (Trim::Space, "ab c \0x\0\0\0"),
        (Trim::None, "  ab c \0x\0\0\0"),
    ] {
        assert_eq!(text(with(trim), &padded(b"  ab c \0x")), Ok(expected.to_owned()), "{trim:?}");
    }
    assert_eq!(text(with(Trim::Space), &packed(b"ab", b' ', 6)), Ok("ab".to_owned()));
    assert_eq!(text(with(Trim::Both), &[0; 6]), Ok(String::new()));
    // What a longer text has left behind the NUL is none of this one, even if it is broken.
    assert_eq!(text(with(Trim::Both), &padded(b"ab\0\xC3")), Ok("ab".to_owned()));
    assert_eq!(text(with(Trim::Space), &padded(b"ab\0\xC3")), Err(Sample::bad(Reason::DecodeUtf8)));
}

#[test]
fn mb04_a_broken_encoding_is_bad() {
    let with = |encoding| Text { encoding, ..Text::new(3) };
    let (utf8, latin1) = (packed("Öl°".as_bytes(), 0, 3), packed(b"\xD6l\xB0", 0, 3));
    assert_eq!(text(with(TextEncoding::Utf8), &utf8), Ok("Öl°".to_owned()));
    assert_eq!(text(with(TextEncoding::Latin1), &latin1), Ok("Öl°".to_owned()));
    let bad = Err(Sample::bad(Reason::DecodeUtf8));
    assert_eq!(text(with(TextEncoding::Utf8), &latin1), bad);
    assert_eq!(text(with(TextEncoding::Ascii), &latin1), bad);
    assert_eq!(text(with(TextEncoding::Ascii), &packed(b"oil", 0, 3)), Ok("oil".to_owned()));
    // A character that the registers cut in half.
    assert_eq!(text(Text::new(1), &packed("a°".as_bytes(), 0, 2)), bad);
}

proptest! {
    #[test]
    fn mb04_a_text_comes_out_as_it_went_in(written in "[!-~°äöü€]{0,40}") {
        let length = u16::try_from(written.len().div_ceil(2).max(1)).unwrap();
        let sent = packed(written.as_bytes(), 0, length);
        let swapped: Vec<u16> = sent.iter().map(|register| register.swap_bytes()).collect();
        let low: Vec<u16> = written.bytes().chain([0]).map(u16::from).collect();
        let high: Vec<u16> = low.iter().map(|register| register << 8).collect();
        let one_each = u16::try_from(low.len()).unwrap();
        prop_assert_eq!(text(Text::new(length), &sent), Ok(written.clone()));
        prop_assert_eq!(text(Text { characters: Characters::BA, ..Text::new(length) }, &swapped), Ok(written.clone()));
        prop_assert_eq!(text(Text { characters: Characters::Low, ..Text::new(one_each) }, &low), Ok(written.clone()));
        prop_assert_eq!(text(Text { characters: Characters::High, ..Text::new(one_each) }, &high), Ok(written));
    }

    /// A text is bounded by its registers, whatever they hold.
    #[test]
    fn mb04_no_text_is_longer_than_its_registers(registers in proptest::collection::vec(any::<u16>(), 125), length in 1u16..=200) {
        for encoding in [TextEncoding::Utf8, TextEncoding::Latin1, TextEncoding::Ascii] {
            if let Ok(text) = text(Text { encoding, trim: Trim::None, ..Text::new(length) }, &registers) {
                prop_assert!(text.chars().count() <= 2 * usize::from(length.min(125)));
            }
        }
    }
}
