//! What the answer to a batch makes the agent do: the table of the ingest contract as one function.
//! Sending, waiting and deleting live elsewhere.
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx, JSON, our agent, epoch and lane, some of our numbers | [`Verdict::Settled`] |
//! | the same, but nothing of it taken and all of it, or some, to be sent later | [`Verdict::Later`] |
//! | any other 2xx (captive portal, proxy page) | [`Verdict::Wait`] |
//! | 400, 422 with problem `malformed`, `invalid-record` | [`Verdict::Bisect`] |
//! | 408, 429, 5xx, timeout, no connection | [`Verdict::Wait`] |
//! | 409 `unknown-catalogue` with its id | [`Verdict::PutCatalogue`] |
//! | 409 `conflict` with some of our numbers | [`Verdict::Conflict`] |
//! | 409 `state-mismatch` of our epoch and lane | [`Verdict::StateMismatch`] |
//! | 413 | [`Verdict::Halve`] |
//! | 415, other 4xx, 3xx, TLS failure, source address missing | [`Verdict::Hold`] |
//!
//! A 403 is never poison: with a pinned address it means that the allow list broke, and dropping would be self-made
//! loss. Nothing outside of what was sent is ever settled, whatever an answer says.

mod outcome;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use outcome::{Answer, Failure, Outcome, Sent};

use self::outcome::Line;
use super::contract::{self, Accepted, Limits, Problem, ProblemType};
use crate::ranges::{self, Range};

/// What is to be done about a batch. What is neither accepted nor refused is still owed.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The cloud took some of it, or refused some for good. The four lists share no number, lie within what was sent,
    /// and one of `accepted`, `held` and `rejected` holds at least one: a batch that is settled has made progress.
    Settled {
        /// To be deleted.
        accepted: Vec<Range>,
        /// To be deleted too: gap and quarantined lines over data that the cloud holds.
        held: Vec<Range>,
        /// To be quarantined.
        rejected: Vec<Refused>,
        /// To be sent again later.
        retry: Vec<Range>,
        /// To be kept by later requests.
        limits: Option<Limits>,
    },
    /// The cloud takes nothing of it now, and some of it later: that waits, and nothing else.
    Later {
        /// To be sent again later; at least one, within what was sent.
        retry: Vec<Range>,
        /// Why, for a person.
        why: String,
        /// To be kept by later requests.
        limits: Option<Limits>,
    },
    /// Too large: send halves; what is one reading goes into quarantine.
    Halve,
    /// One of the lines, or a part of one, is refused: find it by sending slices, quarantine it.
    Bisect {
        /// The problem.
        problem: ProblemType,
        /// Why, for a person.
        detail: String,
    },
    /// Put this catalogue, then send the batch again.
    PutCatalogue {
        /// Lower-case hexadecimal.
        id: String,
    },
    /// The cloud holds other content under these numbers: quarantine them, alarm, go on.
    Conflict {
        /// Within what was sent; at least one.
        ranges: Vec<Range>,
        /// Why, for a person.
        detail: String,
    },
    /// The cloud lost what it had accepted: ask it what it holds, send what it lacks.
    StateMismatch {
        /// The highest number that the cloud accounts for, of the epoch and lane that were sent.
        highest: u64,
    },
    /// Send the same again later.
    Wait {
        /// What the cloud asks for; none: back off.
        after: Option<Duration>,
        /// Why, for a person.
        why: String,
    },
    /// Nothing will help but a person: raise an alarm, keep everything, try again at the slowest pace.
    Hold {
        /// What to say to that person.
        why: String,
    },
}

/// Numbers that the cloud will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub range: Range,
    /// The problem's URN, or why it has none.
    pub problem: String,
    /// Why, for a person.
    pub detail: String,
}

/// What became of a catalogue that was put.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogueVerdict {
    /// The cloud has it.
    Stored,
    /// The cloud takes everything but this: it is too large, or not what the cloud takes for a catalogue. Only the blocks
    /// that refer to it wait.
    Refused {
        /// What to say to a person.
        why: String,
    },
    /// As [`Verdict::Wait`].
    #[expect(missing_docs, reason = "as there")]
    Wait { after: Option<Duration>, why: String },
    /// As [`Verdict::Hold`].
    #[expect(missing_docs, reason = "as there")]
    Hold { why: String },
}

