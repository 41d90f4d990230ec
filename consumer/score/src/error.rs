//! Why a scorer cannot be used at all. Why a company could not be scored is a [`crate::ScoreError`].

use std::io;
use std::path::PathBuf;

/// Why a scorer could not be loaded or started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network's file is missing or can't be read.
    #[error("cannot read the network {}: {error}; name a readable file in BIF or XMLBIF", path.display())]
    UnreadableNetwork {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The network's file has too many bytes, packed or unpacked.
    #[error("expected {} to have at most {most} bytes; name a network, or a smaller one", path.display())]
    NetworkTooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that a file may have.
        most: u64,
    },
    /// The network's file is a known binary format, or gzip that cannot be unpacked.
    #[error("expected {} to be text in UTF-8, plain or in gzip, found {found}; {remedy}", path.display())]
    NetworkNotText {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The file holds no valid network.
    #[error("{}, line {}: {}", path.display(), error.line, error.message)]
    InvalidNetwork {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: ParseError,
    },
    /// The settings ask for no particles.
    #[error("expected at least 1 particle, found 0; ask for some, such as 1000")]
    NoParticles,
    /// The program of a command scorer cannot be started.
    #[error("cannot start the scorer {command:?}: {error}")]
    CannotStart {
        /// The program and its arguments.
        command: String,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The launcher cannot make the kernel kill it with the consumer.
    #[error("cannot make the scorer end with the consumer: {0}")]
    CannotTieToConsumer(#[source] io::Error),
    /// The consumer ended before its launcher had started the scorer.
    #[error("the consumer is gone; the scorer was not started")]
    ConsumerGone,
    /// The launcher cannot read its standard input.
    #[error("cannot read from the consumer: {0}")]
    CannotReadFromConsumer(#[source] io::Error),
    /// The launcher cannot execute the scorer's program.
    #[error("cannot execute the scorer {}: {error}", program.display())]
    CannotExecute {
        /// The program.
        program: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
}

/// What is wrong with a network file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected, what was found, and what to do; one line of text.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}
