//! `/proc/PID/stat`.

/// The fields that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Process id of the parent; 0 if it is outside this pid namespace.
    pub(crate) parent: u32,
    /// Session id.
    pub(super) session: u32,
    /// Number of the pseudo-terminal that controls the process.
    pub(super) terminal: Option<u32>,
    /// Start, in clock ticks since boot.
    pub(crate) start: u64,
}

/// Major device number of the slave sides of pseudo-terminals, whose minor number is `N` in
/// `/dev/pts/N`.
pub(super) const PTS_MAJOR: u32 = 136;

impl Stat {
    /// Of a running process.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may itself have parentheses and spaces.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let device: u32 = fields.get(4)?.parse::<i32>().ok()?.cast_unsigned();
        let (major, minor) = (
            (device >> 8) & 0xfff,
            (device & 0xff) | ((device >> 12) & 0xf_ff00),
        );
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            terminal: (major == PTS_MAJOR).then_some(minor),
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The nearest ancestor of `pid` in another session: what opened the terminal or the connection
/// that `pid` was started from, such as sshd, sudo or tmux.
pub(super) fn launcher(pid: u32, stat: impl Fn(u32) -> Option<Stat>) -> Option<(u32, Stat)> {
    const MAX_DEPTH: usize = 100;
    let own = stat(pid)?;
    let mut parent = own.parent;
    for _ in 0..MAX_DEPTH {
        // Process 1 adopts what others left, and starts services.
        if parent <= 1 {
            return None;
        }
        let ancestor = stat(parent)?;
        if ancestor.session != own.session {
            return Some((parent, ancestor));
        }
        parent = ancestor.parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, device: &str) -> String {
        format!(
            "7 ({name}) S 5 7 6 {device} 7 0 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200 18446744073709551615\n"
        )
    }

    #[test]
    fn the_name_of_a_process_does_not_move_the_fields() {
        let expected = Stat {
            parent: 5,
            session: 6,
            terminal: None,
            start: 123_456,
        };
        for name in ["cat", "a b", ") S 1 1 1", "((", "\n"] {
            assert_eq!(Stat::parse(&text(name, "0")), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn the_terminal_is_the_minor_number_of_its_device() {
        let terminal = |device: &str| Stat::parse(&text("cat", device)).unwrap().terminal;
        assert_eq!(terminal("34816"), Some(0));
        assert_eq!(terminal("34821"), Some(5));
        assert_eq!(terminal(&(0x10_8802).to_string()), Some(258));
        assert_eq!(terminal("1025"), None, "a console");
    }

    #[test]
    fn a_short_text_is_nothing() {
        for short in ["", "7 (cat)", "7 (cat) S 5 7 6 0", "7 (cat) S x 7 6 0"] {
            assert_eq!(Stat::parse(short), None, "{short:?}");
        }
    }

    #[test]
    fn the_start_of_this_process_is_before_now() {
        let stat = Stat::read(std::process::id()).unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        let ticks = rustix::param::clock_ticks_per_second();
        assert!(
            stat.start > 0 && stat.start <= (seconds + 1) * ticks,
            "{stat:?} {seconds}"
        );
    }

    #[test]
    fn the_launcher_is_the_nearest_ancestor_in_another_session() {
        let stat = |parent, session| {
            Some(Stat {
                parent,
                session,
                terminal: None,
                start: 0,
            })
        };
        // init 1, sshd 10, sshd for the session 20, shell 30, tracer 31.
        let tree = |pid| match pid {
            31 => stat(30, 30),
            30 => stat(20, 30),
            20 => stat(10, 10),
            10 => stat(1, 10),
            _ => None,
        };
        assert_eq!(launcher(31, tree).unwrap().0, 20);
        assert_eq!(launcher(10, tree), None, "a child of process 1 has none");
        assert_eq!(launcher(99, tree), None);
        assert_eq!(launcher(5, |_| stat(5, 5)), None, "a circle ends");
    }
}
