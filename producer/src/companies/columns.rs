//! The columns of a file that names them once for all its rows: CSV and Parquet.

use std::collections::HashMap;

use super::bad_input::{Fault, Reason};

/// The column taken for ids where none is asked for.
pub(super) const DEFAULT_ID_COLUMN: &str = "company_id";

/// Refuses columns that one JSON object can't hold: without a name, or with the same one.
pub(super) fn check_names(columns: &[String]) -> Result<(), Fault> {
    let mut seen = HashMap::new();
    for (name, position) in columns.iter().zip(1..) {
        if name.is_empty() {
            return Err(Reason::UnnamedColumn { position }.into());
        }
        if let Some(first) = seen.insert(name, position) {
            let reason = Reason::RepeatedColumn { first, second: position };
            return Err(Fault::from(reason).in_field(name));
        }
    }
    Ok(())
}

/// Where the ids stand among `columns`; nowhere is an error only if a column was asked for.
pub(super) fn find_id(columns: &[String], asked: Option<&str>) -> Result<Option<usize>, Fault> {
    let name = asked.unwrap_or(DEFAULT_ID_COLUMN);
    let found = columns.iter().position(|column| column == name);
    if found.is_none() && asked.is_some() {
        let reason = Reason::NoIdColumn { columns: columns.to_vec() };
        return Err(Fault::from(reason).in_field(name));
    }
    Ok(found)
}
