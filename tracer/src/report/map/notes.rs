//! What stands under the tables: how much there is, what is left out, and what is missing.

use super::Style;
use super::table::paragraph;
use crate::map::Forgotten;
use crate::map::view::Shown;
use crate::report::text::counted;

/// Appends them.
pub(super) fn write(shown: &Shown, style: &Style<'_>, out: &mut String) {
    let relations = shown.relations.len() as u64;
    let hosts = counted(shown.addresses().len() as u64, "peer address");
    let hosts = hosts.replace("addresss", "addresses");
    paragraph(
        &format!("total: {hosts}, {}", counted(relations, "relation")),
        style,
        out,
    );
    if shown.loopback_hidden > 0 {
        let hidden = counted(shown.loopback_hidden, "relation");
        let text = format!("loopback: {hidden} left out; --loopback shows them");
        paragraph(&text, style, out);
    }
    for text in forgotten(shown.forgotten) {
        paragraph(&format!("forgotten: {text}"), style, out);
    }
}

fn forgotten(forgotten: Forgotten) -> Vec<String> {
    let Forgotten {
        aged_relations,
        aged_connections,
        capped_relations,
        capped_connections,
        unsaved,
        untraced_connections,
    } = forgotten;
    let mut out = Vec::new();
    for (relations, of, why) in [
        (
            aged_relations,
            aged_connections,
            "not seen for longer than --forget",
        ),
        (
            capped_relations,
            capped_connections,
            "the longest not seen, to stay within --map-max",
        ),
    ] {
        if relations > 0 {
            let (relations, of) = (counted(relations, "relation"), counted(of, "connection"));
            out.push(format!("{relations} with {of}, {why}"));
        }
    }
    if unsaved > 0 {
        let times = counted(unsaved, "connection");
        out.push(format!("{times}, because the map could not be saved"));
    }
    if untraced_connections > 0 {
        let connections = counted(untraced_connections, "connection");
        out.push(format!(
            "{connections} that were lost or known as sums only"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let all = Forgotten {
            aged_relations: 1,
            aged_connections: 2,
            capped_relations: 3,
            capped_connections: 4,
            unsaved: 5,
            untraced_connections: 6,
        };
        assert_eq!(forgotten(all).len(), 4);
        assert!(forgotten(Forgotten::default()).is_empty());
    }
}
