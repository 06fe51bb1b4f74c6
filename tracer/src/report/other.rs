//! What the tables hold in one row because there was no room for more, in sentences.

use super::text::{counted, grouped};
use crate::summary::{Other, Others};

/// One sentence a table that had too many rows.
pub(super) fn sentences(others: &Others) -> Vec<String> {
    // Named one by one, so that a new table cannot be forgotten here.
    let Others {
        ports,
        processes,
        peers,
    } = others;
    let tables = [("port", ports), ("process", processes), ("peer", peers)];
    tables
        .into_iter()
        .filter_map(|(table, other)| other.as_ref().map(|other| sentence(table, other)))
        .collect()
}

fn sentence(table: &str, other: &Other) -> String {
    let most = &other.most_missing;
    format!(
        "{} of the {table} table, the least busy, are one row; one with * may lack up to {}, {} \
         sent and {} received that are in it; raise --max-rows",
        counted(other.rows, "row"),
        counted(most.connections, "connection"),
        counted(most.tx, "byte"),
        grouped(most.rx),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Missing;

    #[test]
    fn tables_with_all_rows_are_no_sentence_and_others_say_what_may_be_missing() {
        assert!(sentences(&Others::default()).is_empty());
        let other = Other {
            rows: 932_000,
            most_missing: Missing {
                connections: 18,
                tx: 1_234,
                rx: 5,
            },
            ..Other::default()
        };
        for (others, table) in [
            (
                Others {
                    ports: Some(other),
                    ..Others::default()
                },
                "port",
            ),
            (
                Others {
                    processes: Some(other),
                    ..Others::default()
                },
                "process",
            ),
            (
                Others {
                    peers: Some(other),
                    ..Others::default()
                },
                "peer",
            ),
        ] {
            let expected = format!(
                "932,000 rows of the {table} table, the least busy, are one row; one with * may \
                 lack up to 18 connections, 1,234 bytes sent and 5 received that are in it; raise \
                 --max-rows"
            );
            assert_eq!(sentences(&others), [expected]);
        }
    }
}
