//! Checks HOST:PORT, wherever it comes from: flags, files, requests, or other nodes.
//!
//! Always true: what is accepted means the same on every machine, and can be put into a URI as it
//! stands. A refusal is a sentence for people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name of a host in bytes (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
/// Longest part of a name between dots in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// The reason why a text is no address.
pub type Wrong = &'static str;

/// Checks an address at which others are to be reached.
///
/// # Errors
/// Why it is none.
pub fn check(address: &str) -> Result<(), Wrong> {
    let (host, port) = split(address)?;
    if port == 0 {
        return Err("a port that others can reach is a number from 1 to 65535");
    }
    if matches!(host, Host::Ip(ip) if ip.is_unspecified()) {
        return Err("this is every address of a machine, and others need one of them");
    }
    Ok(())
}

/// Checks an address to listen on: port 0 is any that is free, and `0.0.0.0` every address.
///
/// # Errors
/// Why it is none.
pub fn check_listen(address: &str) -> Result<(), Wrong> {
    split(address).map(|_| ())
}

/// Checks the host of an address that has no port; returns it as it stands before a port.
///
/// # Errors
/// Why it is none.
pub fn check_host(host: &str) -> Result<String, Wrong> {
    no_ornament(host)?;
    if host.is_empty() {
        return Err("the host is empty");
    }
    let checked = match host.strip_prefix('[') {
        Some(_) => bracketed(host)?.0,
        None if host.matches(':').count() > 1 => Host::Ip(ipv6(host)?.into()),
        None if host.contains(':') => {
            return Err("a host has no port: the port is that of the address to listen on");
        }
        None => name_or_ipv4(host)?,
    };
    match checked {
        Host::Ip(ip) if ip.is_unspecified() => {
            Err("this is every address of a machine, and others need one of them")
        }
        Host::Ip(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Host::Ip(_) | Host::Name => Ok(host.to_owned()),
    }
}

/// The host part of an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name,
}

fn split(address: &str) -> Result<(Host, u16), Wrong> {
    no_ornament(address)?;
    let (host, port) = if address.starts_with('[') {
        let (host, rest) = bracketed(address)?;
        let port = rest.strip_prefix(':').ok_or("an address is HOST:PORT")?;
        (host, port)
    } else {
        let (host, port) = address.rsplit_once(':').ok_or("an address is HOST:PORT")?;
        if host.contains(':') {
            return Err("an IPv6 address stands in brackets before its port: [::1]:7400");
        }
        (name_or_ipv4(host)?, port)
    };
    // `u16` also reads `+1`.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| digits);
    Ok((host, number.ok_or("a port is a number up to 65535")?))
}

/// Refuses what people put around an address, or copy with it.
fn no_ornament(text: &str) -> Result<(), Wrong> {
    if text.contains("://") {
        Err("an address has no scheme before it")
    } else if text.contains('/') {
        Err("an address has no slash")
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("an address has no blanks")
    } else if text.contains('@') {
        Err("an address has no user before it")
    } else if text.contains('%') {
        Err("a zone such as %eth0 means something on one machine only")
    } else if !text.is_ascii() {
        Err("write the name in ASCII, as xn--…")
    } else {
        Ok(())
    }
}

/// Splits an IPv6 address in brackets from what comes behind them.
fn bracketed(text: &str) -> Result<(Host, &str), Wrong> {
    let inner = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (inner, rest) = inner.ok_or("a bracket is not closed")?;
    Ok((Host::Ip(ipv6(inner)?.into()), rest))
}

fn ipv6(text: &str) -> Result<Ipv6Addr, Wrong> {
    text.parse().map_err(|_| "this is not an IPv6 address")
}

fn name_or_ipv4(host: &str) -> Result<Host, Wrong> {
    if host.is_empty() {
        return Err("an address has no host");
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        // No name ends in a number: it would be read as an address by some and not by others.
        let ip: Result<Ipv4Addr, _> = host.parse();
        return ip
            .map(|ip| Host::Ip(ip.into()))
            .map_err(|_| "this is not an IPv4 address");
    }
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match host.len() <= NAME_BYTES_MAX && host.split('.').all(is_label) {
        true => Ok(Host::Name),
        false => Err("a host is a name of letters, digits, dots and dashes, or an IP address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_valid_on_every_node_are_accepted() {
        for good in [
            "127.0.0.1:7400",
            "[::1]:7400",
            "[2001:db8::1]:1",
            "localhost:65535",
            "node-1.chat.example:7401",
            "node_1:7401",
            "a:1",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
            assert_eq!(check_listen(good), Ok(()), "{good}");
        }
        for listen in ["0.0.0.0:7400", "[::]:7400", "127.0.0.1:0"] {
            assert_eq!(check_listen(listen), Ok(()), "{listen}");
            assert!(check(listen).is_err(), "{listen}");
        }
    }

    #[test]
    fn an_invalid_address_is_refused_with_a_sentence() {
        let long = "a".repeat(64);
        let longer = format!("{}a", "a.".repeat(127));
        let hosts: [(&str, &str); 14] = [
            ("", "no host"),
            ("my host", "no blanks"),
            ("host\n", "no blanks"),
            ("https://host", "no scheme"),
            ("host/", "no slash"),
            ("root@host", "no user"),
            ("[fe80::1%lo]", "a zone"),
            ("höst", "in ASCII"),
            ("[::1", "bracket"),
            ("[host]", "IPv6"),
            ("-host", "a host is"),
            ("a..b", "a host is"),
            ("256.0.0.1", "IPv4"),
            ("1.2.3", "IPv4"),
        ];
        let long = [(&*long, "a host is"), (&*longer, "a host is")];
        for (host, why) in hosts.into_iter().chain(long) {
            let address = format!("{host}:7400");
            let refused = check_listen(&address).unwrap_err();
            assert!(refused.contains(why), "{address}: {refused}");
            assert_eq!(check(&address), Err(refused));
        }
        for (address, why) in [
            ("host", "HOST:PORT"),
            ("host:", "a port"),
            ("host:x", "a port"),
            ("host:+1", "a port"),
            ("host:65536", "a port"),
            ("::1:22400", "in brackets"),
            ("[::1]22400", "HOST:PORT"),
            ("[127.0.0.1]:1", "IPv6"),
        ] {
            let refused = check_listen(address).unwrap_err();
            assert!(refused.contains(why), "{address}: {refused}");
        }
    }

    #[test]
    fn a_bare_host_is_formatted_for_use_before_a_port() {
        for (host, shown) in [
            ("chat.example", "chat.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(check_host(host).as_deref(), Ok(shown));
            assert_eq!(check(&format!("{shown}:1")), Ok(()));
        }
        for (host, why) in [
            ("", "empty"),
            ("127.0.0.1:22400", "no port"),
            ("chat.example/", "no slash"),
            ("my host", "no blanks"),
            ("fe80::1%lo", "a zone"),
            ("0.0.0.0", "every address"),
            ("::", "every address"),
        ] {
            let refused = check_host(host).unwrap_err();
            assert!(refused.contains(why), "{host}: {refused}");
        }
    }
}
