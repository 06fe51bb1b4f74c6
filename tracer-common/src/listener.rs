//! Ports that someone listens on, which tell the direction of connections older than the tracer.

/// Key of the listeners map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// Network namespace.
    pub netns: u32,
    /// The port.
    pub port: u32,
}

/// Ports that are kept; connections to others are taken for outbound.
pub const MAX_LISTENERS: u32 = 65_536;
