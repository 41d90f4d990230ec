//! The terminal that a bar is drawn on. The library draws in whoever changes the bar, and would hold them up where the terminal stands
//! still; so it draws into memory, and whole frames go to standard error as lines do, by a thread that alone waits for its reader.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use rollcall_shared::terminal::draw;
use rustix::termios::{Winsize, tcgetwinsize};

/// Of a terminal that does not tell its size: rows, columns.
const USUAL_SIZE: (u16, u16) = (24, 80);

/// Standard error as a screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The frame so far.
    frame: Mutex<String>,
}

impl Screen {
    fn add(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner).write_fmt(text).map_err(io::Error::other)
    }

    /// Moves the cursor by `n`; by 0, terminals move it by 1.
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.add(format_args!("\u{1b}[{n}{direction}")) }
    }
}

/// Rows and columns.
fn size() -> (u16, u16) {
    match tcgetwinsize(io::stderr()) {
        Ok(Winsize { ws_row, ws_col, .. }) if ws_row > 0 && ws_col > 0 => (ws_row, ws_col),
        _ => USUAL_SIZE,
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        size().1
    }

    fn height(&self) -> u16 {
        size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.add(format_args!("{line}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(format_args!("\r\u{1b}[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut *self.frame.lock().unwrap_or_else(PoisonError::into_inner));
        draw(frame.into_bytes());
        Ok(())
    }
}
