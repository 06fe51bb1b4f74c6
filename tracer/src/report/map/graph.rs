//! The map as a graph: who is a node, what is used is a node, and a relation is an arrow from the one
//! to the other with its number of connections. Where more is told of an address, its node has more
//! lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Style;
use crate::map::view::Shown;
use crate::record::{Direction, Peer};
use crate::report::peers::words;

/// For Graphviz.
pub(super) fn dot(shown: &Shown, style: &Style<'_>) -> String {
    let mut out = "digraph conntracer {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    let graph = Graph::of(shown, style);
    let quoted = |line: &str| line.replace('\\', "\\\\").replace('"', "\\\"");
    for (label, node) in &graph.nodes {
        let number = node.number;
        let label = node.lines(label, "\\n", quoted);
        let _ = writeln!(out, "  n{number} [label=\"{label}\"];");
    }
    for ((from, to), connections) in &graph.arrows {
        let _ = writeln!(out, "  n{from} -> n{to} [label=\"{connections}\"];");
    }
    out + "}\n"
}

/// For Mermaid.
pub(super) fn mermaid(shown: &Shown, style: &Style<'_>) -> String {
    let mut out = "flowchart LR\n".to_owned();
    let graph = Graph::of(shown, style);
    for (label, node) in &graph.nodes {
        let number = node.number;
        let label = node.lines(label, "<br>", entities);
        let _ = writeln!(out, "  n{number}[\"{label}\"]");
    }
    for ((from, to), connections) in &graph.arrows {
        let _ = writeln!(out, "  n{from} -->|{connections}| n{to}");
    }
    out
}

/// Mermaid has no quoting, but its own kind of entities: whatever can mean something is one.
fn entities(label: &str) -> String {
    let mut out = String::new();
    for c in label.chars() {
        if c.is_alphanumeric() || " .:-/".contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}

#[derive(Default)]
struct Graph {
    nodes: BTreeMap<String, Node>,
    arrows: BTreeMap<(usize, usize), u64>,
}

struct Node {
    number: usize,
    /// What is told of its address, a line each.
    told: Vec<String>,
}

impl Node {
    /// All that is written in it.
    fn lines(&self, label: &str, gap: &str, quoted: impl Fn(&str) -> String) -> String {
        let told = self.told.iter().map(|line| quoted(line));
        let lines: Vec<_> = std::iter::once(quoted(label)).chain(told).collect();
        lines.join(gap)
    }
}

impl Graph {
    fn of(shown: &Shown, style: &Style<'_>) -> Self {
        let mut graph = Self::default();
        let has_hosts = shown.has_hosts();
        for (relation, uses) in &shown.relations {
            let process = relation.process.as_deref().unwrap_or("(unknown)");
            let place = |text: String| {
                if has_hosts {
                    format!("{} {text}", relation.host)
                } else {
                    text
                }
            };
            let (from, to) = match (relation.direction, relation.service) {
                (Direction::Inbound, Some(service)) => (
                    relation.peer.map(|peer| peer.to_string()),
                    Some(place(format!("{service} {process}"))),
                ),
                (Direction::Outbound, Some(service)) => {
                    (Some(place(process.to_owned())), Some(service.to_string()))
                }
                (_, None) => (relation.peer.map(|peer| peer.to_string()), None),
            };
            // Of this host's own end nothing is told.
            let told = style.peer(relation.other_side());
            let (told_from, told_to) = match relation.direction {
                Direction::Inbound => (told, None),
                Direction::Outbound => (None, told),
            };
            let from = from.map(|label| graph.node(label, told_from));
            let to = to.map(|label| graph.node(label, told_to));
            if let (Some(from), Some(to)) = (from, to) {
                let connections = graph.arrows.entry((from, to)).or_default();
                *connections = connections
                    .saturating_add(uses.connections)
                    .saturating_add(uses.older);
            }
        }
        graph
    }

    fn node(&mut self, label: String, told: Option<&Peer>) -> usize {
        let next = self.nodes.len();
        let node = self.nodes.entry(label).or_insert_with(|| Node {
            number: next,
            told: told.into_iter().flat_map(words).collect(),
        });
        node.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Map;
    use crate::map::view::Filter;
    use crate::map::view::samples::{inbound, map, uses};
    use crate::report::map::samples::{known, style};

    #[test]
    fn relations_are_arrows_from_user_to_used() {
        let shown = Shown::of(map(), &Filter::default());
        let text = dot(&shown, &style(None));
        assert!(text.contains(r#"[label="php \"fpm\""];"#), "{text}");
        assert!(text.contains(r#"[label="10.0.0.5:80 nginx"];"#), "{text}");
        assert_eq!(text.matches("->").count(), 6, "{text}");
        let text = mermaid(&shown, &style(None));
        assert!(text.contains(r#"["php #34;fpm#34;"]"#), "{text}");
        assert_eq!(text.matches("-->").count(), 6, "{text}");
    }

    #[test]
    fn a_name_cannot_leave_its_label() {
        let nasty = crate::names::escape(b"\"];x->y\\\n`<b>#");
        let map = Map {
            relations: vec![(inbound("10.0.0.5:80", "9.0.0.1", &nasty), uses(1))],
            ..Map::default()
        };
        let shown = Shown::of(map, &Filter::default());
        let text = dot(&shown, &style(None));
        assert!(
            text.contains(r#"n1 [label="10.0.0.5:80 \"];x->y\\\\\\n`<b>#"];"#),
            "{text}"
        );
        let text = mermaid(&shown, &style(None));
        let node = text.lines().nth(1).unwrap();
        assert_eq!(
            node.matches(['"', '`', '<', '>', '\\']).count(),
            2,
            "{node}"
        );
    }

    #[test]
    fn what_is_told_of_an_address_is_in_its_node() {
        let shown = Shown::of(map(), &Filter::default());
        let known = known();
        let text = dot(&shown, &style(Some(&known)));
        let node = r#"[label="9.0.0.1\nDE Köln\nAS64500 Example \"Net\", Ltd\nnine.example?"];"#;
        assert!(text.contains(node), "{text}");
        assert!(text.contains(r#"[label="10.0.0.9:5432\nFR"];"#), "{text}");
        assert!(text.contains(r#"[label="10.0.0.10"];"#), "{text}");
        let text = mermaid(&shown, &style(Some(&known)));
        let node =
            "[\"9.0.0.1<br>DE Köln<br>AS64500 Example #34;Net#34;#44; Ltd<br>nine.example#63;\"]";
        assert!(text.contains(node), "{text}");
    }
}
