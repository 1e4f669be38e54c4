//! Tells for which caller a proxy in front of the node makes a request, so that the callers behind
//! it have limits of their own.
//!
//! Always true: only a connection from a network that the operator has configured may name another
//! address; and of what it names, only the last address counts that is no such proxy itself: a
//! caller can write anything before that.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

/// Header to which each proxy appends the address of its caller.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Maximum number of proxies, one behind the other.
const HOPS_MAX: usize = 16;

/// Networks of the proxies that the operator trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<Network>);

/// The addresses that share the first bits; IPv4 as it is mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    mask: u128,
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`; `None` if it is neither, or has all addresses.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let of_family = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let length = length.unwrap_or(of_family);
        if length == 0 || length > of_family {
            return None;
        }
        let mask = u128::MAX << (of_family - length);
        Some(Self {
            bits: mapped(address) & mask,
            mask,
        })
    }

    fn has(self, address: IpAddr) -> bool {
        mapped(address) & self.mask == self.bits
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl TrustedProxies {
    /// Reads a list of addresses and networks.
    ///
    /// # Errors
    /// The first text that is neither.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| Network::parse(text.trim()).ok_or_else(|| text.clone());
        let networks = texts.iter().map(network);
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// Returns the address of the caller whose request came over a connection from `from`.
    pub(crate) fn caller(&self, from: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if !self.trusts(from.ip()) {
            return from;
        }
        let all = headers.get_all(FORWARDED_FOR);
        let lines = all.iter().filter_map(|line| line.to_str().ok());
        let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
        let mut caller = from;
        for hop in hops.into_iter().rev().take(HOPS_MAX) {
            let Some(address) = address_in(hop.trim()) else {
                return caller;
            };
            caller = SocketAddr::new(address, 0);
            if !self.trusts(address) {
                return caller;
            }
        }
        caller
    }
}

/// Reads an address, which some proxies write with a port.
fn address_in(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse().ok().map(|address: SocketAddr| address.ip());
    hop.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies(texts: &[&str]) -> Result<TrustedProxies, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        TrustedProxies::parse(&texts)
    }

    /// Returns the address of the caller of a request with these headers.
    fn caller(from: &str, lines: &[&'static str]) -> String {
        let trusted = proxies(&["127.0.0.1", "10.1.0.0/16", "fd00::/8"]).unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let from = SocketAddr::new(from.parse().unwrap(), 4711);
        trusted.caller(from, &headers).ip().to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_its_caller() {
        assert_eq!(caller("127.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(caller("::ffff:10.1.2.3", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("fd00::5", &["192.0.2.7:5000"]), "192.0.2.7");
        // Callers that are no proxy write what they like.
        assert_eq!(caller("10.2.0.1", &["192.0.2.7"]), "10.2.0.1");
        assert_eq!(caller("192.0.2.9", &["127.0.0.1, 192.0.2.7"]), "192.0.2.9");
        let none = TrustedProxies::default();
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("192.0.2.7"));
        let from = "127.0.0.1:1".parse().unwrap();
        assert_eq!(none.caller(from, &headers), from);
    }

    #[test]
    fn what_a_caller_writes_before_its_own_address_is_ignored() {
        let forged = ["203.0.113.1, 127.0.0.1", "192.0.2.7, 10.1.0.9"];
        assert_eq!(caller("127.0.0.1", &forged), "192.0.2.7");
        assert_eq!(caller("127.0.0.1", &["nonsense, 192.0.2.7"]), "192.0.2.7");
        // Without a usable address the caller is the last proxy that is known.
        for nothing in [&[][..], &[""], &["unknown"], &["192.0.2.7, "], &["a b"]] {
            assert_eq!(caller("127.0.0.1", nothing), "127.0.0.1", "{nothing:?}");
        }
        assert_eq!(caller("127.0.0.1", &["x, 10.1.0.9"]), "10.1.0.9");
        let long = ["10.1.0.1,10.1.0.1,10.1.0.1,10.1.0.1,10.1.0.1,10.1.0.1,10.1.0.1,10.1.0.1"; 9];
        assert_eq!(caller("127.0.0.1", &long), "10.1.0.1");
    }

    #[test]
    fn only_addresses_and_networks_are_proxies() {
        assert!(proxies(&["10.0.0.0/8", " ::1 ", "fd00::/8"]).is_ok());
        for bad in [
            "",
            "proxy.example",
            "10.0.0.1/33",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1/",
            "/8",
        ] {
            assert_eq!(proxies(&["127.0.0.1", bad]), Err(bad.to_owned()));
        }
    }
}
