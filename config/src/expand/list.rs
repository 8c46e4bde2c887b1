//! Signal lists: CSV files (RFC 4180) whose header names keys of `[[device.signal]]` and whose rows are signals. A row
//! becomes the table that it would be in the TOML file, each value with its place, so that one set of rules judges both.
//! Which device a list belongs to is known in [`super`].

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cell::Form;
use super::template::placeholders;
use super::texts::Texts;
use crate::MAX_SIGNALS;
use crate::problem::{Fault, Report};
use crate::shape::closest;
use crate::source::Span;

/// Most bytes of one cell. The longest that means anything is a list of raw values.
const MAX_CELL: usize = 1024;
/// The column that names the device, in a list for several.
pub(crate) const DEVICE: &str = "device";

/// The rows of one file.
#[derive(Default)]
pub(crate) struct List<'a> {
    /// As tables of the TOML file.
    pub(crate) rows: Vec<Spanned<DeValue<'a>>>,
    /// Where there is a column `device`: the rows of each device, and where it is named first.
    pub(crate) of_device: Option<HashMap<Cow<'a, str>, (Span, Vec<usize>)>>,
    /// The placeholders in it, for devices with a template.
    pub(crate) placeholders: BTreeSet<String>,
    /// Whether nothing was wrong.
    pub(crate) sound: bool,
}

enum Column<'a> {
    Key(&'a str, Form),
    Device,
    /// `#…`: for people.
    Comment,
    /// At the end of what a spreadsheet writes; must be empty.
    Unnamed,
}

#[derive(Clone)]
struct Cell<'a> {
    text: Cow<'a, str>,
    /// Of what is written, without spaces around it.
    span: Span,
}

/// Reads a list. `start` is where its text begins among all texts, `keys` are those of a signal, `path` is the key that
/// names it.
pub(crate) fn read<'a>(
    text: &'a str,
    start: usize,
    keys: &'a Map<String, Value>,
    texts: &'a Texts,
    path: &str,
    report: &mut Report<'_>,
) -> List<'a> {
    let mut reading = Reading { cells: Cells::new(text, start), path, report, sound: true };
    let mut list = List::default();
    let Some(columns) = reading.header(keys) else { return list };
    let commas = reading.cells.separator == b';';
    let device = columns.iter().any(|column| matches!(column, Column::Device));
    list.of_device = device.then(HashMap::new);
    let (mut numbers, mut later) = (String::new(), Vec::new());

    let mut row = Vec::with_capacity(columns.len());
    while reading.row(&mut row) {
        if row.iter().all(|cell| cell.text.is_empty()) || !reading.fits(&row, &columns) {
            continue;
        }
        if list.rows.len() == MAX_SIGNALS {
            let why = format!("the list has more than {MAX_SIGNALS} signals");
            reading.refuse(row.first(), Fault::new(why, "share them among several agents"));
            break;
        }
        let mut table = DeTable::new();
        let whole = row.first().map_or(0, |cell| cell.span.start)..row.last().map_or(0, |cell| cell.span.end);
        for (column, cell) in columns.iter().zip(row.drain(..)).filter(|(_, cell)| !cell.text.is_empty()) {
            match column {
                Column::Key(key, form) => {
                    if cell.text.contains("${") {
                        list.placeholders.extend(placeholders(&cell.text).flatten().map(str::to_owned));
                    }
                    if commas && form.has_numbers() && cell.text.contains(',') {
                        let from = numbers.len();
                        numbers.extend(cell.text.chars().map(|c| if c == ',' { '.' } else { c }));
                        later.push((list.rows.len(), *key, *form, from..numbers.len(), cell.span));
                        continue;
                    }
                    let value = Spanned::new(cell.span.clone(), form.read(cell.text, &cell.span));
                    table.insert(Spanned::new(cell.span, Cow::Borrowed(*key)), value);
                }
                Column::Device => {
                    let rows = list.of_device.get_or_insert_default();
                    rows.entry(cell.text).or_insert_with(|| (cell.span, Vec::new())).1.push(list.rows.len());
                }
                Column::Comment | Column::Unnamed => {}
            }
        }
        list.rows.push(Spanned::new(whole, DeValue::Table(table)));
    }
    decimal_commas(&mut list.rows, texts.add(numbers), later);
    if list.rows.is_empty() && reading.sound {
        reading.refuse(None, Fault::new("the list has a header and no signal", "add a row for each signal"));
    }
    list.sound = reading.sound;
    list
}

