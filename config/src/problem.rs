//! What is wrong with a configuration, where, and what to do about it: as text for people, as fields for programs.
//! Which things are wrong is decided in [`crate::shape`], [`crate::raw`] and [`crate::check`].

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::source::{Place, Show, Source, Span};

/// Most problems that one report names; the others are counted.
pub const MAX_PROBLEMS: usize = 100;
/// Most characters of a message or a key, since both may quote the file.
const MAX_MESSAGE: usize = 400;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", Rendered { problem: self, colours: false })]
pub struct Problem {
    /// The configuration file, or a signal list that it names.
    pub file: PathBuf,
    /// Where in it; none where the file as a whole is meant.
    pub place: Option<Place>,
    /// The key as a path: `uplink.retry_min`, `device.press-7.signal.pressure.order`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and why.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The other place of two that contradict each other, or of what uses this one.
    pub other: Option<Other>,
}

/// A second place of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What it is.
    pub note: String,
}

impl Problem {
    pub(crate) fn new(file: &Path, place: Option<Place>, key: &str, fault: Fault) -> Self {
        let Fault { message, help, .. } = fault;
        Problem {
            file: place.as_ref().map_or(file, |place| &place.file).to_owned(),
            place,
            key: tidy(key),
            message: tidy(&message),
            help: tidy(&help),
            other: None,
        }
    }

    /// As `Display` does, with ANSI colours where asked for.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        Rendered { problem: self, colours }.to_string()
    }
}

/// All that is wrong with one configuration, in the order of its files; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", self.render(false))]
pub struct Problems {
    /// The first [`MAX_PROBLEMS`].
    pub list: Vec<Problem>,
    /// How many there are beyond those.
    pub more: usize,
}

impl Problems {
    /// The report for a person: each problem with its line of the file, then a count.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let mut text: String = self.list.iter().map(|problem| problem.render(colours) + "\n").collect();
        let file = self.list.first().map(|problem| problem.file.display().to_string()).unwrap_or_default();
        let count = self.list.len() + self.more;
        text += &match (count, self.more) {
            (1, _) => format!("1 problem in {file}"),
            (_, 0) => format!("{count} problems in {file}"),
            (_, more) => format!("{count} problems in {file}, the last {more} not shown"),
        };
        text
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems { list: vec![problem], more: 0 }
    }
}

/// What is wrong with a value, before it is known where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: String,
    /// Whether the value may be shown.
    pub(crate) secret: bool,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { message: message.into(), help: help.into(), secret: false }
    }

    pub(crate) fn secret(self) -> Self {
        Fault { secret: true, ..self }
    }
}

/// That something is wrong has been said: no second problem is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported;

/// A value, or the certainty that its problem has been reported.
pub(crate) type Checked<T> = Result<T, Reported>;

/// Most problems of shared places that are compared with each other.
const MAX_COMPARED: usize = 100_000;

