//! A list of sockets as text: a table where it fits, else a few short lines a socket.

use std::collections::HashSet;
use std::net::SocketAddr;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::table::{Cell, Column, Keep, Table, grouped};
use crate::list::Round;
use crate::list::socket::Socket;
use crate::list::users::Users;
use crate::record::Direction;

/// From this width on the lines of a socket are indented but the first.
const INDENT_FROM: usize = 12;

/// What stands above a round of several.
pub fn title(round: Round, zone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(round.time.0)).unwrap_or_default();
    let clock = zone
        .to_datetime(time)
        .time()
        .strftime("%H:%M:%S")
        .to_string();
    format!("round {}, {clock}", round.number)
}

/// The sockets, for lines of `width` columns.
pub fn text(sockets: &[Socket], users: &Users, width: usize) -> String {
    if sockets.is_empty() {
        return "no sockets\n".to_owned();
    }
    let table = table(sockets, users);
    let lines = table.lines(width, table.fits(width));
    let mut out = String::new();
    if lines.iter().all(|line| line.width() <= width) {
        for line in lines {
            out.extend([&line, "\n"]);
        }
    } else {
        for socket in sockets {
            stack(socket, users, width, &mut out);
        }
    }
    out
}

fn table(sockets: &[Socket], users: &Users) -> Table {
    let namespaces: HashSet<u32> = sockets.iter().map(|socket| socket.netns).collect();
    let several = namespaces.len() > 1;
    let mut columns = vec![
        Column::left("STATE"),
        Column::left("LOCAL"),
        Column::left(""),
        Column::left("REMOTE"),
        Column::right("PID"),
        Column::left("NAME"),
        Column::left("USER"),
        Column::right("TX"),
        Column::right("RX"),
    ];
    columns.extend(several.then_some(Column::right("NETNS")));
    let row = |socket: &Socket| {
        let text = |text: &str| Cell::Text(text.to_owned());
        let count = |bytes: Option<u64>| bytes.map_or_else(|| text("-"), Cell::Number);
        let mut cells = vec![
            text(socket.state.name()),
            Cell::Text(endpoint(socket.local)),
            text(arrow(socket)),
            Cell::Text(remote(socket)),
            Cell::Text(pid(socket)),
            Cell::Text(name(socket)),
            Cell::Text(user(socket, users)),
            count(socket.bytes.map(|bytes| bytes.tx)),
            count(socket.bytes.map(|bytes| bytes.rx)),
        ];
        cells.extend(several.then(|| Cell::Text(socket.netns.to_string())));
        cells
    };
    Table {
        columns,
        rows: sockets.iter().map(row).collect(),
        elastic: Some((5, Keep::Start)),
    }
}

/// The same, below each other.
fn stack(socket: &Socket, users: &Users, width: usize, out: &mut String) {
    let mut lines = vec![socket.state.name().to_owned(), endpoint(socket.local)];
    if socket.remote.is_some() {
        lines.push(
            format!("{} {}", arrow(socket), remote(socket))
                .trim_start()
                .to_owned(),
        );
    }
    let process = format!("{} {}", pid(socket), name(socket));
    lines.push(format!("{process}, {}", user(socket, users)));
    if let Some(bytes) = socket.bytes {
        lines.push(format!(
            "tx {}, rx {}",
            grouped(bytes.tx),
            grouped(bytes.rx)
        ));
    }
    let indent = if width >= INDENT_FROM { " " } else { "" };
    for (index, line) in lines.iter().enumerate() {
        let indent = if index == 0 { "" } else { indent };
        let options = textwrap::Options::new(width.max(1))
            .initial_indent(indent)
            .subsequent_indent(indent)
            .break_words(true);
        for line in textwrap::wrap(line, options) {
            out.extend([&*line, "\n"]);
        }
    }
}

/// With brackets around an IPv6 address. Without the scope of a link-local one, which is a number
/// that tells people nothing.
fn endpoint(address: SocketAddr) -> String {
    SocketAddr::new(address.ip(), address.port()).to_string()
}

fn remote(socket: &Socket) -> String {
    socket.remote.map_or_else(|| "*".to_owned(), endpoint)
}

const fn arrow(socket: &Socket) -> &'static str {
    match socket.direction {
        Some(Direction::Inbound) => "<-",
        Some(Direction::Outbound) => "->",
        None => "",
    }
}

