//! Streams of every kind of spoilt bytes, cut anywhere: nothing but the answer to a request is ever its answer.

use proptest::prelude::*;

use super::*;
use crate::modbus::decode::Raw;
use crate::modbus::settings::Table;

const FRAMINGS: [Framing; 3] = [Framing::Mbap, Framing::Rtu, Framing::Ascii];

fn reads(transaction: u16, unit: u8, table: Table, first: u16, count: u16) -> Pending {
    Pending { transaction, unit, any_unit: false, query: Query::read(table, first, count).unwrap() }
}

/// What a healthy device answers: each register is its unit and address, each bit whether their sum is odd.
fn pdu_of(request: &Pending) -> Vec<u8> {
    let pdu = request.query.pdu();
    let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
    let range = word(1)..word(1) + word(3);
    let value = |at: u16| at.wrapping_mul(257) ^ u16::from(request.unit) << 9 ^ u16::from(pdu[0]) << 3;
    let data: Vec<u8> = if pdu[0] <= 2 {
        let bits: Vec<bool> = range.map(|at| value(at).count_ones() % 2 == 1).collect();
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |packed, bit| packed << 1 | u8::from(*bit))).collect()
    } else {
        range.flat_map(|at| value(at).to_be_bytes()).collect()
    };
    [&[pdu[0], u8::try_from(data.len()).unwrap()], &data[..]].concat()
}

fn wrap(framing: Framing, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Mbap => mbap::encode(transaction, unit, pdu),
        Framing::Rtu => rtu::encode(unit, pdu),
        Framing::Ascii => ascii::encode(unit, pdu),
    }
}

fn answer_to(framing: Framing, request: &Pending) -> Vec<u8> {
    wrap(framing, request.transaction, request.unit, &pdu_of(request))
}

/// Feeds `stream` in the given portions; every reply that comes of it. What is answered is not asked any more.
fn replies(framing: Framing, pending: &[Pending], stream: &[u8], cuts: &[usize]) -> Vec<(Pending, Answer)> {
    let mut decoder = Decoder::new(framing);
    if let [request] = pending {
        decoder.sent(&framing.encode(request));
    }
    let mut pending = pending.to_vec();
    let mut found = Vec::new();
    let mut left = stream;
    let mut cuts = cuts.iter().cycle();
    while !left.is_empty() {
        let (portion, rest) = left.split_at((*cuts.next().unwrap()).clamp(1, left.len()));
        left = rest;
        decoder.feed(portion);
        while let Some(event) = decoder.next(&pending) {
            match event {
                Event::Reply(at, answer) => found.push((pending.remove(at), answer)),
                Event::Misfit(at, _) => drop(pending.remove(at)),
                Event::Broken(_) => return found,
                Event::Stray(_) | Event::Damaged => {}
            }
        }
        assert!(decoder.buffer.len() <= 513, "{framing:?} keeps {}", decoder.buffer.len());
    }
    found
}

fn right(request: &Pending) -> Answer {
    request.query.check(&pdu_of(request)).unwrap()
}

/// One piece of what comes.
#[derive(Clone, Debug)]
enum Piece {
    /// The answer to the pending request.
    Right,
    /// Of another unit.
    Foreign(u8),
    /// Of another request of the same unit; its shape differs, or on TCP its transaction.
    Late(u16),
    Exception(u8),
    Damaged(usize, u8),
    Truncated(usize),
    Garbage(Vec<u8>),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => Just(Piece::Right),
        1 => (2u8..).prop_map(Piece::Foreign),
        2 => any::<u16>().prop_map(Piece::Late),
        1 => any::<u8>().prop_map(Piece::Exception),
        1 => (any::<usize>(), 1u8..).prop_map(|(at, with)| Piece::Damaged(at, with)),
        1 => any::<usize>().prop_map(Piece::Truncated),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Piece::Garbage),
    ]
}

impl Piece {
    fn is_damage(&self) -> bool {
        matches!(self, Piece::Damaged(..) | Piece::Truncated(_) | Piece::Garbage(_))
    }

