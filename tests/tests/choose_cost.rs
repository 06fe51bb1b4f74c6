//! What choosing by many networks costs. Figures, for people.

use std::fmt::Write as _;

use tests::generator::Workload;
use tests::namespace::Namespace;
use tests::replay::Folder;
use tests::tracer::Tracer;

/// Addresses and networks all over, and as many around that of the workload as around any.
fn random_list(folder: &Folder, networks: u32, neighbours: u32) -> std::path::PathBuf {
    let mut random = 1_u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u32::try_from(random >> 32).expect("32 bits")
    };
    let mut text = String::new();
    for _ in 0..networks {
        // Not in 127.0.0.0/8.
        let ip = std::net::Ipv4Addr::from(next() & 0xbfff_ff00);
        writeln!(text, "{ip}/24").expect("a line");
    }
    for _ in 0..neighbours {
        let ip = std::net::Ipv4Addr::from((127 << 24) | 256 | (next() & 0xffff));
        writeln!(text, "{ip}").expect("a line");
    }
    folder.file("random", text)
}

/// Nanoseconds that the programs of a process have run, by the kernel's statistics.
fn program_ns(pid: u32) -> u64 {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the open files");
    let mut sum = 0;
    let mut seen = std::collections::BTreeSet::new();
    for info in infos.flatten() {
        let text = std::fs::read_to_string(info.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(ns)) = (field("prog_id:"), field("run_time_ns:"))
            && seen.insert(id)
        {
            sum += ns;
        }
    }
    sum
}

#[test]
#[ignore = "figures, for people: --nocapture"]
fn what_a_hundred_thousand_networks_cost() {
    const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
    const CONNECTIONS: u32 = 5_000;
    let folder = Folder::new();
    let list = random_list(&folder, 80_000, 20_000);
    std::fs::write(STATS, "1").expect("the kernel's statistics");
    let options = [
        String::new(),
        "--exclude 10.0.0.0/8".to_owned(),
        format!("--exclude @{}", list.display()),
    ];
    let mut best = [u64::MAX; 3];
    let mut starts = [f64::MAX; 3];
    for _ in 0..5 {
        for (index, option) in options.iter().enumerate() {
            let namespace = Namespace::new();
            let since = std::time::Instant::now();
            let line = format!("--quiet --netns {} {option}", namespace.inode());
            let tracer = Tracer::start_as(Tracer::command(&line));
            starts[index] = starts[index].min(since.elapsed().as_secs_f64());
            Workload::run(&namespace, &format!("churn --connections {CONNECTIONS}"));
            let ns = program_ns(tracer.pid()) / u64::from(CONNECTIONS);
            best[index] = best[index].min(ns);
            let finished = tracer.stop();
            let total = &finished.summary["total"];
            assert_eq!(total["accepts"], CONNECTIONS, "{total}");
        }
    }
    std::fs::write(STATS, "0").expect("the kernel's statistics");
    for ((option, ns), start) in options.iter().zip(best).zip(starts) {
        let option: String = option.chars().take(30).collect();
        tests::harness::say(&format!(
            "{option:30} {ns} ns a connection (both ends), started in {start:.3} s"
        ));
    }
}
