//! Which columns of a CSV or Parquet file are read, and which one holds the ids.

use std::collections::HashMap;

use rollcall_shared::message::Reading as ReadOptions;

use super::bad_input::{Fault, Reason};

/// The column that holds the ids if none is asked for.
pub(super) const DEFAULT_ID_COLUMN: &str = "company_id";

/// A column that is read.
pub(super) struct Column {
    /// Its 0-based position among the columns of the file.
    pub position: usize,
    pub name: String,
    /// The name as a JSON key, with the colon.
    pub key: Vec<u8>,
    pub holds_ids: bool,
}

/// Chooses from the columns called `names` those asked for and the one with the ids, in file order; all of them if none are asked
/// for.
///
/// # Errors
/// A column that was asked for is missing, or a chosen one has no name, or the name of another: one JSON object cannot hold both.
pub(super) fn select(names: &[String], options: &ReadOptions) -> Result<Vec<Column>, Fault> {
    let id_name = options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN);
    for (asked, flag) in asked_for(options) {
        if !names.iter().any(|name| name == asked) {
            return Err(Fault::from(Reason::NoColumn { columns: names.to_vec(), flag }).in_field(asked));
        }
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

/// The columns that were asked for, each with the flag that did so.
pub(super) fn asked_for(options: &ReadOptions) -> impl Iterator<Item = (&str, &'static str)> {
    let columns = options.columns.iter().map(|name| (name.as_str(), "--columns"));
    columns.chain(options.id_column.iter().map(|name| (name.as_str(), "--id-column")))
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
