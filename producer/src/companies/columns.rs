//! The columns of a file that names them once for all its rows: CSV and Parquet.

use std::collections::HashMap;

use super::ReadOptions;
use super::bad_input::{Fault, Reason};

/// The column taken for ids where none is asked for.
pub(super) const DEFAULT_ID_COLUMN: &str = "company_id";

/// A column that is read.
pub(super) struct Column {
    /// Its place among the columns of the file.
    pub position: usize,
    pub name: String,
    /// The name as a JSON key, with the colon.
    pub key: Vec<u8>,
    pub holds_ids: bool,
}

/// Chooses, of the columns called `names`, those asked for and the one with the ids, in the order of the file; all of them where none
/// are asked for.
///
/// # Errors
/// A column that was asked for is not there; or one JSON object can't hold the chosen ones, since one has no name, or two the same.
pub(super) fn select(names: &[String], options: &ReadOptions) -> Result<Vec<Column>, Fault> {
    let id_name = options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN);
    for asked in &options.columns {
        refuse_missing(names, asked, "--columns")?;
    }
    if let Some(asked) = &options.id_column {
        refuse_missing(names, asked, "--id-column")?;
    }
    let is_chosen = |name: &String| options.columns.is_empty() || name == id_name || options.columns.contains(name);
    let chosen = names.iter().enumerate().filter(|(_, name)| is_chosen(name));
    let columns: Vec<Column> = chosen
        .map(|(position, name)| {
            let key = format!("{}:", serde_json::Value::from(name.as_str())).into();
            Column { position, name: name.clone(), key, holds_ids: name == id_name }
        })
        .collect();
    check_names(&columns)?;
    Ok(columns)
}

fn refuse_missing(names: &[String], asked: &str, flag: &'static str) -> Result<(), Fault> {
    if names.iter().any(|name| name == asked) {
        return Ok(());
    }
    Err(Fault::from(Reason::NoColumn { columns: names.to_vec(), flag }).in_field(asked))
}

fn check_names(columns: &[Column]) -> Result<(), Fault> {
    let mut seen = HashMap::new();
    for Column { position, name, .. } in columns {
        let number = position + 1;
        if name.is_empty() && number == 1 {
            return Err(Reason::UnnamedIndex.into());
        }
        if name.is_empty() {
            return Err(Reason::UnnamedColumn { position: number }.into());
        }
        if let Some(first) = seen.insert(name, number) {
            let reason = Reason::RepeatedColumn { first, second: number };
            return Err(Fault::from(reason).in_field(name));
        }
    }
    Ok(())
}
