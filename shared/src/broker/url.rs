//! Reads AMQP URLs.
//!
//! lapin's parser silently replaces the parts of a URL that it does not understand: an IPv6 host by localhost, a missing user or password by
//! guest, and it ignores unknown parameters. Here every part of a URL is honoured or refused.

use std::ops::RangeInclusive;
use std::str::FromStr;

use lapin::uri::{AMQPUri, SASLMechanism};
use url::{Host, Url};

use super::error::BrokerError;

/// The least that AMQP allows; lapin replaces a smaller one by 4,096.
const LEAST_FRAME_MAX: u64 = 4_096;

/// lapin keeps buffers of 64 frames for each connection: at this size, a gigabyte.
const MOST_FRAME_MAX: u64 = 16 << 20;

/// The numeric parameters and their ranges. For a heartbeat of 0, lapin would use the broker's. The connection_timeout is in
/// milliseconds.
const NUMBERS: [(&str, RangeInclusive<u64>); 4] = [
    ("channel_max", 1..=u16::MAX as u64),
    ("connection_timeout", 1..=u32::MAX as u64),
    ("frame_max", LEAST_FRAME_MAX..=MOST_FRAME_MAX),
    ("heartbeat", 1..=u16::MAX as u64),
];

/// The parameter that is not numeric.
const AUTH_MECHANISM: &str = "auth_mechanism";

