//! The texts that are read, the configuration and its signal lists, and where a span of them stands: file, line, column,
//! and the piece of the line that a person is shown. What is wrong there is in [`crate::problem`].
//!
//! The texts lie one behind the other, as if they were one: a span alone says which file it is of.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

/// Bytes of the texts, as the parser counts them.
pub(crate) type Span = Range<usize>;

/// Most characters of a line that are shown, so that a file without line ends does not fill a log.
const SHOWN: usize = 120;
/// Characters shown before the marked ones where the line is longer than that.
const BEFORE: usize = 40;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The order in which the files are read.
    #[serde(skip)]
    index: usize,
    /// The file.
    #[serde(skip)]
    pub(crate) file: Arc<Path>,
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

/// The texts, the configuration first.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    files: Vec<File<'t>>,
}

/// One text, and the start of each of its lines.
#[derive(Debug)]
struct File<'t> {
    path: Arc<Path>,
    /// Where it begins among all.
    start: usize,
    text: &'t str,
    /// From its own start.
    lines: Vec<usize>,
}

impl<'t> File<'t> {
    fn new(text: &'t str, path: &Path, start: usize) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        File { path: path.into(), start, lines, text }
    }
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str, path: &Path) -> Self {
        Source { files: vec![File::new(text, path, 0)] }
    }

    /// Adds a text, and says where it begins.
    pub(crate) fn add(&mut self, text: &'t str, path: &Path) -> usize {
        // One byte between two texts: the end of one is not the start of the next.
        let start = self.files.last().map_or(0, |file| file.start + file.text.len() + 1);
        self.files.push(File::new(text, path, start));
        start
    }

    /// The configuration's own path.
    pub(crate) fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }

    /// The number of the file, from 0, that a span is of.
    pub(crate) fn index(&self, span: &Span) -> usize {
        self.files.partition_point(|file| file.start <= span.start).saturating_sub(1)
    }

    /// The text of a span, empty where there is none.
    pub(crate) fn text(&self, span: &Span) -> &'t str {
        let Some(file) = self.files.get(self.index(span)) else { return "" };
        let own = span.start - file.start..span.end.saturating_sub(file.start);
        file.text.get(own).unwrap_or_default()
    }

    pub(crate) fn place(&self, span: &Span, show: Show) -> Place {
        let index = self.index(span);
        let Some(File { path, start: base, text, lines }) = self.files.get(index) else {
            return Place { index, file: Path::new("").into(), line: 1, column: 1, excerpt: "".into(), marked: (0, 1) };
        };
        let span = span.start - base..span.end.saturating_sub(*base);
        let line = lines.partition_point(|start| *start <= span.start).max(1);
        let start = lines.get(line - 1).copied().unwrap_or_default();
        let rest = text.get(start..).unwrap_or_default();
        let whole = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let characters = |to: usize| text.get(start..to.min(start + whole.len())).map_or(0, |t| t.chars().count());
        let (from, to) = (characters(span.start), characters(span.end));
        let visible = match show {
            Show::Line => usize::MAX,
            Show::Key => to,
            Show::Nothing => from,
        };
        let (excerpt, cut) = excerpt(whole, from, visible);
        let shift = |at: usize| (at + usize::from(cut > 0)).saturating_sub(cut).min(excerpt.chars().count());
        let marked = (shift(from), shift(to).max(shift(from) + 1));
        Place { index, file: path.clone(), line, column: from + 1, excerpt: excerpt.into(), marked }
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
    fn ops06_a_span_says_which_file_it_is_of() {
        let mut source = Source::new("a = 1\n", Path::new("x.toml"));
        let start = source.add("name\nöl,7\n", Path::new("y.csv"));
        let at = start + "name\nöl,".len();
        let place = source.place(&(at..at + 1), Show::Line);
        assert_eq!((&*place.file, place.line, place.column), (Path::new("y.csv"), 2, 4));
        assert_eq!(source.text(&(at..at + 1)), "7");
        let end = source.place(&(6..6), Show::Line);
        assert_eq!((&*end.file, end.line), (Path::new("x.toml"), 2), "the end of the first text is not the second");
    }

    #[test]
    fn the_end_of_the_text_is_a_place_too() {
        let place = place("a =", 3..3, Show::Line);
        assert_eq!((place.line, place.column, place.marked), (1, 4, (3, 4)));
    }
}