/// Collects the problems of one configuration.
///
/// What stands in a template or in a list may be wrong for many devices: it is said once, for the first of them, and the
/// others are counted.
pub(crate) struct Report<'t> {
    pub(crate) source: Source<'t>,
    problems: Vec<Problem>,
    more: usize,
    /// Pieces of the text that several devices may use, in order.
    shared: Vec<Span>,
    /// The device that is looked at.
    user: Option<Span>,
    /// Problems of shared pieces, by place and message: which one, and how many devices have it beside the first.
    seen: HashMap<(Span, String), Option<usize>>,
    users: HashMap<usize, (Span, usize)>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(source: Source<'t>) -> Self {
        let (seen, users) = (HashMap::new(), HashMap::new());
        Report { source, problems: Vec::new(), more: 0, shared: Vec::new(), user: None, seen, users }
    }

    /// What follows is about the device whose name stands here.
    pub(crate) fn user(&mut self, device: Option<&Span>) {
        self.user = device.cloned();
    }

    /// A piece of the text that several devices may use.
    pub(crate) fn share(&mut self, piece: Span) {
        let at = self.shared.partition_point(|known| known.start < piece.start);
        self.shared.insert(at, piece);
    }

    /// A problem at `span`.
    pub(crate) fn at(&mut self, span: &Span, key: &str, fault: Fault) -> Reported {
        let show = if fault.secret { Show::Nothing } else { Show::Line };
        self.add(Some((span, show)), key, fault, None)
    }

    /// A problem of a key: its value is not shown.
    pub(crate) fn at_key(&mut self, span: &Span, key: &str, fault: Fault) -> Reported {
        self.add(Some((span, Show::Key)), key, fault, None)
    }

    /// A problem between two places; `note` says what the other one is.
    pub(crate) fn between(&mut self, span: &Span, key: &str, fault: Fault, other: &Span, note: &str) -> Reported {
        self.add(Some((span, Show::Line)), key, fault, Some((other, note)))
    }

    /// A problem of the whole file.
    pub(crate) fn whole(&mut self, key: &str, fault: Fault) -> Reported {
        self.add(None, key, fault, None)
    }

    fn add(&mut self, at: Option<(&Span, Show)>, key: &str, fault: Fault, other: Option<(&Span, &str)>) -> Reported {
        let user = at.zip(self.user.clone()).filter(|((span, _), _)| other.is_none() && self.is_shared(span));
        let next = (self.problems.len() < MAX_PROBLEMS).then_some(self.problems.len());
        if let Some(((span, _), user)) = user {
            let same = (span.clone(), fault.message.clone());
            if let Some(known) = self.seen.get(&same) {
                if let Some((_, others)) = known.and_then(|at| self.users.get_mut(&at)) {
                    *others += 1;
                }
                return Reported;
            }
            if self.seen.len() < MAX_COMPARED {
                self.seen.insert(same, next);
            }
            if let Some(next) = next {
                self.users.insert(next, (user, 0));
            }
        }
        if next.is_some() {
            let place = at.map(|(span, show)| self.source.place(span, show));
            let mut problem = Problem::new(self.source.path(), place, key, fault);
            problem.other = other.map(|(span, note)| self.other(span, note.to_owned()));
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
        Reported
    }

    fn other(&self, span: &Span, note: String) -> Other {
        let place = self.source.place(span, Show::Line);
        Other { file: place.file.to_path_buf(), place, note }
    }

    fn is_shared(&self, span: &Span) -> bool {
        let before = self.shared.partition_point(|piece| piece.start <= span.start);
        self.shared.get(..before).and_then(<[Span]>::last).is_some_and(|piece| span.start < piece.end)
    }

    /// The value, if nothing was found; else all that was found, in the order of the files.
    pub(crate) fn finish<T>(mut self, value: Checked<T>) -> Result<T, Problems> {
        if self.problems.is_empty() {
            match value {
                Ok(value) => return Ok(value),
                // Nobody may refuse a file without a word.
                Err(Reported) => {
                    self.whole("", Fault::new("the file was refused without a reason", "please report this"))
                }
            };
        }
        for (at, (span, others)) in std::mem::take(&mut self.users) {
            // A row of a list says enough by its place and its key, unless more than one device has it.
            if others == 0 && self.problems.get(at).is_some_and(|problem| problem.file != *self.source.path()) {
                continue;
            }
            let note = match others {
                0 => "for this device".to_owned(),
                1 => "for this device and another one".to_owned(),
                others => format!("for this device and {others} others"),
            };
            let other = self.other(&span, note);
            if let Some(problem) = self.problems.get_mut(at) {
                problem.other = Some(other);
            }
        }
        self.problems.sort_by(|a, b| a.place.cmp(&b.place));
        Err(Problems { list: self.problems, more: self.more })
    }
}

/// One line without control characters, and of a length that a log can bear.
fn tidy(text: &str) -> String {
    let mut tidy: String = text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        tidy.push('…');
    }
    tidy
}

