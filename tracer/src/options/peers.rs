//! What is asked for about the addresses of peers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where DNS is spoken, unless somebody says otherwise.
const DNS_PORT: u16 = 53;

/// What is told of peers beyond their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerOptions {
    /// Databases of where addresses are. A field is taken from the first that has it.
    pub geoip: Vec<PathBuf>,
    /// Who is asked for names; `None` = nobody, and there are none.
    pub names: Option<NameServers>,
}

impl PeerOptions {
    /// Whether countries, cities and AS numbers are told.
    pub fn has_geoip(&self) -> bool {
        !self.geoip.is_empty()
    }
}

/// Who is asked for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// Those of `/etc/resolv.conf`.
    OfSystem,
    /// This one.
    At(SocketAddr),
}

/// What is wrong with the address of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANameServer;

impl fmt::Display for NotANameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not the address of a name server; write an IP address, with a port if it is not 53, \
             as in 127.0.0.53, 127.0.0.1:5353 or [::1]:5353",
        )
    }
}

/// The name server at `text`.
pub fn parse_name_server(text: &str) -> Result<NameServers, NotANameServer> {
    let with_port = || text.parse::<SocketAddr>().ok();
    let address = text.parse::<IpAddr>().ok();
    let address = address.map(|ip| SocketAddr::new(ip, DNS_PORT));
    let address = address.or_else(with_port).ok_or(NotANameServer)?;
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(NotANameServer);
    }
    Ok(NameServers::At(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_is_an_address_with_or_without_a_port() {
        for (text, expected) in [
            ("127.0.0.53", "127.0.0.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            let expected = NameServers::At(expected.parse().unwrap());
            assert_eq!(parse_name_server(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "dns.example",
            "127.0.0.1:0",
            "0.0.0.0",
            "[::1]",
            "224.0.0.251",
            "1.1.1.1:x",
            "1.1.1.1, 8.8.8.8",
        ] {
            assert_eq!(parse_name_server(text), Err(NotANameServer), "{text}");
        }
    }
}
