//! What a device says it is: Read Device Identification, 43/14 (Modbus Application Protocol 1.1b3, 6.21), asked once,
//! for `lineside identify`.

use std::time::Duration;

use lineside_protocols::modbus::frame::{Answer, Category, Query};
use lineside_protocols::modbus::settings::{Device, Line};

use crate::connection::Call;
use crate::failure::Failure;
use crate::link::Link;

/// Most answers that are asked for: the 7 objects of both categories, each alone in its answer, and some more.
const MOST_PAGES: usize = 16;
/// Most bytes of all objects together.
const MOST_BYTES: usize = 4096;

/// What a device says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// In the order of their numbers; at least one.
    pub objects: Vec<IdentityObject>,
    /// Whether it had more to say than is asked for.
    pub is_cut: bool,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityObject {
    /// Its number.
    pub number: u8,
    /// As sent, but for what a terminal must not get: control characters are escaped, what is no UTF-8 is replaced.
    pub text: String,
}

impl IdentityObject {
    /// What the specification calls it; `None` for the manufacturer's own.
    #[must_use]
    pub const fn name(&self) -> Option<&'static str> {
        Some(match self.number {
            0 => "vendor name",
            1 => "product code",
            2 => "revision",
            3 => "vendor URL",
            4 => "product name",
            5 => "model name",
            6 => "user application name",
            _ => return None,
        })
    }
}

/// Why there is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// It answers, and says that it does not know this function.
    #[error("unsupported: the device does not know function 43/14 (exception {0}); that is not a fault")]
    Unsupported(u8),
    /// It answers, and has nothing to say.
    #[error("the device names no object of its identity")]
    Empty,
    /// It does not answer as it should.
    #[error("{0}")]
    Failed(Failure),
}

/// Connects to `device` and asks for the basic and the regular objects. A device that knows the basic ones only is
/// content with that.
///
/// Takes at most `connect_timeout`, and `timeout` for each of at most 16 answers.
///
/// # Errors
/// Why there is nothing to show.
pub async fn identify(device: &Device) -> Result<Identity, NoIdentity> {
    let line = Line { reconnect_min: Duration::ZERO, reconnect_max: Duration::ZERO, ..device.line.clone() };
    let mut asking = Asking { link: Link::new(line), device, identity: Identity::default(), pages: 0, bytes: 0 };
    asking.category(Category::Basic).await?;
    // What was said counts, whatever becomes of the rest.
    match asking.category(Category::Regular).await {
        Ok(()) | Err(NoIdentity::Unsupported(_)) => {}
        Err(_) => asking.identity.is_cut = true,
    }
    let mut identity = asking.identity;
    identity.objects.sort_by_key(|object| object.number);
    if identity.objects.is_empty() { Err(NoIdentity::Empty) } else { Ok(identity) }
}

struct Asking<'a> {
    link: Link,
    device: &'a Device,
    identity: Identity,
    pages: usize,
    bytes: usize,
}

