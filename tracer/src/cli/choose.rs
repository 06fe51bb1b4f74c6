//! The options that choose connections by address, name and program, everywhere; and those by device
//! and cgroup, which only the kernel side can judge.

use std::path::PathBuf;

use super::{SELECT, UsageError, each};
use crate::choose::Choice;
use crate::choose::cgroups::{Cgroups, Wanted};
use crate::choose::exe::Globs;
use crate::choose::name::{Name, parse_comms, parse_interfaces};
use crate::choose::source::{Prefixes, SourceError};
use crate::options::FilterOptions;

#[derive(clap::Args)]
pub(super) struct ChooseArgs {
    #[arg(long, value_name = "NETS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections with these peers: addresses and networks, as in \
                192.0.2.7,10.0.0.0/8, or @FILE with one a line and # before comments; may be \
                repeated. Default: all.")]
    only: Vec<String>,

    #[arg(long, value_name = "NETS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Leave out connections with these peers, written likewise; also those that --only \
                would keep. A trace reads files again on SIGHUP, which a command gets, too, unless \
                it is on a terminal or polls; what is traced already stays. Default: none.")]
    exclude: Vec<String>,

    #[arg(long, value_name = "NETS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections with these addresses of this host, written likewise. Default: all.")]
    local: Vec<String>,

    #[arg(long, value_name = "NAMES", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes with these names, as in nginx,sshd, of at most 15 \
                bytes each: what the kernel keeps; may be repeated. Default: all.")]
    comm: Vec<String>,

    #[arg(long, value_name = "PATTERN", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes that execute a file at such a path, as in \
                /usr/sbin/nginx or '/opt/*', or, without a slash, of such a name, as in 'python3*'; \
                may be repeated. Default: all.")]
    exe: Vec<String>,
}

impl ChooseArgs {
    pub(super) fn check(&self) -> Result<Choice, UsageError> {
        Ok(Choice {
            only: prefixes("--only", &self.only)?,
            exclude: prefixes("--exclude", &self.exclude)?,
            local: prefixes("--local", &self.local)?,
            comms: names(each("--comm", &self.comm, parse_comms)?),
            exe: Globs::join(each("--exe", &self.exe, Globs::parse)?),
            ..Choice::default()
        })
    }
}

fn prefixes(option: &str, values: &[String]) -> Result<Option<Prefixes>, UsageError> {
    if values.is_empty() {
        return Ok(None);
    }
    let told = |error: SourceError| {
        let text = error.to_string();
        // Nothing given leaves nothing to name.
        let text = text
            .strip_prefix(": ")
            .map_or(text.clone(), |rest| format!("'': {rest}"));
        UsageError::message(&format!("{option} {text}"))
    };
    Prefixes::of(values).map(Some).map_err(told)
}

/// Each once: more than one copy would need more room than there is.
fn names(lists: Vec<Vec<Name>>) -> Vec<Name> {
    let mut names = Vec::new();
    for name in lists.into_iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[derive(clap::Args)]
pub(super) struct WhereArgs {
    #[arg(long, value_name = "DEVICES", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections whose packets leave through these network devices, as in \
                eth0,wg0, in any network namespace; may be repeated. Default: all.")]
    interface: Vec<String>,

    #[arg(long, value_name = "PATH", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes in this cgroup or below it: a directory of the cgroup \
                v2 hierarchy, or its path there, as in /system.slice; may be repeated. Default: all.")]
    cgroup: Vec<PathBuf>,

    #[arg(long, value_name = "NAME", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes of this systemd unit, as in nginx or user.slice; may \
                be repeated. One that was started again is found again on SIGHUP. Default: all.")]
    unit: Vec<String>,

    #[arg(long, value_name = "ID", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes in this container: at least the first 12 digits of its \
                id; may be repeated. Default: all.")]
    container: Vec<String>,
}

impl WhereArgs {
    /// Their names, for a message.
    pub(super) const OPTIONS: &str = "--interface, --cgroup, --unit or --container";

    /// Whether any of them is.
    pub(super) fn is_given(&self) -> bool {
        !self.interface.is_empty()
            || !self.cgroup.is_empty()
            || !self.unit.is_empty()
            || !self.container.is_empty()
    }

    pub(super) fn add_to(&self, mut filter: FilterOptions) -> Result<FilterOptions, UsageError> {
        let interfaces = each("--interface", &self.interface, parse_interfaces)?;
        filter.choice.interfaces = names(interfaces);
        filter.choice.cgroups = self.cgroups()?;
        Ok(filter)
    }

    fn cgroups(&self) -> Result<Cgroups, UsageError> {
        let paths = self.cgroup.iter().cloned().map(Wanted::Path).map(Ok);
        let units = self.unit.iter().map(|name| Wanted::unit(name));
        let containers = self.container.iter().map(|id| Wanted::container(id));
        let wanted: Result<Vec<_>, _> = paths.chain(units).chain(containers).collect();
        wanted
            .and_then(Cgroups::find)
            .map_err(|error| UsageError::message(&error.to_string()))
    }
}
