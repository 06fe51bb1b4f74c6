//! What a table of an interval can be by.

/// What rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The peer's address.
    Peer,
    /// The service port: ours of inbound connections, the peer's of outbound ones.
    Port,
    /// The process: connections at their owner, bytes at who moved them.
    Process,
    /// The user that the process runs as, likewise.
    User,
    /// Where the peer's address is.
    Country,
    /// Whose network that is in.
    Asn,
    /// What kind of address it is, by IANA's registries.
    Class,
    /// The owner's container, or else its cgroup.
    Container,
    /// The network namespace.
    Netns,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Peer,
        Self::Port,
        Self::Process,
        Self::User,
        Self::Country,
        Self::Asn,
        Self::Class,
        Self::Container,
        Self::Netns,
    ];

    /// Those of the summary, unless others are asked for.
    pub const USUAL: [Self; 3] = [Self::Port, Self::Process, Self::Peer];

    /// The name in options and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Port => "port",
            Self::Process => "process",
            Self::User => "user",
            Self::Country => "country",
            Self::Asn => "asn",
            Self::Class => "class",
            Self::Container => "container",
            Self::Netns => "netns",
        }
    }

    /// Whether it is known only from a database of addresses.
    pub const fn needs_database(self) -> bool {
        matches!(self, Self::Country | Self::Asn)
    }
}

/// Why a list of them is refused; each text completes "`--by peer,x`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimensionError {
    /// Nothing between two commas.
    #[error("a name is missing; write one or more of {}", names())]
    Missing,
    /// No such one.
    #[error("`{0}` is no table; write one or more of {names}", names = names())]
    Unknown(String),
    /// The same one again.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
}

fn names() -> String {
    Dimension::ALL.map(Dimension::name).join(",")
}

/// A comma-separated list.
pub fn parse(list: &str) -> Result<Vec<Dimension>, DimensionError> {
    let mut found = Vec::new();
    for name in list.split(',').map(str::trim) {
        let known = Dimension::ALL.into_iter().find(|it| it.name() == name);
        match known {
            None if name.is_empty() => return Err(DimensionError::Missing),
            None => return Err(DimensionError::Unknown(name.escape_debug().to_string())),
            Some(again) if found.contains(&again) => {
                return Err(DimensionError::Twice(again.name()));
            }
            Some(new) => found.push(new),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_order_and_mistakes_are_named() {
        assert_eq!(
            parse("netns, peer"),
            Ok(vec![Dimension::Netns, Dimension::Peer])
        );
        assert_eq!(parse(&names()), Ok(Dimension::ALL.to_vec()));
        assert_eq!(parse("peer,"), Err(DimensionError::Missing));
        assert_eq!(parse("Peer"), Err(DimensionError::Unknown("Peer".into())));
        assert_eq!(parse("port,port"), Err(DimensionError::Twice("port")));
        let text = parse("x\x1b").unwrap_err().to_string();
        assert!(text.starts_with(r"`x\u{1b}` is no table; ") && text.contains("asn"));
    }
}
