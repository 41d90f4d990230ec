//! Strict quoting for CSV: passes bytes on unchanged, up to the first that RFC 4180 does not allow.
//!
//! It also ends a record that is too long, as one with an unclosed quote is, before all of it is in memory, and knows the line on
//! which each record starts. It splits no fields.

use std::io::{self, BufRead, Read};

use super::super::bad_input::{Fault, Reason};
use super::delimiter::Delimited;

/// Gives at most one record with every read, so that [`QuoteCheck::record_line`] belongs to the record that was read last.
pub(super) struct QuoteCheck<B> {
    bytes: B,
    scanner: Scanner,
    /// Found behind good bytes, which are given first.
    fault: Option<Fault>,
}

impl QuoteCheck<Box<dyn BufRead + Send>> {
    /// Checks `text`, in which no record may be longer than `max_record_bytes`.
    pub fn new(Delimited { delimiter, first_line, text }: Delimited, max_record_bytes: usize) -> Self {
        Self { bytes: text, scanner: Scanner::new(delimiter, first_line, max_record_bytes), fault: None }
    }
}

impl<B: BufRead> QuoteCheck<B> {
    /// The 1-based line that the record read last starts on.
    pub fn record_line(&self) -> u64 {
        self.scanner.record_line
    }
}

impl<B: BufRead> Read for QuoteCheck<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let bytes = self.bytes.fill_buf()?;
        if bytes.is_empty() {
            self.scanner.finish()?;
        }
        let bytes = &bytes[..bytes.len().min(out.len())];
        let (good, outcome) = self.scanner.scan(bytes);
        out[..good].copy_from_slice(&bytes[..good]);
        self.bytes.consume(good);
        match outcome {
            Err(fault) if good == 0 => Err(fault.into()),
            Err(fault) => {
                self.fault = Some(fault);
                Ok(good)
            }
            Ok(()) => Ok(good),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote in a quoted field: it ends the field, unless a second one follows, which makes the two a literal quote.
    QuoteInQuoted,
}

struct Scanner {
    delimiter: u8,
    /// Which bytes can end a field, a line or a quoted section.
    is_mark: [bool; 256],
    state: State,
    line: u64,
    /// The last byte of the previous chunk.
    last: u8,
    record_line: u64,
    quote_line: u64,
    record_bytes: usize,
    max_record_bytes: usize,
}

impl Scanner {
    fn new(delimiter: u8, first_line: u64, max_record_bytes: usize) -> Self {
        let mut is_mark = [false; 256];
        [delimiter, b'"', b'\r', b'\n'].iter().for_each(|&mark| is_mark[usize::from(mark)] = true);
        Self {
            delimiter,
            is_mark,
            state: State::RecordStart,
            line: first_line,
            last: 0,
            record_line: first_line,
            quote_line: first_line,
            record_bytes: 0,
            max_record_bytes,
        }
    }

    /// How many of `bytes` are good, at most up to the end of a record, and the error at the byte behind them, if there is one.
    fn scan(&mut self, bytes: &[u8]) -> (usize, Result<(), Fault>) {
        let (mut position, mut outcome) = (0, Ok(()));
        while position < bytes.len() {
            position += self.skip_plain(&bytes[position..]);
            let Some(&byte) = bytes.get(position) else { break };
            let inside = self.state != State::RecordStart;
            if let Err(fault) = self.step(byte) {
                outcome = Err(fault);
                break;
            }
            // A carriage return alone ends a line in files of old Macs.
            if byte == b'\r' || (byte == b'\n' && position.checked_sub(1).map_or(self.last, |before| bytes[before]) != b'\r') {
                self.line += 1;
            }
            position += 1;
            if inside && self.state == State::RecordStart {
                break;
            }
        }
        self.last = position.checked_sub(1).map_or(self.last, |last| bytes[last]);
        (position, outcome)
    }

