//! conntracer, the library behind the binary.
//!
//! | part | does | must not touch |
//! |---|---|---|
//! | [`cli`] | command line to [`options`] | anything else; nobody else knows clap |
//! | [`preflight`], [`start`] | what this machine allows; attach, and say how | records |
//! | [`bpf`] | loads and attaches the programs, reads their maps | formatting |
//! | [`collect`] | maps to states, in the order that loses nothing | formatting |
//! | [`decode`], [`track`], [`classify`], [`wire`], [`aggregate`] | ring bytes to records to tables | clock, files, kernel |
//! | [`enrich`], [`process`], [`peers`] | what else is known of processes and peers | the loop's time: nobody waits |
//! | [`reconcile`] | the kernel's own counters against the tables | anything else |
//! | [`record`], [`summary`] | what leaves the program, as data | formatting |
//! | [`publish`], [`sink`] | records to bytes to where they go | tables |
//! | [`report`], [`conclude`] | tables to text or JSON, exit code | records |
//! | [`increment`] | records to what each tells that is new; pure | tables |
//! | [`interval`] | what happened within each of many stretches of time; pure | clock, sinks |
//! | [`map`] | who uses what, over days: kept in a file, shown by a verb of its own | the ring |
//! | [`poll`] | a run that looks at the sockets now and then, without privileges | the programs |
//! | [`command`], [`follow`] | a command that is run to be traced; which processes are followed | records |
//! | [`run`] | the loop over ring, timer and stop | how any of these work |
//! | [`choose`] | addresses, devices, names, programs and cgroups of what is wanted | the programs, records |
//! | [`address`] | what an address is, by IANA's registries | anything else |
//! | [`list`] | the sockets there are now | the programs, records |
//! | [`replay`] | recorded lines to the same tables | the kernel |
//! | [`doctor`] | what this machine gives, tried out on a connection of its own | the rest of the system |

pub mod address;
pub mod aggregate;
pub mod bpf;
pub mod carrier;
pub mod choose;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod command;
pub mod conclude;
pub mod decode;
pub mod doctor;
pub mod enrich;
pub mod exit;
pub mod fdinfo;
pub mod follow;
pub mod host;
pub mod identity;
pub mod increment;
pub mod interval;
pub mod list;
pub mod map;
pub mod names;
pub mod namespaces;
pub mod options;
pub mod peers;
pub mod poll;
pub mod ports;
pub mod preflight;
pub mod process;
pub mod publish;
pub mod reconcile;
pub mod record;
pub mod replay;
pub mod report;
pub mod run;
pub mod say;
pub mod sink;
pub mod start;
pub mod stop;
pub mod summary;
pub mod terminal;
pub mod timer;
pub mod track;
pub mod wire;
