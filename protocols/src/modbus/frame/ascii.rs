//! ASCII frames: `:`, two hexadecimal digits a byte, LRC, CR LF (MODBUS over Serial Line 1.02, 2.5.2).

use super::Frame;

/// `:`, 255 bytes as digits (unit, PDU, LRC), CR LF.
const LONGEST: usize = 513;

/// A frame that was cut, has other characters than it may, or a wrong LRC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

pub(super) fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let bytes = [&[unit], pdu].concat();
    let check = sum(&bytes).wrapping_neg();
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' - 10 + nibble };
    let mut frame = vec![b':'];
    frame.extend(bytes.iter().chain([&check]).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    frame.extend_from_slice(b"\r\n");
    frame
}

/// Takes the first frame off `buffer`, with what lies before its colon; `None` where more bytes are needed.
pub(super) fn take(buffer: &mut Vec<u8>, echo: &[u8]) -> Option<Result<Frame, Damaged>> {
    loop {
        let colon = buffer.iter().position(|byte| *byte == b':').unwrap_or(buffer.len());
        buffer.drain(..colon);
        let end = buffer.iter().skip(1).position(|byte| matches!(byte, b':' | b'\n'));
        let Some(end) = end.map(|at| at + 1).filter(|end| *end < LONGEST) else {
            if buffer.len() < LONGEST {
                return None;
            }
            buffer.drain(..1);
            return Some(Err(Damaged));
        };
        if buffer.get(end) == Some(&b':') {
            buffer.drain(..end);
            return Some(Err(Damaged));
        }
        let line: Vec<u8> = buffer.drain(..=end).collect();
        if line != echo {
            return Some(checked(&line).ok_or(Damaged));
        }
    }
}

fn checked(line: &[u8]) -> Option<Frame> {
    let digits = line.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    let (pairs, []) = digits.as_chunks() else { return None };
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    let (_, body) = bytes.split_last()?;
    let (unit, pdu) = body.split_first()?;
    (sum(&bytes) == 0 && !pdu.is_empty()).then(|| Frame { transaction: None, unit: *unit, pdu: pdu.to_vec() })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], echo: &[u8]) -> Vec<Result<Frame, Damaged>> {
        let mut buffer = text.to_vec();
        std::iter::from_fn(|| take(&mut buffer, echo)).collect()
    }

    #[test]
    fn mb1_frames_that_others_print() {
        // A request that is printed in many manuals: 17, function 3, from 0x6b on, 3 registers.
        assert_eq!(encode(17, &[3, 0, 0x6b, 0, 3]), b":1103006B00037E\r\n");
        let frame = Frame { transaction: None, unit: 17, pdu: vec![3, 2, 0xab, 0xcd] };
        assert_eq!(all(b":110302abcd72\r\n", &[]), [Ok(frame)], "small digits are taken too");
    }

    #[test]
    fn mb11_a_damaged_frame_is_no_answer_and_the_next_is_found() {
        let good = encode(1, &[3, 2, 0, 7]);
        let right = Frame { transaction: None, unit: 1, pdu: vec![3, 2, 0, 7] };
        let long = [b":", &[b'0'; 600][..], b"\r\n"].concat();
        let cases: [&[u8]; 6] = [b":0103020008F3\r\n", b":0103G2\r\n", b":01030\r\n", b":0103", b":\r\n", &long];
        for case in cases {
            assert_eq!(all(&[case, &good].concat(), &[]), [Err(Damaged), Ok(right.clone())], "{case:?}");
        }
        assert_eq!(all(&[b"noise\r\n", &good[..]].concat(), &[]), [Ok(right.clone())]);
        assert_eq!(all(&good[..good.len() - 1], &[]), []);
    }

    #[test]
    fn mb11_an_adapters_echo_is_no_answer() {
        let echo = encode(1, &[1, 3, 0x11, 0, 17]);
        assert_eq!(all(&echo, &echo), []);
        assert_eq!(all(&echo, &[]).len(), 1, "which it would be");
    }

    #[test]
    fn what_stays_in_the_buffer_is_less_than_a_frame() {
        let mut buffer = Vec::new();
        for byte in [b":"[0]].into_iter().chain([b'0'; 5000]) {
            buffer.push(byte);
            while take(&mut buffer, &[]).is_some() {}
            assert!(buffer.len() < LONGEST);
        }
    }
}
