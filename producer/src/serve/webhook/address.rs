//! Keeps webhooks from private addresses: whoever can name a webhook's URL, or what its name leads to, must not reach through the gateway what only
//! the gateway can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Resolves names to public addresses only; the connection goes to an address that was checked.
pub(super) struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(PRIVATE.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

const PRIVATE: &str = "a private address; allow_private_address = true allows it";

/// Refuses a URL whose host is a private address: it is not resolved.
pub(super) fn refuse_private_host(url: &Url) -> Result<(), String> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Ok(()),
    };
    if is_public(address) { Ok(()) } else { Err(format!("expected url to lead to a public address, found {PRIVATE}")) }
}

/// Whether an address is one of the public internet: none of the special purposes of RFC 6890 and its successors.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        // Shared by a provider's customers (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments, and benchmarks (RFC 2544).
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Global unicast is 2000::/3; of that, documentation, and what embeds an IPv4 address (6to4, Teredo), which may be private.
    let is_global_unicast = segments[0] & 0xe000 == 0x2000;
    let is_documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || (segments[0] == 0x3fff && segments[1] < 0x1000);
    let embeds = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] == 0);
    is_global_unicast && !is_documentation && !embeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_special_purposes_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.5.5",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_url_with_a_private_address_is_refused_in_all_its_spellings() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]:8080/",
            "http://[::ffff:169.254.169.254]/",
        ] {
            assert!(refuse_private_host(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(refuse_private_host(&Url::parse("https://hooks.example.com/x").unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_resolved() {
        let Err(error) = PublicAddresses.resolve("localhost".parse().unwrap()).await else { panic!("it was resolved") };
        assert!(error.to_string().contains("private address"), "{error}");
    }
}
