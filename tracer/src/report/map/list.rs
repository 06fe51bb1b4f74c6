//! The addresses on the other side, and nothing else.

use crate::map::view::Shown;

/// One a line.
pub(super) fn lines(shown: &Shown) -> String {
    let mut out = String::new();
    for ip in shown.addresses() {
        out.extend([&*ip.to_string(), "\n"]);
    }
    out
}

/// A JSON array of texts.
pub(super) fn json(shown: &Shown) -> String {
    let addresses: Vec<_> = shown
        .addresses()
        .iter()
        .map(|ip| format!("\"{ip}\""))
        .collect();
    format!("[{}]\n", addresses.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::view::Filter;
    use crate::map::view::samples::map;

    #[test]
    fn addresses_come_by_number() {
        let shown = Shown::of(map(), &Filter::default());
        assert_eq!(
            lines(&shown),
            "9.0.0.1\n10.0.0.9\n10.0.0.10\n192.0.2.1\n2001:db8::a\n"
        );
        assert_eq!(
            json(&shown),
            "[\"9.0.0.1\",\"10.0.0.9\",\"10.0.0.10\",\"192.0.2.1\",\"2001:db8::a\"]\n"
        );
        assert_eq!(json(&Shown::default()), "[]\n");
        assert_eq!(lines(&Shown::default()), "");
    }
}