/// ```text
/// error: uplink.retry_min: `20ms` is less than 100ms
///   --> /etc/lineside/lineside.toml:14:13
///    |
/// 14 | retry_min = "20ms"
///    |             ^^^^^^
///    = help: choose from 100ms to 1h
/// ```
struct Rendered<'p> {
    problem: &'p Problem,
    colours: bool,
}

const RED: &str = "1;31";
const BLUE: &str = "1;34";
const BOLD: &str = "1";

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, place, key, message, help, other } = self.problem;
        let colon = if key.is_empty() { "" } else { ": " };
        let lines = [place.as_ref(), other.as_ref().map(|other| &other.place)];
        let width = lines.iter().flatten().map(|place| place.line.to_string().len()).max().unwrap_or(1);
        let margin = " ".repeat(width);
        let bar = self.paint(BLUE, "|");

        let title = self.paint(BOLD, format!(": {key}{colon}{message}"));
        writeln!(f, "{}{title}", self.paint(RED, "error"))?;
        let arrow = self.paint(BLUE, "-->");
        match place {
            None => writeln!(f, "{margin}{arrow} {}", file.display())?,
            Some(place) => {
                writeln!(f, "{margin}{arrow} {}:{}:{}", file.display(), place.line, place.column)?;
                writeln!(f, "{margin} {bar}")?;
                self.excerpt(f, place, width, RED, '^', "")?;
            }
        }
        if let Some(Other { file, place, note }) = other {
            let dots = self.paint(BLUE, ":::");
            writeln!(f, "{margin}{dots} {}:{}:{}", file.display(), place.line, place.column)?;
            writeln!(f, "{margin} {bar}")?;
            self.excerpt(f, place, width, BLUE, '-', note)?;
        }
        writeln!(f, "{margin} {} {help}", self.paint(BLUE, "= help:"))
    }
}

impl Rendered<'_> {
    fn excerpt(
        &self,
        f: &mut fmt::Formatter<'_>,
        place: &Place,
        width: usize,
        colour: &str,
        mark: char,
        note: &str,
    ) -> fmt::Result {
        let Place { line, excerpt, marked: (from, to), .. } = place;
        let marks = self.paint(colour, mark.to_string().repeat(to - from));
        let bar = self.paint(BLUE, "|");
        let (before, note) = (" ".repeat(*from), self.paint(colour, note));
        writeln!(f, "{} {bar} {excerpt}", self.paint(BLUE, format!("{line:>width$}")))?;
        writeln!(f, "{}", format!("{:width$} {bar} {before}{marks} {note}", "").trim_end())
    }

    fn paint(&self, colour: &str, text: impl fmt::Display) -> String {
        let text = text.to_string();
        if self.colours && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_problems_than_a_person_reads_are_counted() {
        let mut report = Report::new(Source::new("a", Path::new("x.toml")));
        for _ in 0..MAX_PROBLEMS + 20 {
            report.whole("", Fault::new("no", "do not"));
        }
        let problems = report.finish(Ok(())).unwrap_err();
        assert_eq!((problems.list.len(), problems.more), (100, 20));
        assert!(problems.to_string().ends_with("120 problems in x.toml, the last 20 not shown"));
    }

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        let fault = Fault::new("a\x1b[2Jb\nc", "x".repeat(5000));
        let problem = Problem::new(Path::new("x.toml"), None, "", fault);
        assert_eq!(problem.message, "a [2Jb c");
        assert_eq!(problem.help.chars().count(), 401);
    }

    #[test]
    fn colours_are_only_colours() {
        let source = Source::new("a = 1\n", Path::new("x.toml"));
        let mut report = Report::new(source);
        report.between(&(4..5), "a", Fault::new("no", "do not"), &(0..1), "this");
        let problems = report.finish(Ok(())).unwrap_err();
        let coloured = problems.render(true);
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain += before;
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(plain + rest, problems.render(false));
        assert_ne!(coloured, problems.render(false));
    }
}