/// A German spreadsheet writes 0,1 where TOML has 0.1; the text with the point lies in `numbers`.
fn decimal_commas<'a>(
    rows: &mut [Spanned<DeValue<'a>>],
    numbers: Option<&'a str>,
    later: Vec<(usize, &'a str, Form, Span, Span)>,
) {
    for (row, key, form, range, span) in later {
        let text = numbers.and_then(|numbers| numbers.get(range)).unwrap_or_default();
        if let Some(DeValue::Table(table)) = rows.get_mut(row).map(Spanned::get_mut) {
            let value = Spanned::new(span.clone(), form.read(Cow::Borrowed(text), &span));
            table.insert(Spanned::new(span, Cow::Borrowed(key)), value);
        }
    }
}

struct Reading<'a, 'r, 't> {
    cells: Cells<'a>,
    path: &'r str,
    report: &'r mut Report<'t>,
    sound: bool,
}

impl<'a> Reading<'a, '_, '_> {
    /// A problem of a cell, or of the file's first line.
    fn refuse(&mut self, cell: Option<&Cell<'_>>, fault: Fault) {
        let start = self.cells.start;
        let span = cell.map_or(start..start, |cell| cell.span.clone());
        self.report.at(&span, self.path, fault);
        self.sound = false;
    }

    /// What the columns are. A header that is not understood ends the matter: each row would be wrong.
    fn header(&mut self, keys: &'a Map<String, Value>) -> Option<Vec<Column<'a>>> {
        let mut header = Vec::new();
        if !self.row(&mut header) || header.iter().all(|cell| cell.text.is_empty()) {
            let help = "begin it with a line of column names: name,register,type,order,unit";
            self.refuse(None, Fault::new("the list is empty", help));
            return None;
        }
        let mut columns: Vec<Column<'a>> = Vec::new();
        for (index, cell) in header.iter().enumerate() {
            let text: &str = &cell.text;
            if !text.is_empty() && header.iter().take(index).any(|other| other.text == cell.text) {
                self.refuse(Some(cell), Fault::new(format!("there are two columns `{text}`"), "keep one of them"));
            }
            columns.push(match keys.get_key_value(text) {
                Some((key, schema)) => Column::Key(key, Form::of(schema)),
                None if text == DEVICE => Column::Device,
                None if text.starts_with('#') => Column::Comment,
                None if text.is_empty() => Column::Unnamed,
                None => {
                    self.refuse(Some(cell), unknown(text, keys));
                    Column::Comment
                }
            });
        }
        let has = |name: &str| columns.iter().any(|column| matches!(column, Column::Key(key, _) if *key == name));
        if self.sound && !has("name") {
            let help = "name the column that holds the signals' names `name`; the first line holds the names";
            self.refuse(header.first(), Fault::new("there is no column `name`", help));
        } else if self.sound && !has("register") && !has("reference") {
            let why = "no column says where the signals lie";
            let help = "add a column `register` (holding:0), or `reference` (40001)";
            self.refuse(header.first(), Fault::new(why, help));
        }
        self.sound.then_some(columns)
    }

    /// Whether a row has what the header promises.
    fn fits(&mut self, row: &[Cell<'a>], columns: &[Column<'a>]) -> bool {
        let (cells, wanted) = (row.len(), columns.len());
        let separator = char::from(self.cells.separator);
        if cells != wanted {
            let place = row.get(wanted).or(row.last());
            let why = format!("this row has {cells} cells, and the header has {wanted}");
            let help = match cells > wanted {
                true => format!("put a text that holds `{separator}` in double quotes, or remove what is too much"),
                false => format!("add the missing `{separator}`: a key that is not given is an empty cell"),
            };
            self.refuse(place, Fault::new(why, help));
            return false;
        }
        for (column, cell) in columns.iter().zip(row) {
            let fault = match column {
                Column::Key("name", _) if cell.text.is_empty() => Fault::new("the name is missing", "fill in the cell `name`"),
                Column::Device if cell.text.is_empty() => {
                    Fault::new("the device is missing", "fill in the cell `device`, or remove the column")
                }
                Column::Unnamed if !cell.text.is_empty() => {
                    Fault::new("this column has no name", "name it in the first line, or empty it")
                }
                _ => continue,
            };
            self.refuse(Some(cell), fault);
            return false;
        }
        true
    }

    /// The next row, where there is one.
    fn row(&mut self, row: &mut Vec<Cell<'a>>) -> bool {
        row.clear();
        loop {
            match self.cells.next() {
                Next::Cell(cell, last) => {
                    row.push(cell);
                    if last {
                        return true;
                    }
                }
                Next::Quotes(cell) => {
                    let why = "the double quotes of this cell do not fit together";
                    let help = "a cell in quotes ends with one, and a quote inside is written twice: \"\"";
                    self.refuse(Some(&cell), Fault::new(why, help));
                    // What follows may have been meant as a part of it.
                    return false;
                }
                Next::Long(cell) => {
                    let why = format!("this cell has more than {MAX_CELL} bytes");
                    let help = "is a closing double quote missing? shorten it otherwise";
                    self.refuse(Some(&cell), Fault::new(why, help));
                    return false;
                }
                Next::End => return false,
            }
        }
    }
}

fn unknown(column: &str, keys: &Map<String, Value>) -> Fault {
    let known = || keys.keys().map(String::as_str);
    let help = match closest(column, known()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let known = known().collect::<Vec<_>>().join(", ");
            format!("remove it, or let it begin with # if it is a comment; known are {known}, device")
        }
    };
    match crate::later::knows("device.signal", column) {
        true => crate::later::fault(column, "remove the column"),
        false => Fault::new(format!("`{column}` is no key of a signal"), help),
    }
}

