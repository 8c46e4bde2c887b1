//! Read Device Identification, 43/14 (Modbus Application Protocol 1.1b3, 6.21): one answer's objects. How many answers
//! are asked for is `protocols/modbus`'s business.

use super::query::IDENTIFY;

/// Conformity level, more follows, next object, number of objects; behind function and MEI type, and the category.
const HEAD: usize = 5;

/// Which objects are asked for, as a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Objects 0 to 2: every device that knows the function has these.
    Basic,
    /// Objects 0 to 6.
    Regular,
}

impl Category {
    /// Read Device ID code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Category::Basic => 1,
            Category::Regular => 2,
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Number and content of each object, as sent; text in ASCII by the specification.
    pub objects: Vec<(u8, Vec<u8>)>,
    /// The object to ask for next; `None` where these are all.
    pub next: Option<u8>,
}

/// What lies behind the function: every byte must be accounted for.
pub(super) fn page(rest: &[u8]) -> Option<Page> {
    let [mei, _category, _conformity, more, next, count, objects @ ..] = rest else { return None };
    let more = match more {
        0 => false,
        0xff => true,
        _ => return None,
    };
    if *mei != IDENTIFY[1] {
        return None;
    }
    let mut page = Page { objects: Vec::new(), next: more.then_some(*next) };
    let mut left = objects;
    for _ in 0..*count {
        let [object, length, behind @ ..] = left else { return None };
        let (content, behind) = behind.split_at_checked(usize::from(*length))?;
        page.objects.push((*object, content.to_vec()));
        left = behind;
    }
    left.is_empty().then_some(page)
}

/// How long the answer is that begins with `pdu`: its length, or at least how many bytes are needed to tell.
pub(super) fn length(pdu: &[u8]) -> Result<usize, usize> {
    let head = 2 + HEAD;
    let Some(count) = pdu.get(head - 1) else { return Err(head) };
    let mut end = head;
    for _ in 0..*count {
        let Some(length) = pdu.get(end + 1) else { return Err(end + 2) };
        end += 2 + usize::from(*length);
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification, with its texts made real.
    const ANSWER: &[u8] = b"\x2b\x0e\x01\x01\x00\x00\x03\x00\x04Acme\x01\x05P-100\x02\x05V2.11";

    #[test]
    fn mb17_the_objects_are_taken_apart() {
        let page = page(&ANSWER[1..]).unwrap();
        let objects = [(0, &b"Acme"[..]), (1, b"P-100"), (2, b"V2.11")];
        assert_eq!(page.objects, objects.map(|(object, text)| (object, text.to_vec())));
        assert_eq!(page.next, None);
        let mut more = ANSWER.to_vec();
        (more[4], more[5]) = (0xff, 3);
        assert_eq!(super::page(&more[1..]).unwrap().next, Some(3));
        more[4] = 1;
        assert_eq!(super::page(&more[1..]), None);
    }

    #[test]
    fn mb17_no_byte_may_be_missing_or_too_many() {
        for length in 1..ANSWER.len() {
            assert_eq!(page(&ANSWER[1..length]), None, "{length} bytes");
            assert!(
                super::length(&ANSWER[..length]).is_ok_and(|l| l > length) || super::length(&ANSWER[..length]).is_err()
            );
        }
        assert_eq!(length(ANSWER), Ok(ANSWER.len()));
        assert_eq!(page(&[&ANSWER[1..], &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn mb17_any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(page) = page(&bytes) {
                let length: usize = page.objects.iter().map(|(_, content)| content.len() + 2).sum();
                prop_assert_eq!(length + 6, bytes.len());
            }
            prop_assert!(length(&bytes).is_ok() || length(&bytes).is_err_and(|needs| needs > bytes.len()));
        }
    }
}