/// The table.
#[must_use]
pub fn verdict(outcome: &Outcome, sent: &Sent) -> Verdict {
    let answer = match outcome {
        Outcome::Failed(failure) => return failed(failure).into(),
        Outcome::Answered(answer) => answer,
    };
    let problem = answer.problem();
    let own = match answer.status {
        200..=299 => Some(settled(answer, sent)),
        400 | 422 => culprit(&problem),
        409 => mismatch(&problem, sent),
        413 => Some(Verdict::Halve),
        _ => None,
    };
    own.unwrap_or_else(|| paused(answer, &problem).into())
}

/// The same for the answer to a catalogue that was put: 200 or 201; 413, and a problem of the ingest API
/// with 400, 409 or 422, are about this catalogue; everything else as the table has it.
#[must_use]
pub fn catalogue_verdict(outcome: &Outcome) -> CatalogueVerdict {
    let answer = match outcome {
        Outcome::Failed(failure) => return failed(failure).into(),
        Outcome::Answered(answer) => answer,
    };
    let problem = answer.problem();
    match answer.status {
        200 | 201 if !answer.is("text/html") => CatalogueVerdict::Stored,
        200..=299 => CatalogueVerdict::Wait { after: None, why: not_ours(answer, "not an answer to a catalogue") },
        400 | 409 | 422 if problem.known_type().is_some() => CatalogueVerdict::Refused { why: said(answer, &problem) },
        413 => CatalogueVerdict::Refused { why: said(answer, &problem) },
        _ => paused(answer, &problem).into(),
    }
}

/// What nothing but time, or a person, can help.
enum Pause {
    Wait { after: Option<Duration>, why: String },
    Hold { why: String },
}

impl From<Pause> for Verdict {
    fn from(pause: Pause) -> Self {
        match pause {
            Pause::Wait { after, why } => Verdict::Wait { after, why },
            Pause::Hold { why } => Verdict::Hold { why },
        }
    }
}

impl From<Pause> for CatalogueVerdict {
    fn from(pause: Pause) -> Self {
        match pause {
            Pause::Wait { after, why } => CatalogueVerdict::Wait { after, why },
            Pause::Hold { why } => CatalogueVerdict::Hold { why },
        }
    }
}

fn failed(failure: &Failure) -> Pause {
    let why = failure.to_string();
    match failure {
        Failure::Timeout(_) | Failure::Connect(_) | Failure::Broken(_) => Pause::Wait { after: None, why },
        Failure::Tls(_) | Failure::SourceAddressMissing(_) => Pause::Hold { why },
    }
}

/// What the table says of every status that has no row of its own, whatever was sent.
fn paused(answer: &Answer, problem: &Problem) -> Pause {
    let said = said(answer, problem);
    let remedy = match answer.status {
        408 | 429 | 500.. => return Pause::Wait { after: answer.retry_after, why: said },
        300..=399 => "uplink.url must name the ingest API itself, redirects are not followed",
        401 => "check that the client certificate (uplink.certificate) is registered there",
        403 => "check that uplink.source_address is on its allow list, and the client certificate registered",
        404 | 405 => "check uplink.url, its path included",
        407 => "a proxy stands in the way; lineside uses none",
        // There is no other version to fall back to yet.
        415 => "it does not know version 1 of the contract: update lineside or the ingest API",
        _ => "see the log of the ingest API",
    };
    Pause::Hold { why: format!("{said}; {remedy}. Nothing is lost: readings are kept") }
}

