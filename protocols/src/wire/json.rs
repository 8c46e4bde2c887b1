//! The few pieces of JSON text that the fast path writes and cuts itself. Parsing is `serde_json`'s: what is cut here
//! has been through it.

/// Appends `text` as a JSON string (RFC 8259, section 7).
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let nibble = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', nibble(byte >> 4), nibble(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends a whole number.
pub(super) fn integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `items`, with a comma between each two, in brackets.
pub(super) fn array<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, element) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item(out, element);
    }
    out.push(b']');
}

/// Appends a JSON text that is valid already. A line has no line feed but its last; between tokens, the only place
/// where a valid text can hold one, a space means the same.
pub(super) fn text(out: &mut Vec<u8>, valid: &str) {
    out.extend(valid.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// Whether `text` is one valid JSON value.
pub(super) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The elements of a valid JSON array, each as it is written; `None` where the text is no array.
pub(super) fn elements(array: &str) -> Option<Elements<'_>> {
    let inside = array.trim_ascii().strip_prefix('[')?.strip_suffix(']')?;
    Some(Elements { rest: Some(inside).filter(|text| !text.trim_ascii().is_empty()) })
}

/// See [`elements`].
#[derive(Clone, Debug)]
pub(super) struct Elements<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let (element, rest) = match comma(rest) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(element.trim_ascii())
    }
}

/// Where the first comma is that stands in no string and no inner array or object.
fn comma(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    text.bytes().position(|byte| {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            return false;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => return depth == 0,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_reads_back(text in "(?s).*") {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn an_array_falls_into_its_elements(texts in proptest::collection::vec("[\\[\\]{},:\"\\\\ a\n]{0,8}", 0..6)) {
            let nested: Vec<_> = texts.iter().map(|text| serde_json::json!([{ "k,": text }, text])).collect();
            let all = serde_json::to_string_pretty(&nested).unwrap();
            let cut: Vec<serde_json::Value> =
                elements(&all).unwrap().map(|element| serde_json::from_str(element).unwrap()).collect();
            prop_assert_eq!(cut, nested);
        }
    }

    #[test]
    fn only_an_array_has_elements() {
        assert_eq!(elements(" [ ] ").map(Iterator::count), Some(0));
        assert!(elements("7").is_none());
        assert!(elements("{}").is_none());
    }
}
