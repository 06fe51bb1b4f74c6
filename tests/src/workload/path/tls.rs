//! TLS by the kernel: the application moves plain text, TCP carries records.
//!
//! The truth has both: `tx` and `rx` are what the application moved, `wire_tx` what TCP carried.

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::counted::Counted;

pub(super) fn lacks() -> anyhow::Result<Option<String>> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    match setsockopt(&socket, TcpUlp::default(), b"tls") {
        // It is there, but wants a connection.
        Err(Errno::ENOTCONN) => Ok(None),
        Err(Errno::ENOENT) => Ok(Some(
            "the module tls is not loaded, or CONFIG_TLS is not set".into(),
        )),
        other => bail!("asking for TLS without a connection gave {other:?}"),
    }
}

/// Both ways by the same fixed key: this is about bytes, not about secrets.
pub(super) fn prepare(socket: &mut Counted) -> anyhow::Result<()> {
    let info = libc::tls_crypto_info {
        version: libc::TLS_1_2_VERSION,
        cipher_type: libc::TLS_CIPHER_AES_GCM_128,
    };
    let keys = TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
        info,
        iv: [1; libc::TLS_CIPHER_AES_GCM_128_IV_SIZE],
        key: [2; libc::TLS_CIPHER_AES_GCM_128_KEY_SIZE],
        salt: [3; libc::TLS_CIPHER_AES_GCM_128_SALT_SIZE],
        rec_seq: [0; libc::TLS_CIPHER_AES_GCM_128_REC_SEQ_SIZE],
    });
    let stream = socket.stream();
    setsockopt(stream, TcpUlp::default(), b"tls").context("cannot switch TLS on")?;
    setsockopt(stream, TcpTlsTx, &keys).context("cannot encrypt")?;
    setsockopt(stream, TcpTlsRx, &keys).context("cannot decrypt")?;
    Ok(())
}
