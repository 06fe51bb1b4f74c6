//! Privileges of this process, from `/proc/self/status`.

use std::fmt;
use std::path::Path;

/// A privilege that is asked for by name, numbered as in `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Read any file and folder: tracefs is for root only.
    DacReadSearch = 2,
    /// All of the others' powers that matter here, as far as tracing goes.
    SysAdmin = 21,
    /// Load programs that read kernel memory, and open performance events.
    Perfmon = 38,
    /// Create maps and load programs.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// The effective capabilities of a process, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// From the text of a `status` file; none if it does not tell.
    pub fn from_status(status: &str) -> Self {
        Self(mask(status, "CapEff:").unwrap_or(0))
    }

    /// Whether it has `capability`, or `CAP_SYS_ADMIN` where that includes it.
    pub fn has(self, capability: Capability) -> bool {
        let bit = |capability: Capability| self.0 & (1 << capability as u8) != 0;
        let included = matches!(capability, Capability::Bpf | Capability::Perfmon);
        bit(capability) || (included && bit(Capability::SysAdmin))
    }

    /// Those of `needed` that are missing.
    pub fn missing(self, needed: &[Capability]) -> Vec<Capability> {
        needed
            .iter()
            .copied()
            .filter(|capability| !self.has(*capability))
            .collect()
    }
}

/// The hexadecimal mask in the line that begins with `key`.
pub(super) fn mask(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The effective user id.
pub(super) fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The names, joined for a sentence.
pub(super) fn names(capabilities: &[Capability]) -> String {
    let names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// The command that gives `capabilities` to the file `exe` for every later run.
pub(super) fn setcap_command(capabilities: &[Capability], exe: &Path) -> String {
    let names: Vec<_> = capabilities
        .iter()
        .map(|c| c.to_string().to_lowercase())
        .collect();
    format!(
        "sudo setcap {}+ep {}",
        names.join(","),
        shell_word(&exe.to_string_lossy())
    )
}

fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!(
        "'{}'",
        text.escape_debug()
            .to_string()
            .replace("\\'", "'")
            .replace('\'', r"'\''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bits: &[u8]) -> Capabilities {
        let mask = bits.iter().fold(0_u64, |mask, bit| mask | 1 << bit);
        Capabilities::from_status(&format!(
            "CapPrm:\tffffffffffffffff\nCapEff:\t{mask:016x}\n"
        ))
    }

    const NEEDED: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

    #[test]
    fn exactly_the_missing_ones_are_named() {
        assert_eq!(with(&[38, 39]).missing(&NEEDED), []);
        assert_eq!(with(&[39]).missing(&NEEDED), [Capability::Perfmon]);
        assert_eq!(with(&[38]).missing(&NEEDED), [Capability::Bpf]);
        assert_eq!(with(&[]).missing(&NEEDED), NEEDED);
    }

    #[test]
    fn sys_admin_includes_bpf_and_perfmon_but_not_files() {
        assert_eq!(with(&[21]).missing(&NEEDED), []);
        assert!(!with(&[21]).has(Capability::DacReadSearch));
        assert!(with(&[2]).has(Capability::DacReadSearch));
    }

    #[test]
    fn a_text_that_does_not_tell_gives_none() {
        for text in [
            "",
            "CapEff:\n",
            "CapEff:\tzz\n",
            "CapPrm:\tffffffffffffffff\n",
        ] {
            assert_eq!(
                Capabilities::from_status(text),
                Capabilities::default(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn this_process_has_a_status_that_can_be_read() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(mask(&status, "CapEff:").is_some());
        assert_eq!(
            effective_uid(&status),
            Some(rustix::process::geteuid().as_raw())
        );
    }

    #[test]
    fn the_effective_uid_is_the_second_number() {
        assert_eq!(effective_uid("Uid:\t1000\t0\t3\t4\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t1000\n"), None);
    }

    #[test]
    fn the_setcap_command_can_be_pasted() {
        let plain = setcap_command(&NEEDED, Path::new("/usr/bin/conntracer"));
        assert_eq!(
            plain,
            "sudo setcap cap_bpf,cap_perfmon+ep /usr/bin/conntracer"
        );
        let odd = setcap_command(&[Capability::Bpf], Path::new("/home/o'x y/c"));
        assert_eq!(odd, r"sudo setcap cap_bpf+ep '/home/o'\''x y/c'");
    }
}
