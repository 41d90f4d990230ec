//! Signatures of Standard Webhooks 1.0 (<https://github.com/standard-webhooks/standard-webhooks>): HMAC-SHA256 of `ID.TIMESTAMP.BODY`.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

/// The prefix of a key.
const PREFIX: &str = "whsec_";

/// What Standard Webhooks wants of a key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that a receiver knows too.
pub(super) struct Key(hmac::Key);

impl Key {
    /// Reads the file of a key.
    ///
    /// # Errors
    /// What is wrong with it; never the key.
    pub(super) fn load(path: &Path) -> Result<Key, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}; check secret_file"))?;
        Key::parse(text.trim()).ok_or_else(|| {
            format!("{name}: expected whsec_ and the base64 of 24 to 64 bytes, found something else; make one by `echo whsec_$(openssl rand -base64 32)`")
        })
    }

    fn parse(text: &str) -> Option<Key> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        KEY_BYTES.contains(&bytes.len()).then(|| Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of a message that is sent at this second.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_in_the_example_of_the_standard() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!"] {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }
}
