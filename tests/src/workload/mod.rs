//! The scenarios, and the command line that chooses one.

mod act;
mod asleep;
mod blocked;
mod children;
mod churn;
mod counted;
mod crew;
mod echo;
mod exec;
mod exec_connect;
mod failed;
mod fork;
mod handoff;
mod hold;
mod many;
mod named;
mod never_failed;
mod older;
mod path;
mod reconnect;
mod relay;
mod report;
mod reuse;
mod storm;
mod stuck;
mod threads;
mod worker;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Generates TCP traffic over the loopback device and tells exactly what it did.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// A server sends back what its clients send.
    Echo(EchoArgs),
    /// One process accepts, a child forked for it does the rest.
    ForkAfterAccept(CountArgs),
    /// One process connects, a child forked for it does the rest.
    ForkAfterConnect(CountArgs),
    /// Acceptor and a worker that was there before share the work; any of three closes.
    WorkerIo(CountArgs),
    /// Many short connections between several processes, with all kinds of endings.
    Churn(ChurnArgs),
    /// The same as `failed --kind refused`.
    Refused(CountArgs),
    /// Attempts that come to nothing in one of many ways: `failed --list` names them.
    Failed(failed::FailedArgs),
    /// What looks like a failure and is none: `never-failed --list` names it.
    NeverFailed(never_failed::NeverArgs),
    /// Connects to a listener that never accepts.
    NeverAccepted(CountArgs),
    /// Opens connections, uses them, and keeps them until standard input ends.
    Hold(CountArgs),
    /// Uses connections, waits at the gate, and uses them again.
    Older(CountArgs),
    /// One of many ways to move bytes and to end: `path --list` names them.
    Path(path::PathArgs),
    /// Many tasks wait for a connection each, on one listener.
    Blocked(BlockedArgs),
    /// Many tasks wait in the middle of a receive or send call, at the gate, and go on.
    Stuck(stuck::StuckArgs),
    /// Sockets that are disconnected and connect again.
    Reconnect(CountArgs),
    /// Every connection has the same addresses and ports.
    SamePort(CountArgs),
    /// Processes, one after the other, that have the same id.
    SamePid(CountArgs),
    /// Processes that execute another program while they have connections.
    Exec(CountArgs),
    /// Programs that connect once and are gone, each with a command line of its own.
    ExecConnect(exec_connect::ExecConnectArgs),
    /// Many processes with connections are killed when a line comes on standard input.
    KilledAtOnce(CountArgs),
    /// Attempts that nobody answers.
    Unanswered(CountArgs),
    /// Very many short connections from as many addresses; nothing is told of them.
    Many(many::ManyArgs),
    /// Processes with awkward names use a connection each.
    Named(NamedArgs),
    /// Says how it was started, and ends as it is told.
    Act(act::ActArgs),
    /// Starts processes that connect once each.
    Children(children::ChildrenArgs),
    /// Leaves a process behind.
    Linger(children::LingerArgs),
    /// A process with descendants that run already.
    Tree(children::TreeArgs),
    /// A process with descendants that start others without a pause, until standard input ends.
    Relay(relay::RelayArgs),
    /// A process whose thread has another name, and connects.
    Threads,
    #[command(hide = true)]
    ConnectOnce(children::OnceArgs),
    #[command(hide = true)]
    ExecFirst(CountArgs),
    #[command(hide = true)]
    ExecSecond(exec::SecondArgs),
    #[command(hide = true)]
    ExecConnectChild(exec_connect::ChildArgs),
    #[command(hide = true)]
    EchoClient(echo::ClientArgs),
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
    #[command(hide = true)]
    ChurnClient(churn::ClientArgs),
    #[command(hide = true)]
    ChurnServer(churn::ServerArgs),
    #[command(hide = true)]
    PathClient(path::ClientArgs),
    #[command(hide = true)]
    PathServer(CountArgs),
    #[command(hide = true)]
    HoldServer(CountArgs),
    #[command(hide = true)]
    OlderServer(CountArgs),
    #[command(hide = true)]
    BlockedServer(blocked::ServerArgs),
    #[command(hide = true)]
    BlockedClient(blocked::ClientArgs),
    #[command(hide = true)]
    StuckServer(stuck::ServerArgs),
    #[command(hide = true)]
    FailedVictim(failed::VictimArgs),
    #[command(hide = true)]
    StoppedClient(never_failed::ClientArgs),
    #[command(hide = true)]
    StoppedServer(CountArgs),
    #[command(hide = true)]
    NamedChild(NamedArgs),
}

#[derive(Args, Clone, Debug)]
struct CountArgs {
    /// How many connections, attempts or processes.
    #[arg(long, default_value_t = 6)]
    connections: u32,
}

