//! Names of jobs that are derived from what they are made of: whoever is told of the same thing again finds the job.

use ring::digest;
use rollcall_shared::message::Job;

/// The longest part of a job's name that comes from a file's name.
const STEM: usize = 30;

/// A name with a readable part, of what is called `name`, and a hash of `parts`.
pub(super) fn derived_name(name: &str, parts: &[&str]) -> Option<Job> {
    let file = name.rsplit('/').next().unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    let readable: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(STEM).collect();
    let readable = readable.trim_matches('-');
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With its length, so that no two lists of parts are the same text.
        context.update(format!("{}:", part.len()).as_bytes());
        context.update(part.as_bytes());
    }
    let hash: String = context.finish().as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let readable = if readable.is_empty() { "file" } else { readable };
    format!("{readable}-{hash}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_for_the_same_parts_and_for_no_others() {
        let of = |file: &str, parts: &[&str]| derived_name(file, parts).unwrap().to_string();
        let one = of("risk/companies 2026.csv.gz", &["bucket", "key", "etag"]);
        assert!(one.starts_with("companies-2026-") && one.len() == "companies-2026-".len() + 24, "{one}");
        assert_eq!(one, of("risk/companies 2026.csv.gz", &["bucket", "key", "etag"]));
        for other in [&["bucket", "key", "etah"][..], &["bucketk", "ey", "etag"], &["bucket", "keyetag"]] {
            assert_ne!(one, of("risk/companies 2026.csv.gz", other));
        }
        for odd in ["", "...", "ä/ö", "---.csv", &"x".repeat(500)] {
            assert!(derived_name(odd, &[odd]).is_some(), "{odd}");
        }
    }
}
