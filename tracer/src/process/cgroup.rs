//! What the path of a cgroup says: systemd unit, container, Kubernetes pod. Pure.
//!
//! | who | path |
//! |---|---|
//! | systemd | `…/nginx.service`, `…/session-3.scope`; a user's: `…/user@1000.service/app.slice/x.service` |
//! | docker | `…/docker-ID.scope`, `/docker/ID` |
//! | podman | `…/libpod-ID.scope`, `/libpod_parent/libpod-ID`; `…/container` below |
//! | containerd | `…/cri-containerd-ID.scope`, `…:cri-containerd:ID`, `/k8s.io/ID`, `…/nerdctl-ID.scope` |
//! | CRI-O | `…/crio-ID.scope` |
//! | Kubernetes | `…-podUID.slice/…` with `_` for `-`; `/kubepods/burstable/podUID/ID` |
//!
//! The innermost of each counts: a container may run systemd, or other containers.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use compact_str::CompactString;

use crate::names::escape;
use crate::record::Container;

/// Where a process runs. Text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// systemd unit.
    pub unit: Option<CompactString>,
    /// Container.
    pub container: Option<Container>,
    /// UID of the Kubernetes pod.
    pub pod_uid: Option<CompactString>,
}

/// The text of `/proc/PID/cgroup`: `id:controllers:path` a line, without controllers for version 2.
#[derive(Clone, Debug)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Of this text.
    pub fn new(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// Controllers and path of each.
    fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
    }
}

/// The path of version 2.
pub fn unified(lines: &Lines) -> Option<&[u8]> {
    let mut all = lines.all();
    all.find_map(|(controllers, path)| controllers.is_empty().then_some(path))
}

impl Place {
    /// By one path.
    pub fn of(path: &str) -> Self {
        let mut place = Self::default();
        let mut in_kubepods = false;
        let mut above = "";
        for component in path.split('/') {
            let (name, suffix) = component.rsplit_once('.').unwrap_or((component, ""));
            if matches!(suffix, "service" | "scope") && !name.is_empty() {
                place.unit = Some(component.into());
            }
            in_kubepods |= component.starts_with("kubepods");
            if in_kubepods && let Some(uid) = pod_uid(component) {
                place.pod_uid = Some(uid);
            }
            if let Some(container) = container(component, above) {
                place.container = Some(container);
            }
            above = component;
        }
        place
    }

    /// By all paths of a process: that of version 2 says most where it says anything, then that of
    /// systemd.
    pub fn of_all(lines: &Lines) -> Self {
        let mut ranked: Vec<_> = lines.all().collect();
        ranked.sort_by_key(|(controllers, _)| match *controllers {
            b"" => 0,
            b"name=systemd" => 1,
            _ => 2,
        });
        let mut place = Self::default();
        for (_, path) in ranked {
            let found = Self::of(&escape(path));
            place.unit = place.unit.or(found.unit);
            place.container = place.container.or(found.container);
            place.pod_uid = place.pod_uid.or(found.pod_uid);
        }
        place
    }
}

/// Digits of an id that is known by what stands before it.
const SHORTEST: usize = 12;
/// Digits of one that stands alone.
const LONGEST: usize = 64;

fn is_id(text: &str, least: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (least..=LONGEST).contains(&text.len()) && text.bytes().all(is_digit)
}

/// The container whose own cgroup this component is.
fn container(component: &str, above: &str) -> Option<Container> {
    const PREFIXES: [(&str, &str); 5] = [
        ("docker-", "docker"),
        ("libpod-", "podman"),
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("crio-", "cri-o"),
    ];
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let found = |id: &str, runtime| Container {
        id: id.into(),
        runtime,
    };
    for (prefix, runtime) in PREFIXES {
        // What watches a container is called `…-conmon-ID`.
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id, SHORTEST)) {
            return Some(found(id, Some(runtime)));
        }
    }
    // containerd that was told of systemd's names and does not use systemd.
    if let Some((_, id)) = name.rsplit_once(":cri-containerd:") {
        return is_id(id, SHORTEST).then(|| found(id, Some("containerd")));
    }
    if !is_id(name, LONGEST) {
        return None;
    }
    // Below a pod, and elsewhere, it can be any.
    let runtime = match above {
        "docker" => Some("docker"),
        "libpod_parent" => Some("podman"),
        "k8s.io" => Some("containerd"),
        _ => None,
    };
    Some(found(name, runtime))
}

/// `podUID`, or `kubepods-besteffort-podUID.slice` with other dashes.
fn pod_uid(component: &str) -> Option<CompactString> {
    let name = match component.split_once(".slice") {
        Some((name, _)) => name.rsplit_once("-pod")?.1,
        None => component.strip_prefix("pod")?,
    };
    // Static pods have a hash for a UID.
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'_' | b'-');
    let is_uid = (32..=36).contains(&name.len()) && name.bytes().all(is_digit);
    is_uid.then(|| name.replace('_', "-").into())
}

/// Where cgroups of version 2 are mounted, by the text of `/proc/self/mountinfo`; the whole tree
/// rather than a part of it.
pub fn mount_point(mounts: &[u8]) -> Option<PathBuf> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| (root != b"/", point.to_vec()))
    };
    let found = mounts.split(|byte| *byte == b'\n').filter_map(parse);
    let (_, point) = found.min_by_key(|(is_part, _)| *is_part)?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(
        &point,
    ))))
}

/// Blanks, line ends and backslashes are `\040` and the like there.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *byte == b'\\');
        let number =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(number.unwrap_or(*byte));
        rest = if number.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests;
