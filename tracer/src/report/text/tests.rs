use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::samples::{HOST_NETNS, busy, counts, empty, peer, port, process};
use super::*;
use crate::summary::{Loss, Other, Others, PortRow, Replayed};

const NARROW: Style = Style {
    width: 80,
    colour: false,
    top: 20,
};
const WIDE: Style = Style {
    width: 200,
    ..NARROW
};

fn text(summary: &Summary, style: Style) -> String {
    let mut out = String::new();
    write(summary, &style, &mut out);
    out
}

fn lasting(duration_ns: u64) -> Option<Traced> {
    let traced = busy().traced;
    traced.map(|traced| Traced {
        duration_ns,
        ..traced
    })
}

fn assert_text(summary: &Summary, style: Style, expected: &str) {
    let text = text(summary, style);
    assert!(text == expected, "got:\n{text}\nexpected:\n{expected}");
}

#[test]
fn eighty_columns_hold_exact_numbers_and_only_a_long_address_is_shortened() {
    let expected = "  PORT ACCEPTS CONNECTS FAILED OPEN      TX BYTES  RX BYTES
    80  10,000        0      0    3 3,000,000,000 1,234,567
-> 443       0       12      2    0         5,000       900
    22       1        0      0    1           700        33
 total  10,001       12      2    4 3,000,005,700 1,235,500

    PID NAME            ACCEPTS CONNECTS FAILED OPEN      TX BYTES  RX BYTES
   1234 nginx            10,000        0      0    3 2,999,999,000 1,234,567
1234567 a-15-byte-name!       0       12      2    0         5,000       900
      7 sshd                  1        0      0    1           700        33
      - (unknown)             0        0      0    0         1,000         0
  total                  10,001       12      2    4 3,000,005,700 1,235,500

PEER                        ACCEPTS CONNECTS FAILED OPEN      TX BYTES  RX BYTES
2001:db8:aaaa…c:dddd:eeee:1   9,999        0      0    3 2,999,000,000 1,234,000
192.168.178.123                   2       12      2    1         5,700       933
(not kept)                        0        0      0    0     1,000,000       567
total                        10,001       12      2    4 3,000,005,700 1,235,500

unattributed: 1,000 bytes sent and 0 received by processes that are not known
loss: none
backend: tracepoint
duration: 10s 250ms
";
    assert_text(&busy(), NARROW, expected);
}

#[test]
fn two_hundred_columns_show_rates_and_whole_addresses() {
    let expected = "  PORT  ACCEPTS  CONNECTS  FAILED  OPEN       TX BYTES   RX BYTES        TX/S        RX/S
    80   10,000         0       0     3  3,000,000,000  1,234,567  300.0 MB/s  123.5 kB/s
-> 443        0        12       2     0          5,000        900     500 B/s      90 B/s
    22        1         0       0     1            700         33      70 B/s       3 B/s
 total   10,001        12       2     4  3,000,005,700  1,235,500  300.0 MB/s  123.5 kB/s

    PID  NAME             ACCEPTS  CONNECTS  FAILED  OPEN       TX BYTES   RX BYTES        TX/S        RX/S
   1234  nginx             10,000         0       0     3  2,999,999,000  1,234,567  300.0 MB/s  123.5 kB/s
1234567  a-15-byte-name!        0        12       2     0          5,000        900     500 B/s      90 B/s
      7  sshd                   1         0       0     1            700         33      70 B/s       3 B/s
      -  (unknown)              0         0       0     0          1,000          0     100 B/s       0 B/s
  total                    10,001        12       2     4  3,000,005,700  1,235,500  300.0 MB/s  123.5 kB/s

PEER                                 ACCEPTS  CONNECTS  FAILED  OPEN       TX BYTES   RX BYTES        TX/S        RX/S
2001:db8:aaaa:bbbb:cccc:dddd:eeee:1    9,999         0       0     3  2,999,000,000  1,234,000  299.9 MB/s  123.4 kB/s
192.168.178.123                            2        12       2     1          5,700        933     570 B/s      93 B/s
(not kept)                                 0         0       0     0      1,000,000        567  100.0 kB/s      56 B/s
total                                 10,001        12       2     4  3,000,005,700  1,235,500  300.0 MB/s  123.5 kB/s

unattributed: 1,000 bytes sent and 0 received by processes that are not known
loss: none
backend: tracepoint
duration: 10s
";
    assert_text(
        &Summary {
            traced: lasting(10_000_000_000),
            ..busy()
        },
        WIDE,
        expected,
    );
}

