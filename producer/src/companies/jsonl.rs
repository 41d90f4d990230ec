//! JSON Lines: one company a line, passed on unchanged.

use std::io::{self, BufRead, Read as _};
use std::iter;

use rollcall_shared::message::Reading as ReadOptions;

use super::bad_input::{Fault, Reason};
use super::columns::{DEFAULT_ID_COLUMN, asked_for};
use super::json_object;
use super::row::{Header, Row, Rows};

/// Reads every line of `text` that is not blank as a row.
pub(super) fn open(text: Box<dyn BufRead + Send>, options: &ReadOptions) -> (Header, Rows) {
    let id_field = options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN);
    let rows = JsonRows {
        lines: Lines { text, number: 0, line: Vec::new(), max_bytes: options.max_record_bytes as usize },
        id_field: id_field.to_owned(),
        chosen: options.columns.clone(),
        expected: asked_for(options).map(|(name, flag)| (name.to_owned(), flag)).collect(),
    };
    let header = Header { id_field: Some(id_field.to_owned()), ..Header::default() };
    (header, Box::new(rows.fuse()))
}

struct JsonRows {
    lines: Lines,
    id_field: String,
    /// The fields to keep beside that one; empty for all.
    chosen: Vec<String>,
    /// The fields that were asked for, with the flag that did so. The first row must have them; then this is empty.
    expected: Vec<(String, &'static str)>,
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
        let line = self.lines.line.trim_ascii_end();
        let fields = json_object::parse(line)?;
        if let Some((missing, flag)) = self.expected.drain(..).find(|(name, _)| !fields.contains_key(name)) {
            let reason = Reason::NoColumn { columns: fields.keys().cloned().collect(), flag };
            return Err(Fault::from(reason).in_field(&missing));
        }
        let id = json_object::id(line, &fields, &self.id_field)?;
        let record = if self.chosen.is_empty() { line.trim_ascii().to_owned() } else { self.choose(line)? };
        Ok(Row { number: None, line: Some(self.lines.number), id, record })
    }

    /// The chosen fields of an object, their values unchanged.
    fn choose(&self, line: &[u8]) -> Result<Vec<u8>, Fault> {
        let fields = json_object::literals(line)?.into_iter();
        let chosen = fields.filter(|(name, _)| *name == self.id_field || self.chosen.contains(name));
        let mut record = Vec::with_capacity(line.len());
        for ((name, literal), before) in chosen.zip(iter::once(b'{').chain(iter::repeat(b','))) {
            record.push(before);
            serde_json::to_writer(&mut record, &name).map_err(io::Error::from)?;
            record.push(b':');
            record.extend_from_slice(literal.get().as_bytes());
        }
        record.push(b'}');
        Ok(record)
    }
}

/// Reads lines one by one into one buffer, which never holds more than the longest line allowed.
struct Lines {
    text: Box<dyn BufRead + Send>,
    /// The 1-based number of the line read last.
    number: u64,
    line: Vec<u8>,
    max_bytes: usize,
}

impl Lines {
    /// Reads the next line that is not blank; `None` at the end.
    fn next_filled(&mut self) -> Result<Option<()>, Fault> {
        while self.read()? {
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    /// Reads the next line; false at the end.
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

    /// Skips the rest of a line; returns its length without the line feed.
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
