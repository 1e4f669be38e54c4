//! The unit by which callers are told apart: an IPv4 address, or an IPv6 network of 64 bits, which
//! is what one customer of a provider has.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(u128);

impl Address {
    pub(crate) fn of(ip: IpAddr) -> Self {
        const NETWORK: u128 = !(u64::MAX as u128);
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) if ip == Ipv6Addr::LOCALHOST => ip.to_bits(),
            IpAddr::V6(ip) => ip.to_bits() & NETWORK,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_or_a_single_ipv4_address_is_one_caller() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
