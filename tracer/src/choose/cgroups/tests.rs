use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn tree(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let found = directories(folder.path());
    (folder, found)
}

fn ids(root: &Path, names: &[&str]) -> Vec<u64> {
    let id = |name: &&str| fs::metadata(root.join(name)).unwrap().ino();
    let mut ids: Vec<_> = names.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_unit_is_a_service_unless_it_says_what_it_is() {
    for (text, name) in [
        ("nginx", "nginx.service"),
        ("nginx.service", "nginx.service"),
        ("user.slice", "user.slice"),
        ("session-3.scope", "session-3.scope"),
        ("getty@tty1", "getty@tty1.service"),
        ("org.example.thing", "org.example.thing.service"),
    ] {
        assert_eq!(Wanted::unit(text).unwrap(), Wanted::Unit(name.into()));
    }
    for text in ["", ".", "..", "a/b", "/"] {
        let error = Wanted::unit(text).unwrap_err().to_string();
        assert!(error.starts_with("--unit"), "{error}");
    }
}

#[test]
fn a_container_is_the_start_of_its_id() {
    for text in [&ID[..12], ID, "0123456789AB"] {
        assert!(Wanted::container(text).is_ok(), "{text}");
    }
    for text in ["", "web", "0123456789a", "0123456789ag", &format!("{ID}0")] {
        let error = Wanted::container(text).unwrap_err().to_string();
        assert!(error.contains("docker ps"), "{error}");
    }
}

#[test]
fn the_id_is_found_in_the_names_that_runtimes_give() {
    for name in [
        ID.to_owned(),
        format!("docker-{ID}.scope"),
        format!("libpod-{ID}.scope"),
        format!("cri-containerd-{ID}.scope"),
        format!("crio-{ID}.scope"),
        format!("crio-{ID}"),
    ] {
        assert_eq!(container(name.as_bytes()), Some(ID), "{name}");
    }
    for name in [
        format!("crio-conmon-{ID}.scope"),
        format!("libpod-conmon-{ID}.scope"),
        format!("docker-{}.scope", &ID[1..]),
        "nginx.service".to_owned(),
        "kubepods-pod01234567-89ab-cdef-0123-456789abcdef.slice".to_owned(),
    ] {
        assert_eq!(container(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn units_and_containers_are_found_wherever_they_are() {
    let docker = format!("system.slice/docker-{ID}.scope");
    let names = [
        "system.slice/nginx.service/worker",
        "user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
        docker.as_str(),
    ];
    let (folder, _) = tree(&names);
    let root = folder.path();
    let found = |wanted| Cgroups::find_in(root, vec![wanted]);
    let nginx = found(Wanted::unit("nginx").unwrap()).unwrap();
    let expected = ids(root, &["system.slice/nginx.service", names[1]]);
    assert_eq!(nginx.ids(), expected);
    let container = found(Wanted::container(&ID[..12]).unwrap()).unwrap();
    assert_eq!(container.ids(), ids(root, &[&docker]));
    assert!(!container.is_empty());
    for (wanted, start) in [
        (
            Wanted::unit("ngin").unwrap(),
            "--unit ngin.service: no cgroup",
        ),
        (
            Wanted::container("ffffffffffff").unwrap(),
            "--container ffffffffffff: no cgroup",
        ),
    ] {
        let error = found(wanted).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_start_that_fits_two_containers_is_refused() {
    let other = format!("docker-{}ff.scope", &ID[..62]);
    let (folder, _) = tree(&[&format!("docker-{ID}.scope"), &other]);
    let wanted = Wanted::container(&ID[..20]).unwrap();
    let error = Cgroups::find_in(folder.path(), vec![wanted]).unwrap_err();
    assert!(error.to_string().contains("several"), "{error}");
    // One that is there twice is one.
    let (folder, _) = tree(&[&format!("docker/{ID}/docker-{ID}.scope")]);
    let wanted = Wanted::container(&ID[..20]).unwrap();
    assert_eq!(
        Cgroups::find_in(folder.path(), vec![wanted])
            .unwrap()
            .ids()
            .len(),
        2
    );
}

#[test]
fn a_path_that_is_no_cgroup_is_refused() {
    let (folder, _) = tree(&["a"]);
    for path in ["a", "/a", "/no/such", folder.path().to_str().unwrap()] {
        let error = Cgroups::find_in(folder.path(), vec![Wanted::Path(path.into())]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no directory of the cgroup v2"), "{error}");
    }
    assert_eq!(Cgroups::find(Vec::new()).unwrap(), Cgroups::default());
}
