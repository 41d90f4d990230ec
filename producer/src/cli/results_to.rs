//! Where a gateway writes the results of a job, as a flag or a configuration gives it.

use std::path::Path;
use std::str::FromStr;

use rollcall_shared::message::{Job, Model};

use crate::destination::{Layout, refuse_web};
use crate::error::ProducerError;
use crate::location::Location;

/// A path or a URL in which `{job}`, `{model}` and `{name}` are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsTo(String);

/// Text that does not tell where results go.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a path or a URL for results, such as s3://bucket/{{job}}.parquet, found {found:?}: {why}")]
pub struct BadResultsTo {
    found: String,
    why: String,
}

impl FromStr for ResultsTo {
    type Err = BadResultsTo;

    fn from_str(text: &str) -> Result<ResultsTo, BadResultsTo> {
        let bad = |why: String| BadResultsTo { found: text.to_owned(), why };
        let example = replaced(text, "job", "model", "name").map_err(bad)?;
        match example.parse::<Location>() {
            Ok(Location::Standard) => Err(bad("standard output is not kept".to_owned())),
            Ok(location) if Layout::of(&location, None).is_none() => {
                Err(bad("its name tells no format; let it end in .parquet, .csv or .jsonl".to_owned()))
            }
            Ok(location) => {
                refuse_web(&location).map_err(|error| bad(error.to_string()))?;
                Ok(ResultsTo(text.to_owned()))
            }
            Err(error) => Err(bad(error.to_string())),
        }
    }
}

impl ResultsTo {
    /// All places that it can be: that one, if it has no placeholder, or the folder that has all of them, with `/` at its end.
    pub(crate) fn within(&self) -> &str {
        match self.0.split_once('{') {
            None => &self.0,
            Some((before, _)) => &before[..before.rfind('/').map_or(0, |slash| slash + 1)],
        }
    }

    /// A path that is relative to `folder`.
    pub(crate) fn in_folder(self, folder: &Path) -> ResultsTo {
        match self.0.parse() {
            Ok(Location::Path(path)) => ResultsTo(folder.join(path).to_string_lossy().into_owned()),
            _ => self,
        }
    }

    /// The place for the results of a job whose companies come from `source`.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] if that is none.
    pub(crate) fn of_job(&self, job: &Job, model: &Model, source: &str) -> Result<String, ProducerError> {
        let place = replaced(&self.0, job.as_str(), model.as_str(), &stem(source));
        place.map_err(|why| ProducerError::Usage(format!("expected a place for results, found {:?}: {why}", self.0)))
    }
}

fn replaced(text: &str, job: &str, model: &str, name: &str) -> Result<String, String> {
    let mut place = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        place += before;
        let (word, after) = after.split_once('}').ok_or("a { without a }")?;
        place += match word {
            "job" => job,
            "model" => model,
            "name" => name,
            other => return Err(format!("{{{other}}} is none of {{job}}, {{model}} and {{name}}")),
        };
        rest = after;
    }
    Ok(place + rest)
}

/// The name of a file without its folder and its extensions, of which only what is harmless in a path and a URL is kept.
fn stem(source: &str) -> String {
    let name = source.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("file");
    stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_job_take_the_places_that_are_kept_for_them() {
        let of = |template: &str, source: &str| {
            let to: ResultsTo = template.parse().unwrap();
            to.of_job(&"j-1".parse().unwrap(), &"risk".parse().unwrap(), source).unwrap()
        };
        assert_eq!(of("s3://out/{model}/{job}.parquet", "x"), "s3://out/risk/j-1.parquet");
        assert_eq!(of("out/{name}-{job}.csv.gz", "s3://in/a/b c.d.csv.gz"), "out/b_c-j-1.csv.gz");
        assert_eq!(of("out/{name}.csv", "../..%2f"), "out/file.csv");
        for (template, within) in [
            ("s3://out/{job}.csv", "s3://out/"),
            ("/out/a-{job}/{name}.csv", "/out/"),
            ("/out/latest.csv", "/out/latest.csv"),
            ("{job}.csv", ""),
        ] {
            assert_eq!(template.parse::<ResultsTo>().unwrap().within(), within);
        }
        for bad in
            ["-", "https://host/{job}.csv", "out/{job}", "out/{jb}.csv", "out/{job.csv", "ftp://x/{job}.csv", "s3://bucket"]
        {
            let error = bad.parse::<ResultsTo>().unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
