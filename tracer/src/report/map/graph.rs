//! The map as a graph: who is a node, what is used is a node, and a relation is an arrow from the one
//! to the other with its number of connections.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::map::view::Shown;
use crate::record::Direction;

/// For Graphviz.
pub(super) fn dot(shown: &Shown) -> String {
    let mut out = "digraph conntracer {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    let graph = Graph::of(shown);
    for (label, number) in &graph.nodes {
        let label = label.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(out, "  n{number} [label=\"{label}\"];");
    }
    for ((from, to), connections) in &graph.arrows {
        let _ = writeln!(out, "  n{from} -> n{to} [label=\"{connections}\"];");
    }
    out + "}\n"
}

/// For Mermaid.
pub(super) fn mermaid(shown: &Shown) -> String {
    let mut out = "flowchart LR\n".to_owned();
    let graph = Graph::of(shown);
    for (label, number) in &graph.nodes {
        let _ = writeln!(out, "  n{number}[\"{}\"]", entities(label));
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
    nodes: BTreeMap<String, usize>,
    arrows: BTreeMap<(usize, usize), u64>,
}

impl Graph {
    fn of(shown: &Shown) -> Self {
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
            let from = from.map(|label| graph.node(label));
            let to = to.map(|label| graph.node(label));
            if let (Some(from), Some(to)) = (from, to) {
                let connections = graph.arrows.entry((from, to)).or_default();
                *connections = connections
                    .saturating_add(uses.connections)
                    .saturating_add(uses.older);
            }
        }
        graph
    }

    fn node(&mut self, label: String) -> usize {
        let next = self.nodes.len();
        *self.nodes.entry(label).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Map;
    use crate::map::view::Filter;
    use crate::map::view::samples::{inbound, map, uses};

    #[test]
    fn relations_are_arrows_from_user_to_used() {
        let shown = Shown::of(map(), &Filter::default());
        let text = dot(&shown);
        assert!(text.contains(r#"[label="php \"fpm\""];"#), "{text}");
        assert!(text.contains(r#"[label="10.0.0.5:80 nginx"];"#), "{text}");
        assert_eq!(text.matches("->").count(), 6, "{text}");
        let text = mermaid(&shown);
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
        let text = dot(&shown);
        assert!(
            text.contains(r#"n1 [label="10.0.0.5:80 \"];x->y\\\\\\n`<b>#"];"#),
            "{text}"
        );
        let text = mermaid(&shown);
        let node = text.lines().nth(1).unwrap();
        assert_eq!(
            node.matches(['"', '`', '<', '>', '\\']).count(),
            2,
            "{node}"
        );
    }
}
