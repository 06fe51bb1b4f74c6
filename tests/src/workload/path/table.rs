//! The paths.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use super::super::counted::Counted;
use super::super::{handoff, reconnect};
use super::{Move, Part, Path, Script};
use super::{ending, fastopen, files, mptcp, plain, raw, servers, tls, uring, vectors, zerocopy};

pub(super) const PATHS: &[Path] = &[
    way("write_read", 100_000, plain::write, plain::read),
    way("send_recv", 100_000, plain::send, plain::recv),
    way("writev_readv", 100_000, vectors::writev, vectors::readv),
    way(
        "sendmsg_recvmsg",
        100_000,
        vectors::sendmsg,
        vectors::recvmsg,
    ),
    way(
        "sendmmsg_recvmmsg",
        60_000,
        vectors::sendmmsg,
        vectors::recvmmsg,
    ),
    way("more", 10_000, plain::more, plain::read),
    Path {
        prepare: plain::small_buffers,
        ..way("partial", 400_000, plain::partial, plain::read_slowly)
    },
    way("peek", 1000, plain::write, plain::peek),
    way("waitall", 10_000, plain::dribble, plain::waitall),
    way("trunc", 10_000, plain::write, plain::truncate),
    way("sendfile", 50_000, files::sendfile, plain::read),
    way("splice_out", 30_000, files::splice_out, plain::read),
    way("splice_in", 30_000, plain::write, files::splice_in),
    Path {
        prepare: zerocopy::allow,
        ..way("zerocopy_send", 200_000, zerocopy::send, plain::read)
    },
    Path {
        prepare: zerocopy::timestamps,
        ..way("errqueue", 1000, zerocopy::send_and_look, plain::read)
    },
    Path {
        prepare: zerocopy::allow,
        ..way(
            "zerocopy_receive",
            zerocopy::PAGES,
            zerocopy::send,
            zerocopy::receive,
        )
    },
    roles(
        "uring_oneshot",
        uring::lacks_oneshot,
        uring::client,
        uring::server,
    ),
    roles(
        "uring_multishot",
        uring::lacks_multishot,
        uring::plain_client,
        uring::multishot_server,
    ),
    roles(
        "uring_sqpoll",
        uring::lacks_sqpoll,
        uring::polled_client,
        uring::polled_server,
    ),
    roles(
        "uring_direct",
        uring::lacks_direct,
        uring::direct_client,
        uring::direct_server,
    ),
    Path {
        listen: fastopen::listen,
        connect: fastopen::connect_by_sendto,
        ..way("fastopen_sendto", 1000, fastopen::send, plain::read)
    },
    Path {
        listen: fastopen::listen,
        connect: fastopen::connect_later,
        ..way("fastopen_connect", 1000, fastopen::send, plain::read)
    },
    Path {
        lacks: tls::lacks,
        prepare: tls::prepare,
        finish: ask_wire,
        ..way("ktls", 100_000, plain::write, plain::read)
    },
    Path {
        lacks: tls::lacks,
        prepare: tls::prepare,
        finish: ask_wire,
        ..way("ktls_sendfile", 50_000, files::sendfile, plain::recv)
    },
    Path {
        lacks: mptcp::lacks,
        listen: mptcp::listen,
        connect: mptcp::connect,
        finish: ask_wire,
        ..way("mptcp", 100_000, plain::write, plain::read)
    },
    Path {
        listen: listen_mapped,
        ..way("v4_mapped", 1000, plain::write, plain::read)
    },
    parts("linger_zero", ending::linger_zero, ending::until_reset),
    parts("unread", ending::send_and_wait, ending::leave_unread),
    parts("half_close", ending::shut_write, ending::send_after_end),
    parts("shut_read", ending::shut_read, ending::send_regardless),
    parts(
        "read_after_close",
        ending::send_and_end,
        ending::read_after_close,
    ),
    alone("reconnect", reconnect::run),
    alone("fork_after_accept", handoff::fork_after_accept),
    alone("fork_after_connect", handoff::fork_after_connect),
    alone("passed_descriptor", handoff::worker_io),
    roles("prefork", PLAIN.lacks, servers::client, servers::prefork),
    roles("threads", PLAIN.lacks, servers::client, servers::threads),
];

const PLAIN: Path = Path {
    name: "",
    lacks: || Ok(None),
    listen: |address| Ok(TcpListener::bind(address)?),
    connect: |address| Ok(Counted::connect(address)?),
    prepare: |_| Ok(()),
    finish: |_| Ok(()),
    script: Script::Alone(|_| Ok(())),
};

/// A path that differs from the plain one only in how bytes move.
const fn way(name: &'static str, bytes: usize, send: Move, receive: Move) -> Path {
    let script = Script::Way {
        bytes,
        send,
        receive,
    };
    Path {
        name,
        script,
        ..PLAIN
    }
}

/// A path whose ends have different parts.
const fn parts(name: &'static str, client: Part, server: Part) -> Path {
    let script = Script::Parts { client, server };
    Path {
        name,
        script,
        ..PLAIN
    }
}

/// A path whose ends make their connections in ways of their own.
const fn roles(
    name: &'static str,
    lacks: fn() -> anyhow::Result<Option<String>>,
    client: fn(SocketAddr, u32) -> anyhow::Result<()>,
    server: fn(&TcpListener, u32) -> anyhow::Result<()>,
) -> Path {
    let script = Script::Roles { client, server };
    Path {
        name,
        lacks,
        script,
        ..PLAIN
    }
}

/// A path that is a scenario of its own.
const fn alone(name: &'static str, scenario: fn(u32) -> anyhow::Result<()>) -> Path {
    let script = Script::Alone(scenario);
    Path {
        name,
        script,
        ..PLAIN
    }
}

/// On all addresses of both families, by an IPv6 socket.
fn listen_mapped(address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port()))?)
}

/// Asks what TCP carried: all has been sent by now.
fn ask_wire(socket: &mut Counted) -> anyhow::Result<()> {
    socket.wire_tx = Some(raw::TcpInfo::of(socket.stream())?.wire_tx());
    Ok(())
}
