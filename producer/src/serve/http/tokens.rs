//! Bearer tokens from a file, and the sessions of the page that are signed with them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::{digest, hmac};

use crate::error::ProducerError;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Look at jobs and their results.
    Viewer,
    /// Start and change jobs too.
    Operator,
}

/// Somebody who may use the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// How long a session of the page lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3_600);

/// How often to look whether the file has changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The tokens of a file, which is read again when it changes.
pub(crate) struct Tokens {
    path: PathBuf,
    current: Mutex<Current>,
}

/// Without the digests: who has one has the session.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

struct Current {
    tokens: Arc<Vec<Token>>,
    modified: Option<SystemTime>,
    looked: Instant,
}

struct Token {
    principal: Principal,
    /// The token itself is not kept.
    digest: digest::Digest,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] with the line that is wrong.
    pub(crate) fn load(path: &Path) -> Result<Tokens, ProducerError> {
        let modified = modified(path);
        let tokens = Arc::new(read(path)?);
        if tokens.is_empty() {
            return Err(ProducerError::Usage(format!(
                "{}: expected a line such as `operator ann TOKEN`, found none: nobody could log in; add one",
                path.display()
            )));
        }
        Ok(Tokens { path: path.to_owned(), current: Mutex::new(Current { tokens, modified, looked: Instant::now() }) })
    }

    /// Who has this token. The time that it takes says nothing about how much of it is right.
    pub(super) fn bearer(&self, token: &str) -> Option<Principal> {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let tokens = self.current();
        // Every token is compared.
        let matching = tokens.iter().fold(
            None,
            |found, token| {
                if equal(token.digest.as_ref(), digest.as_ref()) { Some(token) } else { found }
            },
        );
        matching.map(|token| token.principal.clone())
    }

    /// A session of who has this token: name, end and signature.
    pub(super) fn session(&self, token: &str) -> Option<String> {
        let name = self.bearer(token)?.name;
        let ends = seconds_now().saturating_add(SESSION.as_secs());
        let signed = format!("{name}.{ends}");
        let tokens = self.current();
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let key = tokens.iter().find(|known| known.digest.as_ref() == digest.as_ref())?.session_key();
        Some(format!("{signed}.{}", hex(hmac::sign(&key, signed.as_bytes()).as_ref())))
    }

    /// Whose session this is, if it has not ended and its token is still in the file.
    pub(super) fn of_session(&self, session: &str) -> Option<Principal> {
        let (signed, signature) = session.rsplit_once('.')?;
        let (name, ends) = signed.rsplit_once('.')?;
        let signature = from_hex(signature)?;
        if ends.parse::<u64>().ok()? <= seconds_now() {
            return None;
        }
        let tokens = self.current();
        let is_signed = |token: &&Token| hmac::verify(&token.session_key(), signed.as_bytes(), &signature).is_ok();
        let verified = tokens.iter().filter(|token| token.principal.name == name).find(is_signed);
        verified.map(|token| token.principal.clone())
    }

    fn current(&self) -> Arc<Vec<Token>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN_AFTER {
            current.looked = Instant::now();
            let modified = modified(&self.path);
            if modified != current.modified {
                match read(&self.path) {
                    Ok(tokens) => {
                        tracing::info!(event = "tokens_reloaded", tokens = tokens.len(), "read the tokens again");
                        (current.tokens, current.modified) = (Arc::new(tokens), modified);
                    }
                    Err(error) => {
                        tracing::error!(event = "tokens_unreadable", %error, "cannot read the tokens again; those from before hold");
                    }
                }
            }
        }
        Arc::clone(&current.tokens)
    }
}

impl Token {
    fn session_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.digest.as_ref())
    }
}