#[test]
fn rows_of_several_hosts_have_their_host_and_a_replay_claims_nothing_that_it_does_not_know() {
    let host = |host: &str| Some(host.into());
    let numbers = [1, 0, 0, 0, 5, 6];
    let mut summary = Summary {
        ports: vec![port(Direction::Inbound, 80, numbers); 2],
        processes: vec![process(Some((7, "nginx")), numbers); 2],
        peers: vec![peer(Some("10.0.0.9"), numbers); 2],
        total: counts([2, 0, 0, 0, 10, 12]),
        host: None,
        traced: None,
        loss: None,
        replay: Some(Replayed::default()),
        sampled: None,
        ..empty()
    };
    for (index, name) in ["db", "web.example.org"].into_iter().enumerate() {
        summary.ports[index].host = host(name);
        summary.processes[index].host = host(name);
        summary.peers[index].host = host(name);
    }
    let expected = " PORT  HOST             ACCEPTS  CONNECTS  FAILED  OPEN  TX BYTES  RX BYTES
   80  db                     1         0       0     0         5         6
   80  web.example.org        1         0       0     0         5         6
total                         2         0       0     0        10        12

  PID  NAME   HOST             ACCEPTS  CONNECTS  FAILED  OPEN  TX BYTES  RX BYTES
    7  nginx  db                     1         0       0     0         5         6
    7  nginx  web.example.org        1         0       0     0         5         6
total                                2         0       0     0        10        12

PEER      HOST             ACCEPTS  CONNECTS  FAILED  OPEN  TX BYTES  RX BYTES
10.0.0.9  db                     1         0       0     0         5         6
10.0.0.9  web.example.org        1         0       0     0         5         6
total                            2         0       0     0        10        12

replayed: 0 records in 0 files
loss: not known, nor the backend: records do not tell
";
    assert_text(&summary, WIDE, expected);
}

#[test]
fn a_run_that_saw_nothing_says_so_and_what_it_may_have_missed() {
    let expected = "\
no connections seen

loss: none
backend: tracepoint
duration: 10s 250ms
";
    assert_text(&empty(), NARROW, expected);
    let late = Loss {
        late_news: 1,
        missed_probes: 2,
        ..Loss::default()
    };
    let expected = "\
no connections seen

loss: 2 probe runs skipped by the kernel because another was running on that
  CPU; counts may be too low
late: 1 event found the event ring full and came later, nothing is missing; a
  larger --ring-size avoids it
backend: tracepoint
duration: 10s 250ms
";
    assert_text(
        &Summary {
            loss: Some(late),
            ..empty()
        },
        NARROW,
        expected,
    );
}

#[test]
fn rows_beyond_the_top_become_one_row() {
    let text = text(&busy(), Style { top: 1, ..NARROW });
    let expected = "    PORT  ACCEPTS  CONNECTS  FAILED  OPEN       TX BYTES   RX BYTES
      80   10,000         0       0     3  3,000,000,000  1,234,567
(2 more)        1        12       2     1          5,700        933
   total   10,001        12       2     4  3,000,005,700  1,235,500
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed(&text).starts_with(&squeezed(expected)), "{text}");
}

