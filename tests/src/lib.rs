//! Ground truth for conntracer: workloads that count what they do, and a harness that runs the
//! tracer beside them and compares.
//!
//! | part | what it does |
//! |---|---|
//! | [`workload`] | generates traffic; a program of its own, `workload` |
//! | [`load`] | the same as fast as a core can, for `cargo xtask bench`; a program of its own, `load` |
//! | [`truth`] | what a workload says it did |
//! | [`namespace`] | a network namespace per test, so that tests cannot see each other |
//! | [`cgroups`] | a cgroup per test |
//! | [`generator`] | runs a workload in a namespace |
//! | [`capture`] | every packet of a namespace |
//! | [`tracer`] | runs conntracer and collects what it wrote |
//! | [`command`] | runs conntracer with a command to trace |
//! | [`listing`] | runs `conntracer list` on connections of its own |
//! | [`replay`] | runs `conntracer replay` on recorded files |
//! | [`kept`] | what a tracer that runs keeps: entries of its kernel maps, memory |
//! | [`peering`] | connections with other addresses than loopback ones, and what is told of those |
//! | [`mmdb`] | databases of where addresses are, written |
//! | [`dns`] | a name server that says what a test wants |
//! | [`intervals`] | what `--interval` tells, against the summary |
//! | [`mapped`] | the map that a tracer keeps, and what shows it |
//! | [`page`] | a page of docs/ whose blocks are carried out |
//! | [`pty`] | a terminal |
//! | [`schema`] | makes a schema of docs/ strict |
//! | [`stage`] | traffic as such a page writes it |
//! | [`chosen`] | such traffic of which a part is chosen |
//! | [`compare`] | records against truth |
//! | [`grade`] | how right the records of one path are |
//! | [`exact`] | how right they must be: the committed lists |
//! | [`tables`] | records added up again, against the summary |
//! | [`floor`] | programs that do as little as can be done, to measure against |
//! | [`tool`] | runs them, and conntracer |
//! | [`calls`] | what single system calls take beside them, for `cargo xtask bench` |
//! | [`peers`] | other tools on the same workloads, for `cargo xtask compare` |

#![expect(
    clippy::missing_panics_doc,
    reason = "a harness fails its test by panicking"
)]

pub mod calls;
pub mod capture;
pub mod cgroups;
pub mod chosen;
pub mod command;
pub mod compare;
pub mod dns;
pub mod exact;
pub mod floor;
pub mod generator;
pub mod grade;
pub mod harness;
pub mod intervals;
pub mod kept;
pub mod listing;
pub mod load;
pub mod mapped;
pub mod mmdb;
pub mod namespace;
pub mod page;
pub mod peering;
pub mod peers;
pub mod pty;
pub mod replay;
pub mod schema;
pub mod stage;
pub mod tables;
pub mod tool;
pub mod tracer;
pub mod truth;
pub mod vm;
pub mod workload;
