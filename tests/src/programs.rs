//! The programs under test, built from the current sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::environment::project;
use crate::report::give_up;

/// The folder of `producer`, `consumer` and `aggregator`. The first call builds what is not up to date; if that fails, it ends the test
/// process.
pub(crate) fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build)
}

/// Builds the programs with the profile and into the target folder of this test, as `make build` does; if they are up to date, Cargo
/// finds that out within a fraction of a second. Returns their folder.
fn build() -> PathBuf {
    // target/<profile>/deps/<this test>-<hash>
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let (target, profile) = (folder.parent().unwrap(), profile(folder));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bins", "--profile", profile, "--target-dir"]).arg(target).current_dir(project());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_package(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    match cargo.status() {
        Ok(status) if status.success() => folder.to_owned(),
        Ok(status) => {
            give_up(&format!("cannot build the programs under test: `cargo build --bins --profile {profile}`: {status}"))
        }
        Err(error) => {
            give_up(&format!("cannot build the programs under test: cannot run {}: {error}", cargo.get_program().display()))
        }
    }
}

/// Whether Cargo sets a variable for the package whose test this is. The build script of `ring` runs again if one of them changes, and
/// then nearly everything is compiled again, here and at the next build outside of a test.
fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// The profile that builds into a folder: only that of the profile `dev` has another name.
fn profile(folder: &Path) -> &str {
    match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_tells_the_profile() {
        let profiles = ["target/debug", "target/release", "/x/y/fast"].map(|folder| profile(Path::new(folder)).to_owned());
        assert_eq!(profiles, ["dev", "release", "fast"]);
    }

    #[test]
    fn variables_of_the_test_are_left_out_and_settings_are_kept() {
        let left_out =
            ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_HOME", "CARGO_PROFILE_RELEASE_LTO"].map(is_of_this_package);
        assert_eq!(left_out, [true, true, false, false]);
    }
}
