//! Names of addresses by reverse DNS, looked up by a thread of their own. Nobody waits for it: it is
//! asked, and answers later.
//!
//! Questions go by UDP only, never by TCP. So nothing of it is in anybody's tables, and nothing has
//! to be left out there; an answer too long for a packet, which no host's name is, is none.
//!
//! | part | does |
//! |---|---|
//! | `worker` | the thread, and who it asks |
//! | `breaker` | name servers that do not answer; pure |
//! | `host_name` | the text of a name; pure |

mod breaker;
mod host_name;
mod worker;

use std::net::IpAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use tokio::sync::mpsc::Sender;

use crate::options::peers::NameServers;

/// Questions that wait for their turn. Those that find no room are asked at the next record.
const QUESTIONS: usize = 1024;

/// What came of a question.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ip: IpAddr,
    pub(super) told: Told,
    /// How long it holds.
    pub(super) holds: Duration,
}

/// What was told of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Name(CompactString),
    /// It has no name.
    Nothing,
    /// Nobody answered, or only that it cannot be told.
    NoAnswer,
}

/// The thread's questions and answers.
#[derive(Debug)]
pub(super) struct Names {
    questions: Sender<IpAddr>,
    answers: Receiver<Answer>,
    /// Questions without an answer yet.
    waiting: usize,
}

impl Names {
    pub(super) fn start(servers: NameServers) -> anyhow::Result<Self> {
        let (questions, answers) = worker::start(servers, QUESTIONS)?;
        Ok(Self {
            questions,
            answers,
            waiting: 0,
        })
    }

    /// Whether there can be a name worth a question. A private address may have one in a private
    /// network; these have none anywhere.
    pub(super) fn asks_about(ip: IpAddr) -> bool {
        let link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
    }

    /// Asks for the name of `ip`; `false` if there is no room.
    pub(super) fn ask(&mut self, ip: IpAddr) -> bool {
        let asked = self.questions.try_send(ip).is_ok();
        self.waiting += usize::from(asked);
        asked
    }

    /// The next answer that is there.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(answer)
    }

    /// The next answer that comes until then; `None` at once if there is none to come.
    pub(super) fn answer_by(&mut self, deadline: Instant) -> Option<Answer> {
        if self.waiting == 0 {
            return None;
        }
        let time = deadline.saturating_duration_since(Instant::now());
        let answer = self.answers.recv_timeout(time).ok()?;
        self.waiting -= 1;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_asked_about_and_those_of_one_link_or_host_are_not() {
        for (ip, asked) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("224.0.0.251", false),
        ] {
            assert_eq!(Names::asks_about(ip.parse().unwrap()), asked, "{ip}");
        }
    }
}
