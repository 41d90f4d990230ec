//! What can be wrong with a network file. Every module that reads one says it in these terms.

/// What is wrong with a network, and the line (from 1) where it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What was expected, what was found, and what to do; one line of text.
    pub message: String,
}

impl Fault {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}
