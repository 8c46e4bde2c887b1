//! Every status of the contract's table, and those of proxies and portals, in random order at random places.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use lineside_testbed::ingest::{Answer, Route};
use serde_json::{Value, json};

use crate::stage::{Random, Stage, check_nothing_given_up, rounds};

/// Everything that accepts nothing and is no reason to set anything aside. `elsewhere` is where redirects point to.
fn menu(status: &Value, elsewhere: &str) -> Vec<Answer> {
    let epoch = status["epoch"].as_str().unwrap();
    let of_another = |epoch: &str, lane: &str, accepted: Value| {
        let answer = json!({"agent": "gw-test", "epoch": epoch, "lane": lane, "accepted": accepted, "highest": 1,
                            "duplicates": 0, "rejected": []});
        Answer::status(200).body("application/json", &answer.to_string())
    };
    let all = || json!([[1, 1_000_000_000]]);
    let set_back = json!({"type": "urn:lineside:problem:state-mismatch", "status": 409, "epoch": epoch,
                          "lane": "readings", "highest": 0});
    let unknown = json!({"type": "urn:lineside:problem:unknown-catalogue", "status": 409, "catalogue": "00ff"});
    let other_ranges =
        json!({"type": "urn:lineside:problem:conflict", "status": 409, "ranges": [[1_000_000_000, 1_000_000_001]]});
    let problem = |problem: &Value| Answer::status(409).body("application/problem+json", &problem.to_string());
    let mut menu = vec![
        of_another("0123456789abcdef0123456789abcdef", "readings", all()),
        of_another(epoch, "alarms", all()),
        of_another(epoch, "readings", json!([])),
        of_another(epoch, "readings", json!([[1_000_000_000, 1_000_000_010]])),
        Answer::status(200).body("application/json", "{\"agent\":\"gw-test\",\"acc"),
        Answer::status(204),
        Answer::html(400),
        Answer::problem(403, "not-allowed"),
        Answer::problem(415, "version"),
        Answer::problem(413, "too-large"),
        Answer::problem(429, "limited"),
        Answer::retry_after(429, 1),
        Answer::retry_after(503, 1),
        problem(&set_back),
        problem(&unknown),
        problem(&other_ranges),
    ];
    let bare = [
        201, 202, 206, 400, 401, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417, 421, 422, 425, 426,
        428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 599,
    ];
    menu.extend(bare.map(Answer::status));
    menu.extend([200, 202, 401, 403, 404, 407, 413, 500, 502, 503, 504, 511].map(Answer::html));
    menu.extend(
        [300, 301, 302, 303, 305, 307, 308]
            .map(|status| Answer::status(status).header("location", &format!("https://{elsewhere}/v1/batches"))),
    );
    menu
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_that_accepts_nothing_costs_or_doubles_a_reading() {
    let stage = Stage::new().await;
    let mut random = Random::new();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let menu = menu(&stage.daemon.status().await, &trap.local_addr().unwrap().to_string());
    let rounds = rounds(2);
    for _ in 0..rounds {
        let before = stage.counters();
        let mut script = Vec::new();
        for answer in random.shuffle(menu.clone()) {
            script.extend(vec![Answer::Contract; random.below(2)]);
            script.push(answer);
        }
        let posts = script.len() as u64;
        stage.site.ingest.script(Route::Batches, script);
        if random.below(2) == 0 {
            stage.site.ingest.store().forget_catalogues();
            let few = random.shuffle(menu.clone()).into_iter().take(5);
            stage.site.ingest.script(Route::Catalogues, few.filter(|answer| !is_success(answer)).collect::<Vec<_>>());
        }
        stage.site.received("the end of the script", |c| c.requests >= before.requests + posts).await;
        stage.heal().await;
    }
    assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a redirect was followed");
    let _control = TcpStream::connect(trap.local_addr().unwrap()).unwrap();
    assert!(trap.accept().is_ok(), "it would have been seen");
    check_nothing_given_up(&stage.finish("statuses", rounds));
}

/// A catalogue that is said to be stored, and is not, is asked for again by the receiver itself.
fn is_success(answer: &Answer) -> bool {
    matches!(answer, Answer::Fixed { status: 200..=299, .. })
}
