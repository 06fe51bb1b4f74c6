//! Records of the classic tracepoints that programs read. A program cannot look an offset up, so
//! these are constants, and the user side compares them with the kernel's types before it attaches
//! one.

/// A field of a record: the kernel's name of the record's type, the field's name, its offset.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// `struct` in the kernel's type information.
    pub record: &'static str,
    /// Name of the field.
    pub name: &'static str,
    /// Bytes from the record's beginning.
    pub offset: usize,
}

const fn field(record: &'static str, name: &'static str, offset: usize) -> Field {
    Field {
        record,
        name,
        offset,
    }
}

const STATE: &str = "trace_event_raw_inet_sock_set_state";
const SOCK: &str = "trace_event_raw_tcp_event_sk";
const LENGTH: &str = "trace_event_raw_sock_msg_length";

/// `sock:inet_sock_set_state`: the `struct sock *`.
pub const STATE_SOCK: Field = field(STATE, "skaddr", 8);
/// `sock:inet_sock_set_state`: an `int`.
pub const STATE_OLD: Field = field(STATE, "oldstate", 16);
/// `sock:inet_sock_set_state`: an `int`.
pub const STATE_NEW: Field = field(STATE, "newstate", 20);
/// `tcp:tcp_destroy_sock`: the `struct sock *`.
pub const DESTROY_SOCK: Field = field(SOCK, "skaddr", 8);
/// `sock:sock_send_length` and `sock:sock_recv_length`: the `struct sock *`.
pub const LENGTH_SOCK: Field = field(LENGTH, "sk", 8);
/// `sock:sock_send_length` and `sock:sock_recv_length`: the call's result, an `int`.
pub const LENGTH_RESULT: Field = field(LENGTH, "ret", 20);
/// `sock:sock_send_length` and `sock:sock_recv_length`: the call's flags, an `int`.
pub const LENGTH_FLAGS: Field = field(LENGTH, "flags", 24);

/// All of them.
pub const FIELDS: [Field; 7] = [
    STATE_SOCK,
    STATE_OLD,
    STATE_NEW,
    DESTROY_SOCK,
    LENGTH_SOCK,
    LENGTH_RESULT,
    LENGTH_FLAGS,
];