#[test]
fn namespaces_have_a_column_only_when_there_are_several() {
    let mut summary = busy();
    assert!(!text(&summary, WIDE).contains("NETNS"));
    summary.ports[0].netns = 4_026_532_999;
    let text = text(&summary, WIDE);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("  PORT       NETNS  ACCEPTS"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("    80  4026532999   10,000"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("-> 443  4026531840        0"),
        "{text}"
    );
    assert!(
        lines[4].starts_with(" total               10,001"),
        "{text}"
    );
    assert_eq!(text.matches("NETNS").count(), 2, "{text}");
}

#[test]
fn connections_that_no_process_took_are_told() {
    let mut summary = busy();
    summary.total.unaccepted = 1;
    assert!(text(&summary, NARROW).contains("\nunaccepted: 1 inbound connection that no process"));
    assert!(!text(&busy(), NARROW).contains("unaccepted"));
}

#[test]
fn colour_is_used_only_on_request_and_changes_nothing_else() {
    let summary = Summary {
        loss: Some(Loss {
            users_full: 1,
            ..Loss::default()
        }),
        ..busy()
    };
    let plain = text(&summary, NARROW);
    assert!(!plain.contains('\x1b'));
    let coloured = text(
        &summary,
        Style {
            colour: true,
            ..NARROW
        },
    );
    assert!(coloured.contains("\x1b[33mloss: 1 time "));
    let mut stripped = coloured;
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[33m"] {
        assert!(stripped.contains(code));
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn terabytes_namespaces_and_the_longest_address_fit_eighty_columns() {
    let numbers = [
        1_000_000,
        1_000_000,
        1_000_000,
        100_000,
        5_000_000_000_000,
        5_000_000_000_000,
    ];
    let summary = Summary {
        ports: vec![
            port(Direction::Outbound, 65_535, numbers),
            PortRow {
                netns: 1,
                ..port(Direction::Inbound, 1, [0; 6])
            },
        ],
        processes: vec![process(
            Some((4_194_304, r"\xff\xff\xff\xff\xff\xff\xff\xff")),
            numbers,
        )],
        peers: vec![peer(
            Some("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"),
            numbers,
        )],
        total: counts(numbers),
        ..empty()
    };
    for line in text(&summary, NARROW).lines() {
        assert!(line.width() <= 80, "{} columns: {line}", line.width());
    }
}

#[test]
fn any_width_and_top_works() {
    let loss = Loss {
        late_news: 1,
        untracked_rx: u64::MAX,
        ..Loss::default()
    };
    let summary = Summary {
        loss: Some(loss),
        traced: lasting(0),
        ..busy()
    };
    for width in (0..130).chain([usize::from(u16::MAX), usize::MAX]) {
        for top in [0, 1, 3, usize::MAX] {
            let text = text(
                &summary,
                Style {
                    width,
                    colour: true,
                    top,
                },
            );
            assert!(text.contains("18,446,744,073,709,551,615"));
        }
    }
}

/// Where each column of numbers stands, by its right-aligned head, in characters.
fn column(heads: &str, head: &str) -> Range<usize> {
    let end = heads.find(head).unwrap() + head.len();
    let start = heads[..end - head.len()].trim_end().len();
    start..end
}

/// The numbers of one column, heads excluded.
fn numbers(table: &[&str], head: &str) -> Vec<u64> {
    let place = column(table[0], head);
    let cell = |line: &&str| {
        let cell: String = line.chars().skip(place.start).take(place.len()).collect();
        // A left-aligned column before this one may reach into its empty part.
        let number = cell
            .split_whitespace()
            .last()
            .unwrap_or_default()
            .replace(',', "");
        number
            .parse()
            .unwrap_or_else(|_| panic!("{cell:?} in {line}"))
    };
    table[1..].iter().map(cell).collect()
}

#[test]
fn the_printed_rows_of_every_table_add_up_to_the_printed_total() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Mostly small, sometimes huge.
        state >> (20 + state % 43)
    };
    for round in 0..200_u16 {
        let mut summary = empty();
        for number in 0..u16::try_from(random() % 30).unwrap() {
            let numbers = [(); 6].map(|()| random());
            summary
                .ports
                .push(port(Direction::Inbound, number, numbers));
            summary
                .processes
                .push(process(Some((u32::from(number), "some-name")), numbers));
            let ip = format!("2001:db8:1111:2222:3333:4444:5555:{number:x}");
            summary.peers.push(peer(Some(&ip), numbers));
            summary.ports[usize::from(number)].netns = HOST_NETNS + u32::from(round % 2);
            summary.total += counts(numbers);
        }
        if summary.ports.is_empty() {
            continue;
        }
        for (width, top) in [(20, 3), (80, 20), (80, 0), (200, 5), (200, 100)] {
            let text = text(
                &summary,
                Style {
                    width,
                    colour: false,
                    top,
                },
            );
            let lines: Vec<_> = text.lines().collect();
            let tables: Vec<_> = lines.split(|line| line.is_empty()).take(3).collect();
            let total = summary.total;
            for table in tables {
                for (head, grand) in [
                    ("ACCEPTS", total.accepts),
                    ("CONNECTS", total.connects),
                    ("FAILED", total.failures),
                    ("OPEN", total.open),
                    ("TX BYTES", total.tx),
                    ("RX BYTES", total.rx),
                ] {
                    let numbers = numbers(table, head);
                    let (last, rows) = numbers.split_last().unwrap();
                    assert_eq!(rows.iter().sum::<u64>(), grand, "{head}:\n{text}");
                    assert_eq!(*last, grand, "{head}:\n{text}");
                    assert!(rows.len() <= top + 1);
                }
            }
        }
    }
}

#[test]
fn rows_beyond_the_most_are_one_row_and_a_row_that_may_lack_some_of_it_is_marked() {
    let mut summary = busy();
    let other = Other {
        rows: 1_200,
        counts: counts([1_300, 0, 0, 0, 7_000, 8]),
        ..Other::default()
    };
    summary.total += other.counts;
    summary.other = Others {
        ports: Some(other),
        processes: Some(other),
        peers: Some(other),
    };
    summary.ports[1].at_least = true;
    summary.processes[2].at_least = true;
    summary.peers[1].at_least = true;
    let text = text(&summary, Style { top: 2, ..NARROW });
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "-> 443* 0 12 2 0 5,000 900",
        "(1 more) 1 0 0 1 700 33",
        "(other) 1,300 0 0 0 7,000 8",
        "192.168.178.123* 2 12 2 1 5,700 933",
        "total 11,301 12 2 4 3,000,012,700 1,235,508",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line} in\n{text}");
    }
    assert_eq!(text.matches("(other)").count(), 3, "{text}");
    assert_eq!(text.matches("\nother: 1,200 rows of the ").count(), 3);
    let text = self::text(&summary, Style { top: 3, ..NARROW });
    assert!(text.contains("7* sshd"), "{text}");
}
