//! The output of a benchmark: a table on standard output, and the same figures with all that they depend on as JSON in
//! `target/bench/<name>.json`.

use std::fs;
use std::path::PathBuf;

use rollcall_shared::message::Timestamp;
use serde_json::{Value, json};

use crate::machine;

/// The number of companies of a benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub companies: u32,
    full: u32,
}

impl Size {
    /// The full size, unless `BENCH_COMPANIES` is set.
    pub fn from_environment(full: u32) -> Size {
        Size { companies: number("BENCH_COMPANIES").unwrap_or(full), full }
    }

    /// Whether this is the full size, at which figures may be compared.
    pub fn is_full(self) -> bool {
        self.companies == self.full
    }

    /// For the head of a table.
    pub fn in_words(self) -> String {
        let trial = if self.is_full() { String::new() } else { format!(" (a TRIAL: the full size is {})", self.full) };
        format!("{} companies{trial}", self.companies)
    }
}

/// A number from the environment; `None` if the variable is unset or empty.
pub fn number(variable: &str) -> Option<u32> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("expected a whole number in {variable}, found {text:?}")))
}

/// Prints the head of a benchmark's table.
pub fn print_head(title: &str, settings: &[String]) {
    println!("{title}");
    println!("{}", machine::in_words());
    if machine::is_changed() {
        println!("a working tree that is CHANGED since its commit, {}", machine::commit());
    }
    settings.iter().for_each(|line| println!("{line}"));
    println!();
}

/// Prints a table. The first column is text, the others are figures.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).chain([head[column].chars().count()]).max().unwrap_or(0))
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        println!("{}", padded.collect::<Vec<_>>().join("  "));
    };
    line(head.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
    println!();
}

/// Writes the figures, and what they depend on.
pub fn write(name: &str, settings: Value, figures: Value) {
    let mut report = json!({ "benchmark": name, "date": Timestamp::now() });
    for (key, value) in [("settings", settings), ("figures", figures), ("ran_on", machine::json())] {
        report[key] = value;
    }
    let file = folder().join(format!("{name}.json"));
    fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&report).unwrap())).unwrap();
    println!("{}", file.display());
}

/// `target/bench`: this program is in `target/release/deps`.
fn folder() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(3).unwrap().join("bench");
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}
