//! The README's tables of kernels, which are the results of the matrix.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{
    arch::Arch,
    kernel::Release,
    matrix::{CLAIMS, Cell, Verdict},
};

/// The table in Markdown, one row a cell, with a legend of the claims.
pub(crate) fn table(cells: &[&Cell]) -> String {
    let titles: Vec<&str> = CLAIMS.iter().map(|claim| claim.title).collect();
    let mut text = format!(
        "| Linux | backend | {} | not counted |\n|---|---|{}---|\n",
        titles.join(" | "),
        "---|".repeat(titles.len())
    );
    for cell in cells {
        text.push_str(&row(cell));
        text.push('\n');
    }
    text.push('\n');
    for claim in &CLAIMS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {}: {}", claim.title, claim.meaning);
    }
    text
}

fn row(cell: &Cell) -> String {
    let claims = CLAIMS
        .iter()
        .map(|claim| match cell.claims.get(claim.title) {
            Some(Verdict::Proven) => cell.proven(claim),
            Some(Verdict::Failed) => "**not exact**",
            Some(Verdict::Unknown) => "**unknown**",
            None => "–",
        });
    let unseen = match &cell.refusal {
        Some(refusal) => format!("cannot attach: {refusal}"),
        None => consequences(&cell.unseen),
    };
    let linux = format!("{} ({})", cell.linux, cell.release.name());
    let mut words = vec![linux, cell.backend.clone()];
    words.extend(claims.map(str::to_owned));
    // A bar would end the cell.
    words.push(unseen.replace('|', "\\|"));
    format!("| {} |", words.join(" | "))
}

/// The tracer's notes without the causes, which stand before them in parentheses.
fn consequences(notes: &[String]) -> String {
    let lost = notes
        .iter()
        .map(|note| note.split_once("): ").map_or(&**note, |(_, lost)| lost));
    lost.collect::<Vec<_>>().join("; ")
}

/// The README with another table.
pub(crate) fn with_table(readme: &str, arch: Arch, table: &str) -> Result<String> {
    with_section(readme, &matrix(arch), table)
}

/// The README with another text in a section.
pub(crate) fn with_section(readme: &str, name: &str, text: &str) -> Result<String> {
    let (before, _, after) = split(readme, name)?;
    Ok(format!("{before}{text}{after}"))
}

/// The text of a section.
pub(crate) fn section<'a>(readme: &'a str, name: &str) -> Result<&'a str> {
    Ok(split(readme, name)?.1)
}

fn matrix(arch: Arch) -> String {
    format!("matrix {}", arch.name())
}

/// The rows of `cells` that the README does not have. The version of sid's kernel, which changes
/// without us, may differ.
pub(crate) fn missing(readme: &str, arch: Arch, cells: &[&Cell]) -> Result<Vec<String>> {
    let section = section(readme, &matrix(arch))?;
    let present: Vec<String> = section.lines().map(comparable).collect();
    let rows = cells.iter().map(|cell| row(cell));
    Ok(rows
        .filter(|row| !present.contains(&comparable(row)))
        .collect())
}

/// Whether the README has this table, but for the version of sid's kernel.
pub(crate) fn has(readme: &str, arch: Arch, table: &str) -> Result<bool> {
    let section = section(readme, &matrix(arch))?;
    Ok(section
        .lines()
        .map(comparable)
        .eq(table.lines().map(comparable)))
}

fn comparable(line: &str) -> String {
    let newest = format!(" ({}) |", Release::Sid.name());
    match line.split_once(&newest) {
        Some((_, rest)) => newest + rest,
        None => line.to_owned(),
    }
}