/// Reads a URL; lapin's defaults stand for what it leaves out.
///
/// # Errors
/// [`BrokerError::BadUrl`], which shows no part of the URL that may be a password.
pub(super) fn parse(text: &str) -> Result<AMQPUri, BrokerError> {
    // A secret from a mounted file often ends with a line break.
    let text = text.trim();
    if text.contains(|c: char| c.is_ascii_control()) {
        return Err(bad("a control character in it"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("none with amqp:// or amqps:// at its beginning"))?;
    if !["amqp", "amqps"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(bad("another scheme than amqp:// or amqps://"));
    }
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    check_authority(authority, behind)?;
    let does_not_parse = |error: &str| bad(format!("one that does not parse ({error})"));
    let url = Url::parse(text).map_err(|error| does_not_parse(&error.to_string()))?;
    check_user(&url, authority)?;
    check_vhost(&url, behind)?;
    check_parameters(&url)?;
    if url.fragment().is_some() {
        return Err(bad("a fragment; a '#' in a name or password is written %23"));
    }
    // Without lapin's error, which may contain the URL.
    let mut uri = AMQPUri::from_str(text).map_err(|_| does_not_parse("what stands behind a '%' is no UTF-8"))?;
    match url.host() {
        Some(Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(Host::Ipv4(address)) => uri.authority.host = address.to_string(),
        Some(Host::Domain(_)) | None => {}
    }
    Ok(uri)
}

fn check_authority(authority: &str, behind: &str) -> Result<(), BrokerError> {
    // An unencoded '/', '?' or '#' ends the password early; its rest would be used and shown as a vhost.
    if behind.contains('@') {
        return Err(bad(
            "an '@' behind the host; in a user or password '/' is written %2f, '?' %3f and '#' %23, and in a vhost '@' %40",
        ));
    }
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let found = if place.is_empty() || place.starts_with(':') {
        "no host"
    } else if place.contains([',', ';']) {
        "several hosts; name one, such as that of a load balancer"
    } else if place.ends_with(':') {
        "a ':' without a port behind the host"
    } else if place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>() == Ok(0)) && !place.ends_with(']') {
        "port 0"
    } else {
        return Ok(());
    };
    Err(bad(found))
}

fn check_user(url: &Url, authority: &str) -> Result<(), BrokerError> {
    let is_whole = !url.username().is_empty() && url.password().is_some();
    if is_whole || !authority.contains('@') {
        return Ok(());
    }
    Err(bad("a user without a password, or a password without a user; give both, or neither for guest"))
}

/// The vhost is the text between the first '/' and the parameters. Users of Celery write the default one as a second '/'.
fn check_vhost(url: &Url, behind: &str) -> Result<(), BrokerError> {
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    let found = match path.strip_prefix('/') {
        None | Some("/") => return Ok(()),
        Some("") => "an empty vhost; the default one is written %2f, or left out with its '/'",
        Some(vhost) if vhost.contains('/') => "a second '/' in the vhost; one that is part of its name is written %2f",
        // The URL parser resolves a path of dots to '/'.
        Some(_) if url.path() == "/" => "a vhost of dots, which no URL can name",
        Some(_) => return Ok(()),
    };
    Err(bad(found))
}

fn check_parameters(url: &Url) -> Result<(), BrokerError> {
    let mut seen = Vec::new();
    for (name, value) in url.query_pairs() {
        let number = NUMBERS.iter().find(|(known, _)| name == *known);
        match number {
            Some((_, range)) if !value.parse().is_ok_and(|value| range.contains(&value)) => {
                let (first, last) = (range.start(), range.end());
                return Err(bad(format!("{name}={value}, which is no whole number from {first} to {last}")));
            }
            None if name == AUTH_MECHANISM => {
                SASLMechanism::from_str(&value)
                    .map_err(|_| bad(format!("{name}={value}, which is no mechanism of RabbitMQ's")))?;
            }
            None => {
                let known = NUMBERS.map(|(known, _)| known).join(", ");
                return Err(bad(format!("the unknown parameter {name:?}; known are {AUTH_MECHANISM}, {known}")));
            }
            Some(_) => {}
        }
        if seen.contains(&name) {
            return Err(bad(format!("{name} twice")));
        }
        seen.push(name);
    }
    Ok(())
}

fn bad(found: impl Into<String>) -> BrokerError {
    BrokerError::BadUrl { found: found.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(url: &str) -> String {
        match parse(url) {
            Err(BrokerError::BadUrl { found }) => found,
            other => panic!("expected {url:?} to be refused, found {other:?}"),
        }
    }

    #[test]
    fn an_ipv6_host_is_connected_to_and_not_localhost() {
        for (url, host, port) in [
            ("amqp://guest:guest@[::1]:5673/%2f", "::1", 5673),
            ("amqp://[2001:db8::7]", "2001:db8::7", 5672),
            ("amqps://ann:secret@[2001:DB8:0::7]/fleet?heartbeat=5", "2001:db8::7", 5671),
            ("amqp://[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1),
        ] {
            let authority = parse(url).unwrap().authority;
            assert_eq!((authority.host.as_str(), authority.port), (host, port), "{url}");
        }
    }

    #[test]
    fn what_a_url_says_holds() {
        let uri =
            parse(" amqp://a%40n:se%2fc@r,et@ho%61st/my%2fvhost?heartbeat=7&frame_max=8192&connection_timeout=900\n").unwrap();
        let user = &uri.authority.userinfo;
        assert_eq!((user.username.as_str(), user.password.as_str()), ("a@n", "se/c@r,et"));
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("hoast", 5672, "my/vhost"));
        let query = &uri.query;
        assert_eq!((query.heartbeat, query.frame_max, query.connection_timeout), (Some(7), Some(8_192), Some(900)));
        for default in ["amqp://broker", "amqp://broker//", "amqp://broker/%2f", "AMQP://guest:guest@broker:5672?"] {
            let uri = parse(default).unwrap();
            let user = (uri.authority.userinfo.username.as_str(), uri.authority.userinfo.password.as_str());
            assert_eq!((user, uri.authority.host.as_str(), uri.vhost.as_str()), (("guest", "guest"), "broker", "/"), "{default}");
        }
    }

    #[test]
    fn what_lapin_would_pass_over_or_replace_is_refused() {
        for (url, expected) in [
            ("", "amqp://"),
            ("broker:5672", "amqp://"),
            ("amqp:broker", "amqp://"),
            ("http://broker/", "another scheme"),
            ("amqp://", "no host"),
            ("amqp:///v", "no host"),
            ("amqp://ann:secret@/v", "no host"),
            ("amqp://ann:secret@:5672/v", "no host"),
            ("amqp://b1,b2/v", "several hosts"),
            ("amqp://b1:5672,b2:5672/v", "several hosts"),
            ("amqp://b1/v,amqp://b2/v", "second '/'"),
            ("amqp://b1;amqp://b2", "several hosts"),
            ("amqp://broker:/v", "without a port"),
            ("amqp://broker:0/v", "port 0"),
            ("amqp://[::1]:0/v", "port 0"),
            ("amqp://broker:65536/v", "invalid port"),
            ("amqp://broker:port/v", "invalid port"),
            ("amqp://[::1/v", "does not parse"),
            ("amqp://[fe80::1%25eth0]/v", "does not parse"),
            ("amqp://ann@broker/v", "user without a password"),
            ("amqp://ann:@broker/v", "user without a password"),
            ("amqp://:secret@broker/v", "password without a user"),
            ("amqp://:@broker/v", "password without a user"),
            ("amqp://@broker/v", "password without a user"),
            ("amqp://ann:sec/ret@broker/v", "%2f"),
            ("amqp://ann:12?secret@broker/v", "%3f"),
            ("amqp://ann:12#secret@broker/v", "%23"),
            ("amqp://ann:p@ss/secret@broker/v", "%2f"),
            ("amqp://ann:p@ss/secret@broker", "%2f"),
            ("amqp://ann:p@ss?heartbeat=secret@broker/v", "%3f"),
            ("amqp://ann:p@ss?secret=1@broker/v", "%3f"),
            ("amqp://ann:p@ss#secret@broker/v", "%23"),
            ("amqp://ann:secret", "invalid port"),
            ("amqp://ann%3Asecret@broker", "user without a password"),
            ("amqp://ann:secret%ff@broker/v", "no UTF-8"),
            ("amqp://ann:sec ret:secret/@broker/v", "%2f"),
            ("amqp://%ff:secret@broker/v", "does not parse"),
            ("amqp://broker/", "empty vhost"),
            ("amqp://broker/a/b", "second '/'"),
            ("amqp://broker/a/", "second '/'"),
            ("amqp://broker///", "second '/'"),
            ("amqp://broker/a/..", "second '/'"),
            ("amqp://broker/..", "vhost of dots"),
            ("amqp://broker/%2e", "vhost of dots"),
            ("amqp://broker/v#w", "fragment"),
            ("amqp://broker/v?heartbeat=5#", "fragment"),
            ("amqp://bro\nker/v", "control character"),
            ("amqp://broker/v?hearbeat=5", "\"hearbeat\"; known are auth_mechanism, channel_max"),
            ("amqps://broker/v?verify=verify_peer", "\"verify\""),
            ("amqp://broker/v?Heartbeat=5", "\"Heartbeat\""),
            ("amqp://broker/v?heartbeat=5;frame_max=8192", "heartbeat=5;frame_max=8192"),
            ("amqp://broker/v?heartbeat=5&heartbeat=6", "heartbeat twice"),
            ("amqp://broker/v?heartbeat", "from 1 to 65535"),
            ("amqp://broker/v?heartbeat=0", "from 1 to 65535"),
            ("amqp://broker/v?heartbeat=70000", "from 1 to 65535"),
            ("amqp://broker/v?frame_max=64", "from 4096 to 16777216"),
            ("amqp://broker/v?frame_max=0", "from 4096 to 16777216"),
            ("amqp://broker/v?frame_max=16777217", "from 4096 to 16777216"),
            ("amqp://broker/v?channel_max=0", "from 1 to 65535"),
            ("amqp://broker/v?connection_timeout=0", "from 1"),
            ("amqp://broker/v?connection_timeout=5s", "from 1"),
            ("amqp://broker/v?auth_mechanism=magic", "auth_mechanism=magic"),
        ] {
            let found = found(url);
            assert!(found.contains(expected), "{url}: expected {expected:?} in {found:?}");
            assert!(!found.contains("secret"), "{url}: {found}");
        }
    }

    #[test]
    fn a_password_with_special_characters_is_taken_whole_where_it_is_encoded() {
        for (url, password) in [
            ("amqp://ann:p%40s%2fs%23w%3ford@broker/v", "p@s/s#w?ord"),
            ("amqp://ann:p@ss@broker/v", "p@ss"),
            ("amqp://ann:a:b@broker/v", "a:b"),
            ("amqp://ann:100%secret@broker/v", "100%secret"),
        ] {
            let uri = parse(url).unwrap();
            assert_eq!((uri.authority.userinfo.password.as_str(), uri.authority.host.as_str()), (password, "broker"), "{url}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_refused_no_password_is_shown(
            url in "(amqps?|http|)(://|:)ann:[@/#?:%&=\\[\\] ]{0,3}sesame[@/#?:%&=\\[\\] ]{0,3}(sesame)?@broker(:56720|:|)(/v|)(\\?heartbeat=5|)"
        ) {
            match parse(&url) {
                Err(error) => prop_assert!(!error.to_string().contains("sesame"), "{}: {}", url, error),
                Ok(uri) => {
                    let shown = super::super::connect::without_password(&uri);
                    prop_assert!(!shown.contains("sesame"), "{}: {}", url, shown);
                }
            }
        }

        #[test]
        fn no_url_is_taken_for_another_host(url in "amqps?://([a-z:@%,;/?#=0-9\\[\\].]{0,24})") {
            if let Ok(uri) = parse(&url) {
                let host = uri.authority.host;
                prop_assert!(!host.is_empty() && (host != "localhost" || url.contains("localhost")), "{}: {}", url, host);
            }
        }
    }
}