fn read(path: &Path) -> Result<Vec<Token>, ProducerError> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| ProducerError::Usage(format!("cannot read {name}: {error}; check the path of [access] tokens")))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let tokens = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let wrong =
            |expected: &str| ProducerError::Usage(format!("{name}, line {number}: expected {expected}; correct the line"));
        let [role, user, token] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(wrong("a role, a name and a token with spaces between"));
        };
        let role = match role {
            "viewer" => Role::Viewer,
            "operator" => Role::Operator,
            _ => return Err(wrong("viewer or operator first")),
        };
        if !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_@+".contains(&byte)) {
            return Err(wrong("a name of letters, digits, '-', '_', '@' and '+'"));
        }
        if token.len() < SHORTEST_TOKEN {
            return Err(wrong(&format!(
                "a token of at least {SHORTEST_TOKEN} characters, such as that of `openssl rand -hex 24`"
            )));
        }
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Ok(Token { principal: Principal { name: user.to_owned(), role }, digest })
    });
    tokens.collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    // Signing both with one key and verifying compares in constant time.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"compare");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| (0..text.len()).step_by(2).filter_map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tokens(text: &str) -> Result<Tokens, ProducerError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Tokens::load(file.path())
    }

    const ANN: &str = "0123456789abcdef0123";
    const BOB: &str = "fedcba98765432100000";

    #[test]
    fn a_file_that_could_not_be_read_is_read_once_it_can_although_its_time_is_the_same() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "operator ann {ANN}\nviewer bob {BOB}").unwrap();
        let tokens = Tokens::load(file.path()).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let look = |text: &str| {
            fs::write(file.path(), text).unwrap();
            file.as_file().set_modified(later).unwrap();
            let mut current = tokens.current.lock().unwrap();
            current.looked = Instant::now().checked_sub(LOOK_AGAIN_AFTER).unwrap();
        };
        look("nonsense");
        assert!(tokens.bearer(BOB).is_some(), "those from before hold");
        look(&format!("operator ann {ANN}\n"));
        assert_eq!(tokens.bearer(BOB), None);
    }

    #[test]
    fn a_token_tells_a_name_and_a_role_and_others_tell_nothing() {
        let tokens = tokens(&format!("# people\n\noperator ann {ANN}\nviewer bob {BOB}\n")).unwrap();
        let ann = Principal { name: "ann".to_owned(), role: Role::Operator };
        assert_eq!(tokens.bearer(ANN), Some(ann.clone()));
        assert_eq!(tokens.bearer(BOB).map(|bob| bob.role), Some(Role::Viewer));
        for wrong in ["", "0123456789abcdef012", "0123456789abcdef01234", "ann"] {
            assert_eq!(tokens.bearer(wrong), None, "{wrong}");
        }
        let session = tokens.session(ANN).unwrap();
        assert_eq!(tokens.of_session(&session), Some(ann));
        assert!(!session.contains(ANN));
        for forged in
            [session.replace("ann", "bob"), format!("{session}0"), session[..session.len() - 1].to_owned(), "..".to_owned()]
        {
            assert_eq!(tokens.of_session(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_session_ends_with_its_time_and_with_its_token() {
        let [with, without] = [format!("operator ann {ANN}"), format!("operator ann {BOB}")].map(|text| tokens(&text).unwrap());
        let session = with.session(ANN).unwrap();
        assert_eq!(without.of_session(&session), None, "its token is gone");
        let key = with.current()[0].session_key();
        let signed = format!("ann.{}", seconds_now() - 1);
        let old = format!("{signed}.{}", hex(hmac::sign(&key, signed.as_bytes()).as_ref()));
        assert_eq!(with.of_session(&old), None, "its time is over");
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number() {
        for (text, expected) in [
            ("operator ann", "line 1: expected a role, a name and a token"),
            ("\nadmin ann 0123456789abcdef", "line 2: expected viewer or operator"),
            ("viewer a.b 0123456789abcdef", "line 1: expected a name of letters"),
            ("viewer bob short", "line 1: expected a token of at least 16"),
        ] {
            let error = tokens(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("0123456789abcdef"), "{error}");
        }
    }
}