    fn bytes(&self, framing: Framing, asked: &Pending) -> Vec<u8> {
        let good = answer_to(framing, asked);
        match self {
            Piece::Right => good,
            Piece::Foreign(unit) => answer_to(framing, &Pending { unit: *unit, ..*asked }),
            Piece::Late(other) => {
                let transaction = asked.transaction ^ (1 + other % 300);
                answer_to(framing, &reads(transaction, asked.unit, Table::InputRegister, other % 9000, 1 + other % 90))
            }
            // An answer, but no value.
            Piece::Exception(code) => wrap(framing, asked.transaction ^ 1, asked.unit, &[0x83, *code]),
            Piece::Damaged(at, with) => {
                let mut bytes = good;
                let at = at % bytes.len();
                bytes[at] ^= with;
                bytes
            }
            Piece::Truncated(length) => good[..length % good.len()].to_vec(),
            Piece::Garbage(bytes) => bytes.clone(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mb11_no_stream_gives_a_value_that_was_not_the_answer(
        framing in prop::sample::select(&FRAMINGS[..]),
        table in prop::sample::select(&[Table::Coil, Table::DiscreteInput, Table::HoldingRegister][..]),
        (transaction, first, count) in (any::<u16>(), 0u16..60_000, 1u16..=125),
        pieces in prop::collection::vec(piece(), 1..8),
        cuts in prop::collection::vec(1usize..300, 1..6),
    ) {
        let asked = reads(transaction, 1, table, first, count);
        let stream: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes(framing, &asked)).collect();
        for (_, answer) in replies(framing, &[asked], &stream, &cuts) {
            match answer {
                // On TCP a damaged byte among the values is TCP's business: there is no checksum.
                Answer::Values(raw) if framing.has_transactions() && pieces.iter().any(Piece::is_damage) => prop_assert_eq!(raw.len(), usize::from(count)),
                Answer::Values(_) => prop_assert_eq!(answer, right(&asked)),
                Answer::Exception(_) => {}
                Answer::Identity(_) => prop_assert!(false, "nobody asked"),
            }
        }
    }

    #[test]
    fn mb11_the_answer_is_found_however_it_is_cut_and_whatever_frames_come_before(
        framing in prop::sample::select(&FRAMINGS[..]),
        before in prop::collection::vec(prop_oneof![(2u8..).prop_map(Piece::Foreign), any::<u16>().prop_map(Piece::Late)], 0..4),
        (first, count) in (0u16..60_000, 1u16..=125),
        cuts in prop::collection::vec(1usize..300, 1..6),
    ) {
        let asked = reads(0x8000, 1, Table::HoldingRegister, first, count);
        let others = before.iter().filter(|piece| !framing.has_transactions() || matches!(piece, Piece::Late(_)));
        let stream: Vec<u8> = others.chain([&Piece::Right]).flat_map(|piece| piece.bytes(framing, &asked)).collect();
        prop_assert_eq!(replies(framing, &[asked], &stream, &cuts), [(asked, right(&asked))]);
    }

    #[test]
    fn mb10_answers_out_of_order_and_double_go_to_their_requests(
        count in 1usize..=8,
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        cuts in prop::collection::vec(1usize..40, 1..6),
    ) {
        let entries: Vec<u16> = (0..8).collect();
        let pending: Vec<Pending> = entries[..count].iter().map(|n| reads(900 + n, 1, Table::HoldingRegister, 10 * n, 3)).collect();
        let stream: Vec<u8> = order.iter().flat_map(|at| answer_to(Framing::Mbap, at.get(&pending))).collect();
        let found = replies(Framing::Mbap, &pending, &stream, &cuts);
        prop_assert!(found.iter().all(|(request, answer)| *answer == right(request)));
        let answered: std::collections::HashSet<u16> = order.iter().map(|at| at.get(&pending).transaction).collect();
        prop_assert_eq!(found.len(), answered.len(), "each once");
    }
}

#[test]
fn mb11_a_misfit_is_told_from_a_stray_by_its_transaction() {
    let asked = reads(7, 1, Table::HoldingRegister, 0, 2);
    let pdu = pdu_of(&asked);
    let first = |bytes: &[u8], asked: &Pending| {
        let mut decoder = Decoder::new(Framing::Mbap);
        decoder.feed(bytes);
        decoder.next(&[*asked])
    };
    let unit = Misfit::Unit { got: 0, asked: 1 };
    assert_eq!(first(&mbap::encode(7, 0, &pdu), &asked), Some(Event::Misfit(0, unit)));
    let any = Pending { any_unit: true, ..asked };
    assert_eq!(first(&mbap::encode(7, 0, &pdu), &any), Some(Event::Reply(0, right(&asked))));
    assert!(matches!(first(&mbap::encode(8, 1, &pdu), &any), Some(Event::Stray(_))));
    for framing in [Framing::Rtu, Framing::Ascii] {
        for (unit, pdu, fits) in
            [(1, &pdu[..], true), (2, &pdu, false), (1, &[4, 2, 0, 0], false), (1, &[0x83, 2], true)]
        {
            let mut decoder = Decoder::new(framing);
            decoder.feed(&wrap(framing, 0, unit, pdu));
            let event = decoder.next(&[asked]).unwrap();
            assert_eq!(matches!(event, Event::Reply(..)), fits, "{framing:?}: {event:?}");
            assert_eq!(matches!(event, Event::Stray(_)), !fits);
        }
    }
}

#[test]
fn mb11_half_a_frame_of_nobody_is_astray() {
    let asked = reads(7, 1, Table::HoldingRegister, 0, 2);
    let other = Pending { transaction: 8, ..asked };
    let mut decoder = Decoder::new(Framing::Mbap);
    assert!(!decoder.is_astray(&[]));
    decoder.feed(&answer_to(Framing::Mbap, &asked)[..9]);
    assert_eq!(decoder.next(&[asked]), None);
    assert!(!decoder.is_astray(&[other, asked]));
    assert!(decoder.is_astray(&[other]) && decoder.is_astray(&[]));
}

#[test]
fn mb17_an_identification_is_found_in_every_framing() {
    let query = Query::identify(Category::Basic, 0);
    let asked = Pending { transaction: 7, unit: 1, any_unit: false, query };
    let pdu = b"\x2b\x0e\x01\x01\x00\x00\x03\x00\x04Acme\x01\x05P-100\x02\x05V2.11";
    for framing in FRAMINGS {
        for portion in 1..20 {
            let found = replies(framing, &[asked], &wrap(framing, 7, 1, pdu), &[portion]);
            let [(_, Answer::Identity(page))] = &found[..] else { panic!("{framing:?}: {found:?}") };
            assert_eq!(page.objects.len(), 3);
        }
        let refused = replies(framing, &[asked], &wrap(framing, 7, 1, &[0xab, 1]), &[99]);
        assert_eq!(refused, [(asked, Answer::Exception(1))]);
    }
    let registers = reads(7, 1, Table::HoldingRegister, 0, 1);
    assert_eq!(right(&registers), Answer::Values(Raw::Registers(vec![1 << 9 ^ 3 << 3])));
}
