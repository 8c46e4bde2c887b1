//! The text of the file, and where a span of it stands: line, column, and the piece of the line that a person is
//! shown. What is wrong there is in [`crate::problem`].

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Bytes of the text, as the parser counts them.
pub(crate) type Span = Range<usize>;

/// Most characters of a line that are shown, so that a file without line ends does not fill a log.
const SHOWN: usize = 120;
/// Characters shown before the marked ones where the line is longer than that.
const BEFORE: usize = 40;

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is shown of the line: no control characters, no secrets, at most some hundred characters.
    #[serde(skip)]
    pub(crate) excerpt: Box<str>,
    /// The marked characters of the excerpt.
    #[serde(skip)]
    pub(crate) marked: (usize, usize),
}

/// How much of its line a place may show. What follows an unknown key may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// All of it.
    Line,
    /// What stands before the end of the span.
    Key,
    /// What stands before the span.
    Nothing,
}

/// The text and the start of each of its lines.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    pub(crate) path: PathBuf,
    text: &'t str,
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str, path: &Path) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Source { path: path.into(), text, lines: std::iter::once(0).chain(ends).collect() }
    }

    /// The text of a span, empty where there is none.
    pub(crate) fn text(&self, span: &Span) -> &'t str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(crate) fn place(&self, span: &Span, show: Show) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let whole = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let characters = |to: usize| self.text.get(start..to.min(start + whole.len())).map_or(0, |t| t.chars().count());
        let (from, to) = (characters(span.start), characters(span.end));
        let visible = match show {
            Show::Line => usize::MAX,
            Show::Key => to,
            Show::Nothing => from,
        };
        let (excerpt, cut) = excerpt(whole, from, visible);
        let shift = |at: usize| (at + usize::from(cut > 0)).saturating_sub(cut).min(excerpt.chars().count());
        let marked = (shift(from), shift(to).max(shift(from) + 1));
        Place { line, column: from + 1, excerpt: excerpt.into(), marked }
    }
}

/// The piece of `line` around character `at`, and how many characters were left out before it.
fn excerpt(line: &str, at: usize, visible: usize) -> (String, usize) {
    let length = line.chars().count();
    let cut = if length > SHOWN { at.saturating_sub(BEFORE) } else { 0 };
    let end = length.min(visible).min(cut + SHOWN);
    let piece = line.chars().skip(cut).take(end.saturating_sub(cut));
    let mut shown = String::from(if cut > 0 { "…" } else { "" });
    shown.extend(piece.map(|c| if c.is_control() { ' ' } else { c }));
    if end < length {
        shown.push('…');
    }
    (shown, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Span, show: Show) -> Place {
        Source::new(text, Path::new("x.toml")).place(&span, show)
    }

    #[test]
    fn lines_and_columns_are_counted_from_one_and_in_characters() {
        let text = "a = 1\r\nöä = \"x\"\n";
        let at = text.find("\"x\"").unwrap();
        let place = place(text, at..at + 3, Show::Line);
        assert_eq!((place.line, place.column), (2, 6));
        assert_eq!((&*place.excerpt, place.marked), ("öä = \"x\"", (5, 8)));
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let text = "password = \"hunter2\"";
        assert_eq!(&*place(text, 0..8, Show::Key).excerpt, "password…");
        assert_eq!(&*place(text, 11..20, Show::Nothing).excerpt, "password = …");
    }

    #[test]
    fn a_long_line_shows_the_part_around_the_place() {
        let text = format!("{}here{}", "x".repeat(5000), "y".repeat(5000));
        let place = place(&text, 5000..5004, Show::Line);
        let (from, to) = place.marked;
        let marked: String = place.excerpt.chars().skip(from).take(to - from).collect();
        assert_eq!((place.column, marked.as_str()), (5001, "here"));
        assert!(place.excerpt.chars().count() < 130);
    }

    #[test]
    fn the_end_of_the_text_is_a_place_too() {
        let place = place("a =", 3..3, Show::Line);
        assert_eq!((place.line, place.column, place.marked), (1, 4, (3, 4)));
    }
}