#[derive(Args, Clone, Debug)]
struct EchoArgs {
    /// How many connections.
    #[arg(long, default_value_t = 10)]
    connections: u32,
    /// Bytes each way on each.
    #[arg(long, default_value_t = 1000)]
    bytes: usize,
    /// Which addresses and sockets.
    #[arg(long, default_value = "ipv4")]
    family: AddressFamily,
    /// Wait in accept until a line comes on standard input.
    #[arg(long)]
    gate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AddressFamily {
    /// IPv4 on both ends.
    Ipv4,
    /// IPv6 on both ends.
    Ipv6,
    /// IPv4 addresses, with IPv6 sockets on the server and half of the clients.
    Mapped,
}

#[derive(Args, Clone, Debug)]
struct ChurnArgs {
    /// How many connections.
    #[arg(long, default_value_t = 5000)]
    connections: u32,
    /// How many client processes.
    #[arg(long, default_value_t = 4)]
    clients: u32,
    /// How many server processes.
    #[arg(long, default_value_t = 3)]
    servers: u32,
    /// Start the processes, name them, and begin when a line comes on standard input.
    #[arg(long)]
    gate: bool,
    /// User id that the last client process takes.
    #[arg(long)]
    client_uid: Option<u32>,
    /// Network namespace that the clients enter.
    #[arg(long)]
    client_netns: Option<PathBuf>,
    /// IPv4 address the clients connect to instead of all kinds of loopback addresses.
    #[arg(long)]
    address: Option<std::net::Ipv4Addr>,
}

#[derive(Args, Clone, Debug)]
struct BlockedArgs {
    /// How many tasks.
    #[arg(long, default_value_t = 64)]
    tasks: u32,
    /// How many processes have these tasks as threads.
    #[arg(long, default_value_t = 4)]
    processes: u32,
    /// How many connections are made when no task waits any more.
    #[arg(long, default_value_t = 0)]
    surplus: u32,
    /// Wait in poll, and accept without blocking, instead of waiting in accept.
    #[arg(long)]
    poll: bool,
    /// Wait until a line comes on standard input.
    #[arg(long)]
    gate: bool,
}

#[derive(Args, Clone, Debug)]
struct NamedArgs {
    /// Process name in hexadecimal digits, at most 15 bytes.
    #[arg(long = "name")]
    names: Vec<String>,
}

pub use act::Start;
pub use failed::names as failed_names;
pub use many::{ANSWER, REQUEST};
pub use never_failed::names as never_failed_names;
pub use path::names as path_names;
pub use threads::{LEADER, THREAD};

/// Runs the scenario that the command line names.
pub fn main() -> anyhow::Result<()> {
    match Cli::parse().scenario {
        Scenario::Echo(args) => echo::run(&args),
        Scenario::ForkAfterAccept(args) => handoff::fork_after_accept(args.connections),
        Scenario::ForkAfterConnect(args) => handoff::fork_after_connect(args.connections),
        Scenario::WorkerIo(args) => handoff::worker_io(args.connections),
        Scenario::Churn(args) => churn::run(&args),
        Scenario::Refused(args) => failed::refused(args.connections),
        Scenario::Failed(args) => failed::run(&args),
        Scenario::NeverFailed(args) => never_failed::run(&args),
        Scenario::NeverAccepted(args) => failed::never_accepted(args.connections),
        Scenario::Hold(args) => hold::run(args.connections),
        Scenario::Older(args) => older::run(args.connections),
        Scenario::Path(args) => path::run(&args),
        Scenario::Blocked(args) => blocked::run(&args),
        Scenario::Reconnect(args) => reconnect::run(args.connections),
        Scenario::SamePort(args) => reuse::same_port(args.connections),
        Scenario::SamePid(args) => reuse::same_pid(args.connections),
        Scenario::Exec(args) => exec::run(args.connections),
        Scenario::ExecFirst(args) => exec::first(args.connections % 2 == 1),
        Scenario::ExecSecond(args) => exec::second(&args),
        Scenario::ExecConnect(args) => exec_connect::run(&args),
        Scenario::ExecConnectChild(args) => exec_connect::child(&args),
        Scenario::KilledAtOnce(args) => storm::killed_at_once(args.connections),
        Scenario::Unanswered(args) => storm::unanswered(args.connections),
        Scenario::Many(args) => many::run(&args),
        Scenario::Named(args) => named::run(&args.names),
        Scenario::Act(args) => act::run(&args),
        Scenario::Children(args) => children::run(&args),
        Scenario::Linger(args) => children::linger(&args),
        Scenario::Tree(args) => children::tree(&args),
        Scenario::Relay(args) => relay::run(&args),
        Scenario::Threads => threads::run(),
        Scenario::ConnectOnce(args) => children::once(&args),
        Scenario::EchoClient(args) => echo::client(&args),
        Scenario::Worker(args) => worker::main(&args),
        Scenario::ChurnClient(args) => churn::client(&args),
        Scenario::ChurnServer(args) => churn::server(&args),
        Scenario::PathClient(args) => path::client(&args),
        Scenario::PathServer(args) => path::server(args.connections),
        Scenario::HoldServer(args) => hold::server(args.connections),
        Scenario::OlderServer(args) => older::server(args.connections),
        Scenario::BlockedServer(args) => blocked::server(&args),
        Scenario::BlockedClient(args) => blocked::client(&args),
        Scenario::Stuck(args) => stuck::run(&args),
        Scenario::StuckServer(args) => stuck::server(&args),
        Scenario::FailedVictim(args) => failed::victim(&args),
        Scenario::StoppedClient(args) => never_failed::client(&args),
        Scenario::StoppedServer(args) => never_failed::server(args.connections),
        Scenario::NamedChild(args) => named::child(&args.names),
    }
}