fn pid(socket: &Socket) -> String {
    let first = socket.holders.first();
    first.map_or_else(|| "-".to_owned(), |holder| holder.pid.to_string())
}

/// With how many others have it open.
fn name(socket: &Socket) -> String {
    match &*socket.holders {
        [] => "-".to_owned(),
        [only] => only.name.to_string(),
        [first, others @ ..] => format!("{} +{}", first.name, others.len()),
    }
}

/// The name, or the number of a user without one.
fn user(socket: &Socket, users: &Users) -> String {
    socket.uid.map_or_else(
        || "-".to_owned(),
        |uid| {
            users
                .name(uid)
                .map_or_else(|| uid.to_string(), str::to_owned)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::{connection, listener};
    use crate::list::socket::{Holder, State};
    use crate::names;
    use crate::record::{Bytes, WallTime};

    fn sockets() -> Vec<Socket> {
        let holder = |pid| Holder {
            pid,
            name: "nginx".into(),
            start_ns: 0,
        };
        vec![
            Socket {
                holders: vec![holder(1234), holder(1235)],
                ..listener("0.0.0.0:80")
            },
            Socket {
                direction: Some(Direction::Inbound),
                uid: Some(33),
                holders: vec![holder(1235)],
                bytes: Some(Bytes {
                    tx: 5120,
                    rx: 211,
                    ..Bytes::default()
                }),
                ..connection("10.0.0.5:80", "10.0.0.9:20122")
            },
            Socket {
                state: State::TimeWait,
                direction: Some(Direction::Outbound),
                uid: None,
                bytes: None,
                ..connection("[2001:db8::1]:6000", "[2001:db8::2]:443")
            },
        ]
    }

    fn shown(sockets: &[Socket], width: usize) -> String {
        text(sockets, &Users::parse(b"www-data:x:33:33"), width)
    }

    #[test]
    fn a_wide_terminal_gets_a_table() {
        let expected = "\
STATE        LOCAL                   REMOTE              PID  NAME      USER         TX   RX
LISTEN       0.0.0.0:80              *                  1234  nginx +1  0             -    -
ESTABLISHED  10.0.0.5:80         <-  10.0.0.9:20122     1235  nginx     www-data  5,120  211
TIME_WAIT    [2001:db8::1]:6000  ->  [2001:db8::2]:443     -  -         -             -    -
";
        assert_eq!(shown(&sockets(), 120), expected);
    }

    #[test]
    fn a_narrow_one_gets_short_lines() {
        let expected = "\
LISTEN
 0.0.0.0:80
 1234 nginx +1, 0
ESTABLISHED
 10.0.0.5:80
 <- 10.0.0.9:20122
 1235 nginx, www-
 data
 tx 5,120, rx 211
TIME_WAIT
 [2001:db8::1]:6000
 ->
 [2001:db8::2]:443
 - -, -
";
        assert_eq!(shown(&sockets(), 20), expected);
    }

    #[test]
    fn no_width_is_overstepped_and_none_is_a_panic() {
        let longest = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
        let mut sockets = sockets();
        let mut hostile = connection(longest, longest);
        let name = names::escape("日本\x1b[2J語".as_bytes());
        hostile.holders = vec![Holder {
            pid: 4_194_304,
            name,
            start_ns: 0,
        }];
        hostile.bytes = Some(Bytes {
            tx: u64::MAX,
            rx: u64::MAX,
            ..Bytes::default()
        });
        sockets.push(hostile);
        for width in 0..200 {
            let text = shown(&sockets, width);
            assert!(!text.contains('\x1b'), "{text}");
            // A letter of two columns fits no line of one.
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= width.max(2), "{width}: {text}");
        }
    }

    #[test]
    fn several_namespaces_are_told_apart() {
        let mut sockets = sockets();
        assert!(!shown(&sockets, 200).contains("NETNS"));
        sockets[0].netns = 4_026_531_840;
        let text = shown(&sockets, 200);
        assert!(
            text.contains("NETNS") && text.contains("4026531840"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(shown(&[], 20), "no sockets\n");
        let round = Round {
            number: 2,
            time: WallTime(45_296_000_000_000),
        };
        assert_eq!(title(round, &TimeZone::UTC), "round 2, 12:34:56");
    }
}