/// A 2xx counts only if the ingest API gave it, about this lane and these numbers.
fn settled(answer: &Answer, sent: &Sent) -> Verdict {
    let wait = |why: &str| Verdict::Wait { after: answer.retry_after, why: not_ours(answer, why) };
    if !answer.is(contract::JSON) {
        return wait("not JSON: a captive portal or a proxy may stand in the way");
    }
    let said: Accepted = match contract::read(&answer.body) {
        Ok(said) => said,
        Err(error) => return wait(&Line(&error.to_string()).to_string()),
    };
    if !(said.agent == sent.agent.as_str() && names(&said.epoch, &said.lane, sent)) {
        let (agent, epoch, lane) = (Line(&said.agent), Line(&said.epoch), Line(&said.lane));
        return wait(&format!("it is about {agent}:{epoch}:{lane}, which was not sent"));
    }
    let window = (sent.first, sent.last);
    let of_ours = |list| ranges::clip(&ranges::normalise(list), window);

    // Where an answer contradicts itself the numbers stay ours: again before quarantine, quarantine before deletion.
    let again = said.rejected.iter().filter(|part| part.retryable).map(|part| (part.first, part.last));
    let retry = of_ours(again.collect());
    let mut taken = retry.clone();
    let mut rejected = Vec::new();
    for part in said.rejected.iter().filter(|part| !part.retryable) {
        for range in ranges::subtract(&of_ours(vec![(part.first, part.last)]), &taken) {
            let problem = Line(part.r#type.as_deref().unwrap_or("about:blank")).to_string();
            rejected.push(Refused { range, problem, detail: Line(part.detail.as_deref().unwrap_or("")).to_string() });
            taken.push(range);
        }
        taken = ranges::normalise(taken);
    }
    let all = ranges::subtract(&of_ours(said.accepted), &taken);
    if all.is_empty() && rejected.is_empty() {
        let why = said.rejected.iter().find_map(|part| part.detail.as_deref()).unwrap_or("no reason given");
        let why = format!("it took nothing of {}-{}: {}", sent.first, sent.last, Line(why));
        return if retry.is_empty() { wait(&why) } else { Verdict::Later { retry, why, limits: said.limits } };
    }
    // Held is what was accepted, in another way: it counts only where both say so.
    let accepted = ranges::subtract(&all, &of_ours(said.held));
    let held = ranges::subtract(&all, &accepted);
    Verdict::Settled { accepted, held, rejected, retry, limits: said.limits }
}

fn names(epoch: &str, lane: &str, sent: &Sent) -> bool {
    epoch.parse() == Ok(sent.epoch) && lane.parse() == Ok(sent.lane)
}

/// A refusal of what a line says; none if the refusal is not the ingest API's.
fn culprit(problem: &Problem) -> Option<Verdict> {
    match problem.known_type()? {
        kind @ (ProblemType::Malformed | ProblemType::InvalidRecord) => {
            Some(Verdict::Bisect { problem: kind, detail: text_of(problem) })
        }
        _ => None,
    }
}

/// The three meanings of 409; none if it is not about what was sent.
fn mismatch(problem: &Problem, sent: &Sent) -> Option<Verdict> {
    match problem.known_type()? {
        ProblemType::UnknownCatalogue => {
            let id = problem.catalogue.clone()?;
            // It becomes part of a URL.
            let hexadecimal =
                (1..=64).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            hexadecimal.then_some(Verdict::PutCatalogue { id })
        }
        ProblemType::Conflict => {
            let ours = ranges::clip(&ranges::normalise(problem.ranges.clone()), (sent.first, sent.last));
            (!ours.is_empty()).then(|| Verdict::Conflict { ranges: ours, detail: text_of(problem) })
        }
        ProblemType::StateMismatch => {
            let ours = names(problem.epoch.as_deref()?, problem.lane.as_deref()?, sent);
            problem.highest.filter(|_| ours).map(|highest| Verdict::StateMismatch { highest })
        }
        _ => None,
    }
}

fn said(answer: &Answer, problem: &Problem) -> String {
    match text_of(problem) {
        text if text.is_empty() => format!("the ingest API answered {}", answer.status),
        text => format!("the ingest API answered {}: {text}", answer.status),
    }
}

fn not_ours(answer: &Answer, why: &str) -> String {
    let kind = Line(answer.content_type.as_deref().unwrap_or("without a type")).to_string();
    format!("answered {} ({kind}), which accepts nothing: {why}", answer.status)
}

fn text_of(problem: &Problem) -> String {
    let text = problem.detail.as_ref().or(problem.title.as_ref()).or(problem.r#type.as_ref());
    Line(text.map_or("", String::as_str)).to_string()
}
