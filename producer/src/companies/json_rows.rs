//! JSON Lines: one company a line, passed on as it stands.

use std::io::{self, BufRead, Read as _};

use super::ReadOptions;
use super::bad_input::{Fault, Reason};
use super::columns::DEFAULT_ID_COLUMN;
use super::json_object;
use super::table::{Row, Table};

/// Takes every line of `text` for a row, and the fields each one names as they come.
pub(super) fn open(text: Box<dyn BufRead + Send>, options: &ReadOptions) -> Table {
    let id_field = options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN);
    let rows = JsonRows {
        lines: Lines { text, number: 0, line: Vec::new(), max_bytes: options.max_record_bytes },
        id_field: id_field.to_owned(),
        id_expected: options.id_column.is_some(),
    };
    Table::new(Vec::new(), Some(id_field.to_owned()), rows)
}

struct JsonRows {
    lines: Lines,
    id_field: String,
    /// Whether the id field was asked for and no row has been read yet.
    id_expected: bool,
}

impl Iterator for JsonRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.lines.next_filled().transpose()?;
        let row = read.and_then(|()| self.row());
        Some(row.map_err(|fault| fault.on_line(self.lines.number)))
    }
}

impl JsonRows {
    fn row(&mut self) -> Result<Row, Fault> {
        let fields = json_object::parse(self.lines.line.trim_ascii_end())?;
        if self.id_expected && !fields.contains_key(&self.id_field) {
            let reason = Reason::NoIdColumn { columns: fields.keys().cloned().collect() };
            return Err(Fault::from(reason).in_field(&self.id_field));
        }
        self.id_expected = false;
        let id = json_object::id(&fields, &self.id_field)?;
        let record = self.lines.line.trim_ascii().to_owned();
        Ok(Row { line: Some(self.lines.number), id, record })
    }
}

/// Lines one by one in one buffer, which never holds more than the longest line allowed.
struct Lines {
    text: Box<dyn BufRead + Send>,
    /// The 1-based number of the last line read.
    number: u64,
    line: Vec<u8>,
    max_bytes: usize,
}

impl Lines {
    /// Reads the next line that is not blank, if there is one.
    fn next_filled(&mut self) -> Result<Option<()>, Fault> {
        while self.read()? {
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<bool, Fault> {
        const LINE_BREAK: &[u8] = b"\r\n";
        let limit = self.max_bytes.saturating_add(LINE_BREAK.len());
        self.line.clear();
        let read = (&mut self.text).take(limit as u64).read_until(b'\n', &mut self.line)?;
        if read > 0 {
            self.number += 1;
        }
        if read == limit && !self.line.ends_with(b"\n") {
            let bytes = read + self.skip_line()?;
            return Err(Reason::TooLong { bytes, limit: self.max_bytes }.into());
        }
        Ok(read > 0)
    }

    /// Skips the rest of a line; says how long that was, without its line feed.
    fn skip_line(&mut self) -> io::Result<usize> {
        let mut skipped = 0;
        loop {
            let bytes = self.text.fill_buf()?;
            let (line, end) = match bytes.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at, at + 1),
                None => (bytes.len(), bytes.len()),
            };
            let over = line < end || end == 0;
            skipped += line;
            self.text.consume(end);
            if over {
                return Ok(skipped);
            }
        }
    }
}
