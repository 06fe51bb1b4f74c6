//! The options that tell more of peers, the same for a run and for a replay.

use std::path::PathBuf;

use super::{UsageError, file, one};
use crate::options::peers::{NameServers, PeerOptions, parse_name_server};

const PEERS: &str = "Who the peers are";

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct PeerArgs {
    #[arg(long, value_name = "FILE", help_heading = PEERS,
        help = "Tell country, city and AS of peers by this MMDB database, as of GeoLite2, DB-IP or \
                IPinfo; may be repeated, and of each field the first that has it counts. It is \
                held in memory, and read again when it is replaced. Default: none.")]
    geoip: Vec<PathBuf>,

    #[arg(long, value_name = "SERVER", help_heading = PEERS, num_args = 0..=1,
        require_equals = true, default_missing_value = "",
        help = "Look up the names of peers by reverse DNS at this name server, such as \
                --names=127.0.0.1:5353, or with just --names at those of /etc/resolv.conf. A name \
                that is not known yet is not waited for, but for a second at the end. Whoever owns \
                an address chooses its name: `name?` in lines, reverse_dns in JSON. Loopback and \
                link-local addresses are not looked up. Default: no names.")]
    names: Option<String>,
}

impl PeerArgs {
    pub(super) fn check(self) -> Result<PeerOptions, UsageError> {
        let geoip = self.geoip.into_iter();
        let geoip = geoip.map(|path| file("--geoip", Some(path)));
        let geoip: Vec<_> = geoip.collect::<Result<_, _>>()?;
        let names = match self.names.as_deref() {
            None => None,
            Some("") => Some(NameServers::OfSystem),
            Some(server) => Some(one("--names", server, parse_name_server)?),
        };
        Ok(PeerOptions {
            geoip: geoip.into_iter().flatten().collect(),
            names,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, try_parse_from};

    fn parse(args: &[&str]) -> Result<PeerOptions, UsageError> {
        let words = ["conntracer"].iter().chain(args);
        match try_parse_from(words.copied())? {
            Command::Trace(options) => Ok(options.peers),
            other => panic!("not a trace: {other:?}"),
        }
    }

    #[test]
    fn databases_keep_their_order_and_names_may_have_a_server() {
        assert_eq!(parse(&[]).unwrap(), PeerOptions::default());
        let options = parse(&["--geoip", "b.mmdb", "--geoip", "a.mmdb", "--names"]).unwrap();
        let expected = PeerOptions {
            geoip: vec!["b.mmdb".into(), "a.mmdb".into()],
            names: Some(NameServers::OfSystem),
        };
        assert_eq!(options, expected);
        assert!(options.has_geoip());
        let names = parse(&["--names=127.0.0.1:5353"]).unwrap().names;
        let server = "127.0.0.1:5353".parse().unwrap();
        assert_eq!(names, Some(NameServers::At(server)));
    }

    #[test]
    fn what_is_no_file_or_no_name_server_is_wrong_usage() {
        for (args, word) in [
            (&["--geoip", "-"][..], "--geoip -: not a file name"),
            (&["--geoip", ""], "--geoip"),
            (&["--geoip"], "--geoip"),
            (
                &["--names=dns.example"],
                "--names dns.example: not the address",
            ),
            // A server needs the `=`, or the next word would be taken for it.
            (&["--names", "127.0.0.1"], "127.0.0.1"),
        ] {
            let error = parse(args).expect_err(word);
            assert_eq!(error.exit_code(), crate::exit::USAGE, "{args:?}");
            assert!(error.to_string().contains(word), "{args:?}: {error}");
        }
    }
}
