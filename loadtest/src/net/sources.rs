//! The addresses that connections come from. One address has as many connections to one broker as
//! the host has ephemeral ports, some 28,000 by default; more connections need more addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No more addresses than this from one range.
const RANGE_MAX: u128 = 1 << 16;

/// Reads a comma-separated list of addresses, networks (`127.0.1.0/24`) and ranges
/// (`127.0.0.2-127.0.0.9`). The addresses of a network begin with its first after the network's
/// own.
///
/// # Errors
/// A sentence: what is not an address, or that there are too many.
pub fn parse(list: &str) -> Result<Vec<IpAddr>, String> {
    let mut sources = Vec::new();
    for item in list.split(',').map(str::trim) {
        let (first, last) = if let Some((network, bits)) = item.split_once('/') {
            network_span(address(network)?, bits)?
        } else if let Some((first, last)) = item.split_once('-') {
            (address(first)?, address(last)?)
        } else {
            (address(item)?, address(item)?)
        };
        append(first, last, &mut sources).map_err(|why| format!("`{item}`: {why}"))?;
    }
    Ok(sources)
}

/// The first `count` loopback addresses: 127.0.0.1, 127.0.0.2 and so on.
pub fn loopback(count: usize) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (0..count.max(1) as u32)
        .map(|i| Ipv4Addr::from(first + i).into())
        .collect()
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an IP address"))
}

fn network_span(address: IpAddr, bits: &str) -> Result<(IpAddr, IpAddr), String> {
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| *bits <= width)
        .ok_or_else(|| format!("`/{bits}` is not a prefix length of at most {width}"))?;
    let host = match width - bits {
        128 => u128::MAX,
        free => (1 << free) - 1,
    };
    let network = to_number(address) & !host;
    let (skip, keep) = if host > 1 { (1, 1) } else { (0, 0) };
    let first = from_number(network + skip, address);
    Ok((first, from_number(network + (host - keep), address)))
}

fn append(first: IpAddr, last: IpAddr, sources: &mut Vec<IpAddr>) -> Result<(), String> {
    if first.is_ipv4() != last.is_ipv4() {
        return Err("a range of IPv4 and IPv6".into());
    }
    let (from, to) = (to_number(first), to_number(last));
    match to.checked_sub(from) {
        None => Err("the range ends before it begins".into()),
        Some(span) if span >= RANGE_MAX => Err(format!("more than {RANGE_MAX} addresses")),
        Some(_) => {
            sources.extend((from..=to).map(|number| from_number(number, first)));
            Ok(())
        }
    }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn from_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &str) -> Vec<String> {
        parse(list).unwrap().iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn lists_ranges_and_networks() {
        assert_eq!(texts("10.0.0.9"), ["10.0.0.9"]);
        assert_eq!(
            texts("127.0.0.254-127.0.1.1, ::1"),
            [
                "127.0.0.254",
                "127.0.0.255",
                "127.0.1.0",
                "127.0.1.1",
                "::1"
            ]
        );
        assert_eq!(texts("127.0.3.7/30"), ["127.0.3.5", "127.0.3.6"]);
        assert_eq!(texts("10.0.0.4/31"), ["10.0.0.4", "10.0.0.5"]);
        assert_eq!(texts("fd00::/126"), ["fd00::1", "fd00::2"]);
        assert_eq!(parse("127.1.0.0/16").unwrap().len(), 65_534);
        assert_eq!(loopback(3).last().unwrap().to_string(), "127.0.0.3");
    }

    #[test]
    fn says_what_is_wrong() {
        for (list, why) in [
            ("", "`` is not an IP address"),
            ("127.0.0.1,here", "`here` is not an IP address"),
            ("127.0.0.1/33", "`/33` is not a prefix length of at most 32"),
            ("10.0.0.0/8", "`10.0.0.0/8`: more than 65536 addresses"),
            (
                "10.0.0.2-10.0.0.1",
                "`10.0.0.2-10.0.0.1`: the range ends before it begins",
            ),
            ("10.0.0.2-::1", "`10.0.0.2-::1`: a range of IPv4 and IPv6"),
        ] {
            assert_eq!(parse(list), Err(why.to_owned()));
        }
    }
}