/// The cells of a text, one after the other.
struct Cells<'a> {
    reader: Reader,
    separator: u8,
    text: &'a str,
    start: usize,
    at: usize,
    first: bool,
}

enum Next<'a> {
    /// A cell, and whether it is the last of its row.
    Cell(Cell<'a>, bool),
    Quotes(Cell<'a>),
    Long(Cell<'a>),
    End,
}

impl<'a> Cells<'a> {
    fn new(text: &'a str, start: usize) -> Self {
        let header = text.lines().next().unwrap_or_default();
        // No key holds either of them, so what stands in the header is the separator.
        let count = |separator: u8| header.bytes().filter(|b| *b == separator).count();
        let separator = if count(b';') > count(b',') { b';' } else { b',' };
        Cells { reader: ReaderBuilder::new().delimiter(separator).build(), separator, text, start, at: 0, first: true }
    }

    fn next(&mut self) -> Next<'a> {
        let bytes = self.text.as_bytes();
        if self.first {
            // Between two rows the reader passes over line ends by itself: the cell begins behind them.
            while bytes.get(self.at).is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                self.at += 1;
            }
        }
        let from = self.at;
        let (mut buffer, mut filled) = ([0; MAX_CELL], 0);
        let last = loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let (result, read, wrote) = self.reader.read_field(rest, buffer.get_mut(filled..).unwrap_or_default());
            self.at += read;
            filled += wrote;
            match result {
                ReadFieldResult::Field { record_end } => break record_end,
                ReadFieldResult::OutputFull => return Next::Long(self.cell(from, from + 1)),
                ReadFieldResult::End => return Next::End,
                // Asked again with nothing left, the reader ends the cell.
                ReadFieldResult::InputEmpty => {}
            }
        };
        self.first = last;
        let consumed = self.text.get(from..self.at).unwrap_or_default();
        let raw = match last {
            true => consumed.trim_end_matches(['\r', '\n']),
            false => consumed.strip_suffix(char::from(self.separator)).unwrap_or(consumed),
        };
        let mut cell = self.cell(from, from + raw.len());
        let Some(inner) = raw.strip_prefix('"') else { return Next::Cell(cell, last) };
        let Some(inner) = inner.trim_end().strip_suffix('"') else { return Next::Quotes(cell) };
        cell.text = match inner.contains('"') {
            false => Cow::Borrowed(inner.trim()),
            true if inner.replace("\"\"", "").contains('"') => return Next::Quotes(cell),
            true => Cow::Owned(inner.trim().replace("\"\"", "\"")),
        };
        Next::Cell(cell, last)
    }

    /// What stands there, without spaces around it.
    fn cell(&self, from: usize, to: usize) -> Cell<'a> {
        let raw = self.text.get(from..to).unwrap_or_default();
        let text = raw.trim();
        let from = self.start + from + (raw.len() - raw.trim_start().len());
        Cell { text: Cow::Borrowed(text), span: from..from + text.len() }
    }
}
