use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "7b2a3c4d-0001-4002-8003-123456789abc";

/// The path with `ID` and `UID` filled in, the latter with underscores for `UID_`.
fn path(path: &str) -> String {
    let underscores = UID.replace('-', "_");
    path.replace("UID_", &underscores)
        .replace("UID", UID)
        .replace("ID", ID)
}

/// Unit, container with its runtime, and pod.
type Parts = (
    Option<String>,
    Option<(String, Option<&'static str>)>,
    Option<String>,
);

fn parts(text: &str) -> Parts {
    let place = Place::of(&path(text));
    let container = place.container.map(|it| (it.id.to_string(), it.runtime));
    let text = |text: Option<CompactString>| text.map(|text| text.to_string());
    (text(place.unit), container, text(place.pod_uid))
}

#[test]
fn the_innermost_unit_is_the_unit() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            Some("getty@tty1.service"),
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            Some("session-3.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service",
            Some("x.service"),
        ),
        ("/system.slice/nginx.service/workers", Some("nginx.service")),
        ("/init.scope", Some("init.scope")),
        ("/../../system.slice/a.b.service", Some("a.b.service")),
        ("/user.slice", None),
        ("/.service/service/scope", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(parts(path), (unit.map(str::to_owned), None, None), "{path}");
    }
}

#[test]
fn every_runtime_is_known_by_how_it_names_a_container() {
    for (path, runtime) in [
        ("/system.slice/docker-ID.scope", Some("docker")),
        ("/docker/ID", Some("docker")),
        ("/system.slice/docker-ID.scope/init.scope", Some("docker")),
        ("/machine.slice/libpod-ID.scope", Some("podman")),
        ("/machine.slice/libpod-ID.scope/container", Some("podman")),
        ("/libpod_parent/libpod-ID", Some("podman")),
        ("/system.slice/nerdctl-ID.scope", Some("containerd")),
        ("/k8s.io/ID", Some("containerd")),
        ("/ecs/0123456789abcdef0123456789abcdef/ID", None),
    ] {
        let (_, container, pod) = parts(path);
        assert_eq!(container, Some((ID.to_owned(), runtime)), "{path}");
        assert_eq!(pod, None);
    }
}

#[test]
fn a_pod_is_known_by_either_driver_with_any_runtime() {
    for (path, runtime) in [
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/cri-containerd-ID.scope",
            Some("containerd"),
        ),
        (
            "/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope",
            Some("cri-o"),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/docker-ID.scope",
            Some("docker"),
        ),
        ("/kubepods/burstable/podUID/ID", None),
        ("/kubepods/podUID/ID", None),
        (
            "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
            Some("containerd"),
        ),
        // As seen in a node that is a container itself.
        (
            "/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/kubelet/kubepods/burstable/podUID/ID",
            None,
        ),
    ] {
        let (_, container, pod) = parts(path);
        assert_eq!(container, Some((ID.to_owned(), runtime)), "{path}");
        assert_eq!(pod.as_deref(), Some(UID), "{path}");
    }
    let hashed = "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef";
    assert_eq!(
        parts(hashed).2.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[test]
fn what_only_looks_like_a_container_or_a_pod_is_none() {
    for path in [
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/kubepods-podUID_.slice/crio-conmon-ID.scope",
        "/docker/ID0",
        "/docker/buildkit",
        "/system.slice/docker.service",
        "/system.slice/docker-proxy.scope",
        "/system.slice/docker-0123.scope",
        "/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(parts(path).1, None, "{path}");
    }
    for path in [
        "/podUID/x",
        "/kubepods/podcast",
        "/kubepods-pod.slice",
        "/kubepods/pod.slice/x",
    ] {
        assert_eq!(parts(path).2, None, "{path}");
    }
}

#[test]
fn version_two_counts_first_and_then_systemds() {
    let place = |text: &str| Place::of_all(&Lines::new(path(text).into_bytes()));
    let hybrid = place(
        "12:pids:/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n0::/system.slice/c.service\n",
    );
    assert_eq!(hybrid.unit.as_deref(), Some("c.service"));
    let hybrid = place("12:pids:/docker/ID\n1:name=systemd:/system.slice/b.service\n0::/\n");
    assert_eq!(hybrid.unit.as_deref(), Some("b.service"));
    assert_eq!(hybrid.container.unwrap().runtime, Some("docker"));
    let old = place("3:cpu,cpuacct:/kubepods/burstable/podUID/ID\n2:pids:/\n");
    assert_eq!(old.pod_uid.as_deref(), Some(UID));
    assert_eq!(place(""), Place::default());
    assert_eq!(place("garbage\n::\n0\n:"), Place::default());
}

#[test]
fn the_path_of_version_two_may_have_colons() {
    let unified = |text: &str| {
        let lines = Lines::new(text.as_bytes().to_vec());
        super::unified(&lines).map(|path| String::from_utf8_lossy(path).into_owned())
    };
    assert_eq!(unified("1:cpu:/x\n0::/a:b\n").as_deref(), Some("/a:b"));
    assert_eq!(unified("1:cpu:/x\n"), None);
}

#[test]
fn a_hostile_path_is_escaped() {
    let lines = Lines::new(b"0::/a\x1b[2J.service\n".to_vec());
    assert_eq!(
        Place::of_all(&lines).unit.as_deref(),
        Some(r"a\x1b[2J.service")
    );
}

#[test]
fn the_mount_of_the_whole_tree_is_found() {
    let whole = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    let part = "29 23 0:26 /docker/x /mnt/a\\040b rw - cgroup2 none rw\n";
    let other = "28 23 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
    let found = |text: String| mount_point(text.as_bytes()).map(PathBuf::into_os_string);
    assert_eq!(
        found(format!("{other}{part}{whole}")),
        Some("/sys/fs/cgroup".into())
    );
    assert_eq!(found(format!("{other}{part}")), Some("/mnt/a b".into()));
    assert_eq!(found(other.to_owned()), None);
    assert_eq!(found("short\n\n- cgroup2\n".to_owned()), None);
    assert_eq!(unescaped(br"a\134b\04"), br"a\b\04");
}