    /// Counts the bytes at the beginning that do not change the state, as most inside a field; stops at the longest record
    /// allowed.
    fn skip_plain(&mut self, bytes: &[u8]) -> usize {
        if !matches!(self.state, State::Unquoted | State::Quoted) {
            return 0;
        }
        let room = bytes.len().min(self.max_record_bytes.saturating_sub(self.record_bytes));
        let plain = bytes[..room].iter().position(|&byte| self.is_mark[usize::from(byte)]).unwrap_or(room);
        self.record_bytes += plain;
        plain
    }

    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        let next = self.next_state(byte)?;
        if self.state == State::RecordStart {
            self.record_line = self.line;
            self.record_bytes = 0;
        }
        if next == State::Quoted && self.state != State::Quoted {
            self.quote_line = self.line;
        }
        if next != State::RecordStart {
            self.record_bytes += 1;
        }
        if self.record_bytes > self.max_record_bytes {
            let reason = Reason::Endless { limit: self.max_record_bytes };
            return Err(Fault::from(reason).on_line(self.record_line));
        }
        self.state = next;
        Ok(())
    }

    fn next_state(&self, byte: u8) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Quoted, b'"') => Ok(State::QuoteInQuoted),
            (State::Quoted, _) | (State::QuoteInQuoted, b'"') => Ok(State::Quoted),
            (_, b'\n' | b'\r') => Ok(State::RecordStart),
            (_, byte) if byte == self.delimiter => Ok(State::FieldStart),
            (State::RecordStart | State::FieldStart, b'"') => Ok(State::Quoted),
            (State::Unquoted, b'"') => Err(Fault::from(Reason::QuoteInside).on_line(self.line)),
            (State::QuoteInQuoted, _) => {
                let reason = Reason::TextAfterQuote { delimiter: self.delimiter };
                Err(Fault::from(reason).on_line(self.line))
            }
            (State::RecordStart | State::FieldStart | State::Unquoted, _) => Ok(State::Unquoted),
        }
    }

    fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Quoted => Err(Fault::from(Reason::UnclosedQuote).on_line(self.quote_line)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn commas(text: impl BufRead + Send + 'static) -> Delimited {
        Delimited { delimiter: b',', first_line: 1, text: Box::new(text) }
    }

    fn check(text: &[u8], chunk_bytes: usize) -> (Vec<u8>, Option<String>) {
        let mut passed = Vec::new();
        let bytes = BufReader::with_capacity(chunk_bytes, Cursor::new(text.to_vec()));
        let outcome = QuoteCheck::new(commas(bytes), 1000).read_to_end(&mut passed);
        (passed, outcome.err().map(|error| error.to_string()))
    }

    #[test]
    fn good_bytes_are_handed_out_before_the_fault_behind_them() {
        for chunk_bytes in [1, 4, 100] {
            let (passed, fault) = check(b"a,b\n1,\"2\"x\n", chunk_bytes);
            assert_eq!(passed, b"a,b\n1,\"2\"");
            assert!(fault.is_some_and(|fault| fault.contains("after a closing quote")));
        }
    }

    #[test]
    fn one_read_never_goes_beyond_one_record() {
        let mut records = QuoteCheck::new(commas(&b"\n\na\n\"b\n\"\r\nc"[..]), 1000);
        let mut lines = Vec::new();
        let mut out = [0; 100];
        for record in ["\n\na\n", "\"b\n\"\r", "\nc"] {
            let read = records.read(&mut out).unwrap();
            assert_eq!(str::from_utf8(&out[..read]).unwrap(), record);
            lines.push(records.record_line());
        }
        assert_eq!(lines, [3, 4, 6]);
    }

    proptest! {
        #[test]
        fn csv_that_is_well_quoted_passes_unchanged(
            rows in vec(vec("[\",\r\na]{0,5}", 1..4), 0..10),
            chunk_bytes in 1..20_usize,
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            prop_assert_eq!(check(&text, chunk_bytes), (text, None));
        }
    }
}
