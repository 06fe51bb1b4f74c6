//! The thread that asks name servers, a few questions at a time.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use compact_str::CompactString;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::PTR;
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::breaker::{Advice, Breaker};
use super::{Answer, Told, host_name};
use crate::options::peers::NameServers;
use crate::say::say;

/// Questions on their way.
const AT_A_TIME: usize = 16;
/// How long a server has for an answer; questions are repeated meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);
/// And a question altogether.
const LIMIT: Duration = Duration::from_secs(4);

/// How long a name holds, whatever its owner says,
const NAME_HOLDS: [Duration; 2] = [Duration::from_secs(5), Duration::from_hours(24)];
/// and that there is none,
const NOTHING_HOLDS: [Duration; 2] = [Duration::from_secs(30), Duration::from_hours(1)];
/// and that nobody could tell.
const NO_ANSWER_HOLDS: Duration = Duration::from_secs(30);

/// Starts the thread. It ends when nobody can ask it any more.
pub(super) fn start(
    servers: NameServers,
    questions: usize,
) -> anyhow::Result<(Sender<IpAddr>, mpsc::Receiver<Answer>)> {
    let servers = name_servers(servers)?;
    let asked = servers.iter().map(|server| server.ip.to_string());
    let asked = asked.collect::<Vec<_>>().join(", ");
    let resolver = resolver(servers).context("--names")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("--names: cannot start a thread")?;
    let (ask, questions) = channel(questions);
    let (answers, answered) = mpsc::channel();
    thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || runtime.block_on(work(&resolver, questions, &answers, &asked)))
        .context("--names: cannot start a thread")?;
    Ok((ask, answered))
}

/// Those to be asked, by UDP.
fn name_servers(servers: NameServers) -> anyhow::Result<Vec<NameServerConfig>> {
    match servers {
        NameServers::At(address) => {
            let mut connection = ConnectionConfig::new(ProtocolConfig::Udp);
            connection.port = address.port();
            let server = NameServerConfig::new(address.ip(), true, vec![connection]);
            Ok(vec![server])
        }
        NameServers::OfSystem => {
            let system = read_system_conf().map_err(|error| {
                anyhow::anyhow!(
                    "--names: no name server in /etc/resolv.conf ({error}); give one, as in \
                     --names=127.0.0.53"
                )
            });
            let servers = system?.0.name_servers;
            let udp = servers
                .iter()
                .map(|server| NameServerConfig::udp(server.ip));
            Ok(udp.collect())
        }
    }
}

fn resolver(servers: Vec<NameServerConfig>) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = PATIENCE;
    options.attempts = 0;
    // Whoever asks remembers the answers.
    options.cache_size = 0;
    builder.build()
}

/// Takes questions as they come.
async fn work(
    resolver: &TokioResolver,
    mut questions: Receiver<IpAddr>,
    answers: &mpsc::Sender<Answer>,
    asked: &str,
) {
    let mut breaker = Breaker::default();
    let mut running = JoinSet::new();
    loop {
        let answer = tokio::select! {
            question = questions.recv(), if running.len() < AT_A_TIME => {
                let Some(ip) = question else { return };
                match breaker.advise(Instant::now()) {
                    Advice::Ask => {
                        let resolver = resolver.clone();
                        running.spawn(async move { (ip, look_up(&resolver, ip).await) });
                        continue;
                    }
                    Advice::Later(holds) => Answer { ip, told: Told::NoAnswer, holds },
                }
            }
            Some(done) = running.join_next() => {
                let Ok((ip, reply)) = done else { continue };
                hear(&mut breaker, &reply, asked);
                reply.answer(ip)
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

fn hear(breaker: &mut Breaker, reply: &Reply, asked: &str) {
    if !matches!(reply, Reply::Silence) {
        breaker.answered();
    } else if let Some(rest) = breaker.unanswered(Instant::now()) {
        say(&format!(
            "note: --names: no answer from {asked}; nobody is asked for names for {} s",
            rest.as_secs()
        ));
    }
}

/// What a server said.
enum Reply {
    Name(CompactString, Duration),
    Nothing(Option<u32>),
    /// That it could not find out.
    Failure,
    /// Not a word.
    Silence,
}

impl Reply {
    fn answer(self, ip: IpAddr) -> Answer {
        let (told, holds) = match self {
            Self::Name(name, ttl) => {
                let [least, most] = NAME_HOLDS;
                (Told::Name(name), ttl.clamp(least, most))
            }
            Self::Nothing(ttl) => {
                let [least, most] = NOTHING_HOLDS;
                let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
                (Told::Nothing, ttl.clamp(least, most))
            }
            Self::Failure | Self::Silence => (Told::NoAnswer, NO_ANSWER_HOLDS),
        };
        Answer { ip, told, holds }
    }
}

async fn look_up(resolver: &TokioResolver, ip: IpAddr) -> Reply {
    match timeout(LIMIT, resolver.reverse_lookup(ip)).await {
        Ok(Ok(lookup)) => name(&lookup),
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => Reply::Nothing(none.negative_ttl),
        Ok(Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections)) | Err(_) => {
            Reply::Silence
        }
        Ok(Err(_)) => Reply::Failure,
    }
}

/// Of several names always the same one, in whatever order they come.
fn name(lookup: &Lookup) -> Reply {
    let names = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::PTR(PTR(name)) => host_name::text(name.iter()),
            _ => None,
        });
    let ttl = lookup
        .valid_until()
        .saturating_duration_since(Instant::now());
    match names.min() {
        Some(name) => Reply::Name(name, ttl),
        None => Reply::Nothing(None),
    }
}
