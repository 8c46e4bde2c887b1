//! Every row of the table, each beside a control that differs in the one thing that the row is about.

use proptest::prelude::*;

use super::*;

const EPOCH: &str = "b41c000102030405060708090a0b0c0d";

fn sent() -> Sent {
    Sent {
        agent: "gw-paint-01".parse().unwrap(),
        epoch: EPOCH.parse().unwrap(),
        lane: "readings".parse().unwrap(),
        first: 1001,
        last: 1100,
    }
}

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer { status, content_type: Some(content_type.into()), retry_after: None, body: body.into() }
}

fn verdict_of(answer: Answer) -> Verdict {
    verdict(&Outcome::Answered(answer), &sent())
}

/// A 200 with these members beside the ones that name what was sent.
fn ok(members: &str) -> Answer {
    let body = format!(r#"{{"agent":"gw-paint-01","epoch":"{EPOCH}","lane":"readings",{members}}}"#);
    answer(200, "application/json; charset=utf-8", &body)
}

fn problem(status: u16, name: &str, members: &str) -> Verdict {
    let body = format!(r#"{{"type":"urn:lineside:problem:{name}","detail":"because"{members}}}"#);
    verdict_of(answer(status, "application/problem+json", &body))
}

fn plain(status: u16) -> Verdict {
    verdict_of(answer(status, "text/html", "<html>"))
}

fn deleted(accepted: &[Range]) -> Verdict {
    Verdict::Settled { accepted: accepted.to_vec(), held: vec![], rejected: vec![], retry: vec![], limits: None }
}

#[track_caller]
fn waits(verdict: &Verdict) {
    assert!(matches!(verdict, Verdict::Wait { after: None, .. }), "{verdict:?}");
}

#[track_caller]
fn holds(verdict: &Verdict) {
    assert!(matches!(verdict, Verdict::Hold { .. }), "{verdict:?}");
}

#[test]
fn a_2xx_that_names_our_epoch_lane_and_ranges_deletes_them() {
    assert_eq!(verdict_of(ok(r#""accepted":[[1001,1100]],"highest":1100"#)), deleted(&[(1001, 1100)]));
    assert_eq!(
        verdict_of(ok(r#""accepted":[[1050,1100],[1001,1010],[1011,1020]]"#)),
        deleted(&[(1001, 1020), (1050, 1100)])
    );
    assert_eq!(verdict_of(Answer { status: 201, ..ok(r#""accepted":[[1001,1100]]"#) }), deleted(&[(1001, 1100)]));

    let limited = verdict_of(ok(r#""accepted":[[1001,1100]],"limits":{"max_bytes":65536}"#));
    assert!(matches!(limited, Verdict::Settled { limits: Some(Limits { max_bytes: Some(65536), .. }), .. }));
}

#[test]
fn what_was_never_sent_is_never_settled() {
    assert_eq!(verdict_of(ok(r#""accepted":[[1,1010],[1090,9000]]"#)), deleted(&[(1001, 1010), (1090, 1100)]));
    waits(&verdict_of(ok(r#""accepted":[[1,1000],[1101,18446744073709551615]]"#)));
    waits(&verdict_of(ok(r#""accepted":[[1100,1001]]"#)));
    waits(&verdict_of(ok(r#""accepted":[]"#)));
    waits(&verdict_of(ok(r#""highest":1100"#)));
}

#[test]
fn a_2xx_of_somebody_else_accepts_nothing() {
    let good = ok(r#""accepted":[[1001,1100]]"#);
    assert_eq!(verdict_of(good.clone()), deleted(&[(1001, 1100)]), "control");
    let text = String::from_utf8(good.body.clone()).unwrap();
    for (ours, other) in
        [("gw-paint-01", "gw-paint-02"), (EPOCH, "b41d000102030405060708090a0b0c0d"), ("readings", "events")]
    {
        waits(&verdict_of(Answer { body: text.replace(ours, other).into(), ..good.clone() }));
    }
    for kind in ["text/html", "text/plain", "application/octet-stream", "application/problem+json", ""] {
        waits(&verdict_of(Answer { content_type: Some(kind.into()), ..good.clone() }));
    }
    waits(&verdict_of(Answer { content_type: None, ..good.clone() }));
    waits(&verdict_of(answer(200, "text/html", "<html>Please log in to Hotel Wi-Fi</html>")));
    waits(&verdict_of(answer(200, "application/json", "<html>")));
    waits(&verdict_of(answer(200, "application/json", &text[..text.len() - 1])));
    waits(&verdict_of(answer(204, "application/json", "")));
}

#[test]
fn what_is_rejected_for_good_is_quarantined_and_what_is_not_is_sent_again() {
    let Verdict::Settled { accepted, rejected, retry, .. } = verdict_of(ok(
        r#""accepted":[[1001,1049],[1052,1100]],"rejected":[
            {"first":1050,"last":1050,"type":"urn:lineside:problem:invalid-record","detail":"no\nsuch signal","retryable":false},
            {"first":1051,"last":1051,"detail":"later","retryable":true}]"#,
    )) else {
        panic!("not settled");
    };
    assert_eq!((accepted.as_slice(), retry.as_slice()), (&[(1001, 1049), (1052, 1100)][..], &[(1051, 1051)][..]));
    let [Refused { range: (1050, 1050), problem, detail }] = rejected.as_slice() else { panic!("{rejected:?}") };
    assert_eq!((problem.as_str(), detail.as_str()), ("urn:lineside:problem:invalid-record", "no such signal"));

    let part =
        |first: u64, again: bool| format!(r#"{{"first":{first},"last":1100,"detail":"full","retryable":{again}}}"#);
    let nothing = |list: &str| verdict_of(ok(&format!(r#""accepted":[],"limits":{{}},"rejected":[{list}]"#)));
    let later = nothing(&part(1051, true));
    let Verdict::Later { retry, why, limits } = &later else { panic!("{later:?}") };
    assert_eq!((retry.as_slice(), limits), (&[(1051, 1100)][..], &Some(Limits::default())));
    assert!(why.contains("took nothing of 1001-1100: full"), "{why}");
    waits(&nothing(&part(1101, true)));
    assert!(matches!(nothing(&part(1051, false)), Verdict::Settled { .. }));
}

#[test]
fn what_is_held_is_a_part_of_what_is_accepted() {
    let of = |held: &str| match verdict_of(ok(&format!(r#""accepted":[[1001,1010],[1021,1030]],"held":{held}"#))) {
        Verdict::Settled { accepted, held, .. } => (accepted, held),
        other => panic!("{other:?}"),
    };
    assert_eq!(of("[]"), (vec![(1001, 1010), (1021, 1030)], vec![]), "control");
    assert_eq!(of("null"), of("[]"));
    assert_eq!(of("[[1005,1006]]"), (vec![(1001, 1004), (1007, 1010), (1021, 1030)], vec![(1005, 1006)]));
    assert_eq!(of("[[1,1010],[1011,1020],[1031,9000]]"), (vec![(1021, 1030)], vec![(1001, 1010)]));
    waits(&verdict_of(ok(r#""accepted":[],"held":[[1001,1010]]"#)));
}

#[test]
fn where_an_answer_contradicts_itself_nothing_is_deleted() {
    let part = |retryable| format!(r#"{{"first":1001,"last":1010,"retryable":{retryable}}}"#);
    let both = verdict_of(ok(&format!(r#""accepted":[[1001,1011]],"rejected":[{}]"#, part(false))));
    let Verdict::Settled { accepted, rejected, .. } = both else { panic!("{both:?}") };
    assert_eq!((accepted, rejected[0].range), (vec![(1011, 1011)], (1001, 1010)));

    let all = verdict_of(ok(&format!(r#""accepted":[[1001,1011]],"rejected":[{},{}]"#, part(false), part(true))));
    let Verdict::Settled { accepted, rejected, retry, .. } = all else { panic!("{all:?}") };
    assert_eq!((accepted, rejected, retry), (vec![(1011, 1011)], vec![], vec![(1001, 1010)]));
}

#[test]
fn a_problem_of_the_content_is_bisected() {
    for status in [400, 422] {
        for (name, kind) in [("malformed", ProblemType::Malformed), ("invalid-record", ProblemType::InvalidRecord)] {
            assert_eq!(problem(status, name, ""), Verdict::Bisect { problem: kind, detail: "because".into() });
        }
        holds(&problem(status, "not-allowed", ""));
        holds(&plain(status)); // nginx: "400 No required SSL certificate was sent"
        let body = r#"{"type":"urn:lineside:problem:malformed"}"#;
        holds(&verdict_of(answer(status, "text/html", body)));
        holds(&verdict_of(answer(status, "application/problem+json", r#"{"type":"urn:other:malformed"}"#)));
    }
    holds(&problem(403, "malformed", ""));
}

#[test]
fn every_other_4xx_and_3xx_holds_everything() {
    for status in
        [300, 301, 302, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 415, 417, 418, 421, 426, 431, 451, 499]
    {
        holds(&plain(status));
        holds(&problem(status, "invalid-record", ""));
    }
    for status in [0, 100, 101, 199] {
        holds(&plain(status));
    }
    let Verdict::Hold { why } = problem(403, "not-allowed", "") else { panic!("403 is not poison") };
    assert!(
        why.contains("403: because") && why.contains("uplink.source_address") && why.contains("Nothing is lost"),
        "{why}"
    );
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    for status in [408, 429, 500, 501, 502, 503, 504, 511, 599, 600, u16::MAX] {
        waits(&plain(status));
        let after = Some(Duration::from_secs(7));
        let asked = verdict_of(Answer { retry_after: after, ..answer(status, "text/html", "") });
        assert!(matches!(asked, Verdict::Wait { after: given, .. } if given == after), "{asked:?}");
    }
    let why = |verdict| if let Verdict::Wait { why, .. } = verdict { why } else { String::new() };
    assert_eq!(why(problem(503, "limited", "")), "the ingest API answered 503: because");
}

#[test]
fn a_failure_waits_and_one_that_a_person_must_end_holds() {
    let failed = |failure| verdict(&Outcome::Failed(failure), &sent());
    for failure in [Failure::Timeout("t".into()), Failure::Connect("t".into()), Failure::Broken("t".into())] {
        assert_eq!(failed(failure), Verdict::Wait { after: None, why: "t".into() });
    }
    for failure in [Failure::Tls("t".into()), Failure::SourceAddressMissing("t".into())] {
        assert_eq!(failed(failure), Verdict::Hold { why: "t".into() });
    }
}

#[test]
fn an_unknown_catalogue_is_put() {
    assert_eq!(
        problem(409, "unknown-catalogue", r#","catalogue":"9f2a""#),
        Verdict::PutCatalogue { id: "9f2a".into() }
    );
    holds(&problem(409, "unknown-catalogue", ""));
    holds(&problem(409, "unknown-catalogue", r#","catalogue":"../lanes""#));
    holds(&problem(409, "unknown-catalogue", &format!(r#","catalogue":"{}""#, "a".repeat(65))));
    holds(&problem(404, "unknown-catalogue", r#","catalogue":"9f2a""#));
}

#[test]
fn a_conflict_names_numbers_of_ours() {
    let conflict = Verdict::Conflict { ranges: vec![(1001, 1003), (1100, 1100)], detail: "because".into() };
    assert_eq!(problem(409, "conflict", r#","ranges":[[1100,2000],[1,1003]]"#), conflict);
    holds(&problem(409, "conflict", r#","ranges":[[1,1000]]"#));
    holds(&problem(409, "conflict", ""));
}

#[test]
fn a_state_mismatch_is_about_our_lane() {
    let members = |epoch, lane| format!(r#","epoch":"{epoch}","lane":"{lane}","highest":900"#);
    assert_eq!(problem(409, "state-mismatch", &members(EPOCH, "readings")), Verdict::StateMismatch { highest: 900 });
    holds(&problem(409, "state-mismatch", &members(EPOCH, "events")));
    holds(&problem(409, "state-mismatch", &members("b41d000102030405060708090a0b0c0d", "readings")));
    holds(&problem(409, "state-mismatch", ""));
    holds(&plain(409));
}

#[test]
fn too_large_is_halved_whoever_says_so() {
    assert_eq!(plain(413), Verdict::Halve);
    assert_eq!(problem(413, "too-large", ""), Verdict::Halve);
    holds(&problem(414, "too-large", ""));
}

#[test]
fn a_catalogue_is_stored_by_200_and_201_only() {
    let of = |answer| catalogue_verdict(&Outcome::Answered(answer));
    for status in [200, 201] {
        assert_eq!(of(answer(status, "application/json", "{}")), CatalogueVerdict::Stored);
        assert_eq!(of(Answer { status, ..Answer::default() }), CatalogueVerdict::Stored);
        assert!(matches!(of(answer(status, "text/html; charset=utf-8", "")), CatalogueVerdict::Wait { .. }));
    }
    for (status, holds) in [
        (202, false),
        (204, false),
        (408, false),
        (429, false),
        (500, false),
        (302, true),
        (403, true),
        (400, true),
        (409, true),
    ] {
        let verdict = of(answer(status, "application/json", "{}"));
        assert_eq!(matches!(verdict, CatalogueVerdict::Hold { .. }), holds, "{status}: {verdict:?}");
        assert_ne!(verdict, CatalogueVerdict::Stored);
    }
    for status in [400, 409, 413, 422] {
        let ours =
            answer(status, "application/problem+json", r#"{"type":"urn:lineside:problem:malformed","detail":"no"}"#);
        let why = format!("the ingest API answered {status}: no");
        assert_eq!(of(ours), CatalogueVerdict::Refused { why });
    }
    assert!(matches!(of(answer(413, "text/html", "")), CatalogueVerdict::Refused { .. }), "a gateway's body limit");
    let failed = catalogue_verdict(&Outcome::Failed(Failure::Timeout("t".into())));
    assert_eq!(failed, CatalogueVerdict::Wait { after: None, why: "t".into() });
}

#[test]
fn a_text_from_outside_is_one_bounded_line() {
    let body = format!(r#"{{"detail":"a\r\n\u001b[31mb{}"}}"#, "x".repeat(10_000));
    let Verdict::Hold { why } = verdict_of(answer(403, "application/problem+json", &body)) else { panic!() };
    assert!(why.contains("a   [31mbxx") && why.len() < 500 && !why.contains(char::is_control), "{why}");
}

#[test]
fn the_key_is_ascii_and_names_the_request() {
    assert_eq!(sent().key(), format!("gw-paint-01:{EPOCH}:readings:1001-1100"));
    let key = Sent { agent: "Öl".parse().unwrap(), ..sent() }.key();
    assert!(key.starts_with("%C3%96l:"), "{key}");
}

/// Answers that come close to being ours: the members that matter, with numbers around the window.
fn near_answer() -> impl Strategy<Value = String> {
    let range = (990..1110u64, 990..1110u64);
    let rejected = (range.clone(), any::<bool>())
        .prop_map(|((first, last), again)| format!(r#"{{"first":{first},"last":{last},"retryable":{again}}}"#));
    let accepted = range.prop_map(|(first, last)| format!("[{first},{last}]"));
    let ranges = prop::collection::vec(accepted, 0..6);
    let lists = (ranges.clone(), ranges, prop::collection::vec(rejected, 0..6));
    lists.prop_map(|(accepted, held, rejected)| {
        let (accepted, held, rejected) = (accepted.join(","), held.join(","), rejected.join(","));
        format!(r#""accepted":[{accepted}],"held":[{held}],"rejected":[{rejected}]"#)
    })
}

fn check(verdict: &Verdict) -> Result<(), TestCaseError> {
    let named = match verdict {
        Verdict::Settled { accepted, held, rejected, retry, .. } => {
            prop_assert!(!(accepted.is_empty() && held.is_empty() && rejected.is_empty()), "no progress");
            let parts = rejected.iter().map(|part| part.range);
            accepted.iter().chain(held).chain(retry).copied().chain(parts).collect()
        }
        Verdict::Later { retry, .. } => {
            prop_assert!(!retry.is_empty(), "nothing to wait for");
            retry.clone()
        }
        Verdict::Conflict { ranges, .. } => ranges.clone(),
        _ => vec![],
    };
    let merged = ranges::normalise(named.clone());
    prop_assert_eq!(ranges::count(&merged), named.iter().map(|(first, last)| last - first + 1).sum::<u64>(), "shared");
    prop_assert_eq!(ranges::clip(&merged, (1001, 1100)), merged, "outside of what was sent");
    Ok(())
}

proptest! {
    #[test]
    fn no_answer_settles_what_was_not_sent(near in near_answer(), status in 195..205u16) {
        check(&verdict_of(Answer { status, ..ok(&near) }))?;
    }

    #[test]
    fn no_problem_names_what_was_not_sent(near in near_answer(), name in "conflict|malformed|state-mismatch", status in 399..=423u16) {
        check(&problem(status, &name, &format!(",{}", near.replace("accepted", "ranges"))))?;
    }

    #[test]
    fn no_answer_panics(status: u16, json: bool, body: Vec<u8>, text in r#"[\[\]{}",:0-9a-z]{0,60}"#) {
        let content_type = Some(if json { contract::JSON } else { contract::PROBLEM_JSON }.to_owned());
        let of = |body| verdict_of(Answer { status, content_type: content_type.clone(), retry_after: None, body });
        let settled = matches!(of(body), Verdict::Settled { .. }) || matches!(of(text.into_bytes()), Verdict::Settled { .. });
        prop_assert!(!settled);
    }
}