impl Asking<'_> {
    async fn category(&mut self, category: Category) -> Result<(), NoIdentity> {
        let mut object = 0;
        loop {
            if self.pages == MOST_PAGES {
                self.identity.is_cut = true;
                return Ok(());
            }
            self.pages += 1;
            let call = Call {
                unit: self.device.unit,
                query: Query::identify(category, object),
                limit: self.device.timeout,
                any_unit: !self.device.check_unit,
            };
            let answer = self.link.exchange(&call, self.device.tolerance.after_exception).await;
            let page = match answer.map_err(NoIdentity::Failed)? {
                Answer::Identity(page) => page,
                Answer::Exception(code @ 1..=3) => return Err(NoIdentity::Unsupported(code)),
                Answer::Exception(code) => return Err(NoIdentity::Failed(Failure::Exception(code))),
                Answer::Values(_) => return Err(NoIdentity::Failed(Failure::Frame("it holds values".into()))),
            };
            page.objects.into_iter().for_each(|(number, content)| self.take(number, &content));
            match page.next {
                // One that leads back would go on for ever.
                Some(next) if next > object => object = next,
                Some(_) => {
                    self.identity.is_cut = true;
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// The first that is said about an object counts.
    fn take(&mut self, number: u8, content: &[u8]) {
        if self.identity.objects.iter().any(|object| object.number == number) {
            return;
        }
        self.bytes += content.len();
        if self.bytes > MOST_BYTES {
            self.identity.is_cut = true;
            return;
        }
        let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        let text = String::from_utf8_lossy(content).chars().map(escape).collect();
        self.identity.objects.push(IdentityObject { number, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    /// The answer with these objects; `next` is what follows.
    fn page(ask: Ask, objects: &[(u8, &[u8])], next: Option<u8>) -> Act {
        let more = [if next.is_some() { 0xff } else { 0 }, next.unwrap_or(0)];
        let count = u8::try_from(objects.len()).unwrap();
        let mut pdu = [&[0x2b, 14, 1, 0x81], &more[..], &[count]].concat();
        for (number, content) in objects {
            pdu.extend([*number, u8::try_from(content.len()).unwrap()]);
            pdu.extend_from_slice(content);
        }
        Act::Send(ask.frame(&pdu))
    }

    fn text(number: u8, text: &str) -> IdentityObject {
        IdentityObject { number, text: text.to_owned() }
    }

    #[tokio::test]
    async fn mb17_basic_and_regular_objects_are_gathered_over_several_answers() {
        let responder = Responder::start(|ask| match (ask.category(), ask.object()) {
            (1, 0) => page(ask, &[(0, b"Acme"), (1, b"P-100")], Some(2)),
            (1, 2) => page(ask, &[(2, b"V2.11")], None),
            (2, 0) => page(ask, &[(0, b"Acme"), (1, b"P-100"), (2, b"V2.11"), (4, b"\x1b[31mPress\xff")], None),
            other => panic!("{other:?} was asked"),
        });
        let device = device(responder.address, vec![holding(0)]);
        let identity = soon(identify(&device)).await.unwrap();
        let objects = [text(0, "Acme"), text(1, "P-100"), text(2, "V2.11"), text(4, "\\u{1b}[31mPress\u{fffd}")];
        assert_eq!(identity, Identity { objects: objects.to_vec(), is_cut: false });
    }

    #[tokio::test]
    async fn mb17_a_device_that_does_not_know_the_function_says_so() {
        for code in [1, 2, 3] {
            let responder = Responder::start(move |ask| Act::Send(ask.exception(code)));
            let device = device(responder.address, vec![holding(0)]);
            assert_eq!(soon(identify(&device)).await, Err(NoIdentity::Unsupported(code)));
        }
        let responder = Responder::start(|ask| Act::Send(ask.exception(4)));
        let device = device(responder.address, vec![holding(0)]);
        assert_eq!(soon(identify(&device)).await, Err(NoIdentity::Failed(Failure::Exception(4))));
    }

    #[tokio::test]
    async fn mb17_more_that_never_ends_is_cut() {
        for next in [0, 1] {
            let responder = Responder::start(move |ask| {
                page(ask, &[(ask.object(), b"x")], Some(ask.object().saturating_add(next)))
            });
            let device = device(responder.address, vec![holding(0)]);
            let identity = soon(identify(&device)).await.unwrap();
            assert!(identity.is_cut);
            assert!(responder.asked().len() <= MOST_PAGES, "{}", responder.asked().len());
        }
        let long = [b'x'; 240];
        let responder = Responder::start(move |ask| page(ask, &[(ask.object(), &long)], Some(ask.object() + 1)));
        let device = device(responder.address, vec![holding(0)]);
        let identity = soon(identify(&device)).await.unwrap();
        assert!(identity.objects.iter().map(|object| object.text.len()).sum::<usize>() <= MOST_BYTES);
    }

    #[tokio::test]
    async fn mb17_silence_and_nothing_are_told_apart() {
        let responder = Responder::start(|ask| if ask.connection == 0 { page(ask, &[], None) } else { Act::Ignore });
        let device = device(responder.address, vec![holding(0)]);
        assert_eq!(soon(identify(&device)).await, Err(NoIdentity::Empty));
        assert_eq!(soon(identify(&device)).await, Err(NoIdentity::Failed(Failure::Timeout(device.timeout))));
    }
}
