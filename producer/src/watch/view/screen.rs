//! The terminal on which the bar is drawn. indicatif draws on the thread that changes the bar, which would block while the terminal does
//! not read. So it draws into memory here, and whole frames go to standard error like log lines, on a thread of their own.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use rollcall_shared::terminal::draw;
use rustix::termios::{Winsize, tcgetwinsize};

/// Rows and columns of a terminal that does not report its size.
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// Standard error as a screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// What is drawn of the frame so far.
    frame: Mutex<String>,
}

impl Screen {
    fn add(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner).write_fmt(text).map_err(io::Error::other)
    }

    /// Moves the cursor by `n`. Terminals take 0 for 1, so 0 is left out.
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.add(format_args!("\u{1b}[{n}{direction}")) }
    }
}

/// The terminal's rows and columns.
fn size() -> (u16, u16) {
    match tcgetwinsize(io::stderr()) {
        Ok(Winsize { ws_row, ws_col, .. }) if ws_row > 0 && ws_col > 0 => (ws_row, ws_col),
        _ => DEFAULT_SIZE,
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