/// The README up to a section, the section, and the rest.
fn split<'a>(readme: &'a str, name: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let begin = format!("<!-- {name}: ");
    let end = format!("<!-- end of {name} -->");
    let found = || {
        let (_, rest) = readme.split_once(&begin)?;
        let (_, rest) = rest.split_once("-->\n")?;
        let start = readme.len() - rest.len();
        let stop = start + rest.find(&end)?;
        Some((&readme[..start], &readme[start..stop], &readme[stop..]))
    };
    found().with_context(|| format!("README.md has no `{begin}…-->` with a `{end}` after it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(release: Release, linux: &str, verdict: Verdict) -> Cell {
        Cell {
            release,
            linux: linux.to_owned(),
            backend: "kprobe".to_owned(),
            claims: CLAIMS.iter().map(|claim| (claim.title, verdict)).collect(),
            unseen: vec!["a|b".to_owned(), "`x` is not attached (why): c".to_owned()],
            refusal: None,
            faults: Vec::new(),
        }
    }

    const README: &str = "x\n<!-- matrix x86_64: how -->\nold\n<!-- end of matrix x86_64 -->\ny\n";

    #[test]
    fn a_row_tells_what_is_exact_and_what_is_not_counted() {
        let row = row(&cell(Release::Trixie, "6.12", Verdict::Proven));
        assert!(
            row.starts_with("| 6.12 (trixie) | kprobe | exact | "),
            "{row}"
        );
        assert!(row.ends_with(" | a\\|b; c |"), "{row}");
        let refused = Cell {
            claims: std::collections::BTreeMap::new(),
            refusal: Some("because".to_owned()),
            ..cell(Release::Bookworm, "6.1", Verdict::Proven)
        };
        let row = super::row(&refused);
        assert!(
            row.contains("| kprobe | – |") && row.ends_with("| cannot attach: because |"),
            "{row}"
        );
    }

    #[test]
    fn only_the_table_is_replaced() {
        let well = cell(Release::Trixie, "6.12", Verdict::Proven);
        let table = table(&[&well]);
        assert!(!has(README, Arch::X86_64, &table).unwrap());
        assert_eq!(missing(README, Arch::X86_64, &[&well]).unwrap().len(), 1);
        let new = with_table(README, Arch::X86_64, &table).unwrap();
        assert!(has(&new, Arch::X86_64, &table).unwrap());
        assert!(missing(&new, Arch::X86_64, &[&well]).unwrap().is_empty());
        assert_eq!(with_table(&new, Arch::X86_64, "old\n").unwrap(), README);
        let ill = cell(Release::Trixie, "6.12", Verdict::Failed);
        assert_eq!(missing(&new, Arch::X86_64, &[&ill]).unwrap().len(), 1);
    }

    #[test]
    fn only_the_version_of_the_newest_kernel_may_differ() {
        let table_of = |release, linux| table(&[&cell(release, linux, Verdict::Proven)]);
        for (release, tolerated) in [(Release::Sid, true), (Release::Trixie, false)] {
            let old = with_table(README, Arch::X86_64, &table_of(release, "7.2")).unwrap();
            let new = table_of(release, "7.3");
            assert_eq!(has(&old, Arch::X86_64, &new).unwrap(), tolerated);
            let cell = cell(release, "7.3", Verdict::Proven);
            let rows = missing(&old, Arch::X86_64, &[&cell]).unwrap();
            assert_eq!(rows.is_empty(), tolerated);
        }
        let ill = cell(Release::Sid, "7.2", Verdict::Failed);
        let well = with_table(README, Arch::X86_64, &table_of(Release::Sid, "7.2")).unwrap();
        assert_eq!(missing(&well, Arch::X86_64, &[&ill]).unwrap().len(), 1);
    }

    #[test]
    fn a_readme_without_a_place_is_an_error() {
        let error = missing(README, Arch::Aarch64, &[]).unwrap_err().to_string();
        assert!(error.contains("matrix aarch64"), "{error}");
    }

    #[test]
    fn the_readme_has_a_place_for_each_architecture() {
        let path = crate::workspace::root().unwrap().join("README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert!(split(&readme, &matrix(arch)).is_ok(), "{}", arch.name());
        }
    }
}
