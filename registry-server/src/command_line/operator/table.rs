//! [`Table`]: rows for a terminal, with aligned columns, or for a program, with tabs between them.

use crate::printable;
use std::io::{self, IsTerminal as _, Write};

/// Number of rows that are aligned together. A later group of rows is at least as wide.
const GROUP: usize = 1000;

/// Rows that are printed to standard output. Dropping it prints the rows that are left, so that a command that fails shows
/// what it did before.
pub(super) struct Table<W: Write = io::Stdout> {
    columns: &'static [Column],
    style: Style,
    out: W,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
    begun: bool,
}

/// Column with its heading.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Text(&'static str),
    /// Aligned to the right.
    Number(&'static str),
}

/// Form of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For people at a terminal.
    Aligned,
    /// Without headings, with exact numbers.
    Plain,
}

/// A value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Text(String),
    Count(u64),
    Bytes(u64),
    None,
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Text(heading) | Self::Number(heading) => heading,
        }
    }
}

impl Table {
    /// Begins a table on standard output: aligned if that is a terminal.
    pub(super) fn new(columns: &'static [Column]) -> Self {
        let style = match io::stdout().is_terminal() {
            true => Style::Aligned,
            false => Style::Plain,
        };
        Self::to(io::stdout(), style, columns)
    }
}

impl<W: Write> Table<W> {
    fn to(out: W, style: Style, columns: &'static [Column]) -> Self {
        Self {
            columns,
            style,
            out,
            rows: Vec::new(),
            widths: columns.iter().map(|column| column.heading().len()).collect(),
            begun: false,
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> io::Result<()> {
        let cells = cells.into_iter().map(|cell| cell.shown(self.style)).collect();
        self.rows.push(cells);
        if self.rows.len() < GROUP && self.style == Style::Aligned {
            return Ok(());
        }
        self.print()
    }

    /// Prints the rows that are left.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.print()?;
        self.out.flush()
    }

    fn print(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if self.style == Style::Plain {
            for row in rows {
                writeln!(self.out, "{}", row.join("\t"))?;
            }
            return Ok(());
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if !self.begun && !rows.is_empty() && self.columns.len() > 1 {
            let headings = self.columns.iter().map(|column| column.heading().to_owned());
            let line = self.aligned(headings);
            writeln!(self.out, "{line}")?;
            self.begun = true;
        }
        for row in rows {
            let line = self.aligned(row);
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    fn aligned(&self, row: impl IntoIterator<Item = String>) -> String {
        let mut line = String::new();
        for ((cell, column), width) in row.into_iter().zip(self.columns).zip(&self.widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match column {
                Column::Text(_) => line.push_str(&format!("{cell:<width$}")),
                Column::Number(_) => line.push_str(&format!("{cell:>width$}")),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl<W: Write> Drop for Table<W> {
    fn drop(&mut self) {
        // The command has failed already.
        _ = self.finish();
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn shown(self, style: Style) -> String {
        match self {
            Self::Text(text) => printable::Line(text).to_string(),
            Self::Count(number) => number.to_string(),
            Self::Bytes(bytes) if style == Style::Aligned => size(bytes),
            Self::Bytes(bytes) => bytes.to_string(),
            Self::None => "-".to_owned(),
        }
    }
}

/// Returns a size for people, with three digits.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The number of whole units fits into the tenths of the unit below.
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    match tenths {
        ..1000 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::Text("NAME"), Column::Number("SIZE"), Column::Text("OF")];

    fn printed(style: Style) -> String {
        let mut out = Vec::new();
        let mut table = Table::to(&mut out, style, COLUMNS);
        for (name, bytes, of) in [
            ("a/long/name", 5, Cell::None),
            ("b\u{202e}", 1536, Cell::text("x")),
        ] {
            table.row([Cell::text(name), Cell::Bytes(bytes), of]).unwrap();
        }
        table.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_columns_and_programs_see_exact_numbers() {
        assert_eq!(
            printed(Style::Aligned),
            "NAME            SIZE  OF\na/long/name      5 B  -\nb\\u{202e}    1.5 KiB  x\n"
        );
        assert_eq!(printed(Style::Plain), "a/long/name\t5\t-\nb\\u{202e}\t1536\tx\n");
    }

    #[test]
    fn rows_are_printed_also_if_the_command_fails() {
        let mut out = Vec::new();
        let mut table = Table::to(&mut out, Style::Aligned, &[Column::Text("NAME")]);
        table.row([Cell::text("a")]).unwrap();

        drop(table);

        assert_eq!(String::from_utf8(out).unwrap(), "a\n");
    }

    #[test]
    fn sizes_have_a_unit_in_which_they_are_small() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1023 KiB"),
            (5 << 20, "5.0 MiB"),
            (150 << 30, "150 GiB"),
            (u64::MAX, "1638 PiB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }
}
