//! The two ends of a connection.

/// Addresses and ports as this host sees them: `local` is the socket's own end.
///
/// Addresses are 16 bytes in network order; an IPv4 address is held in its v4-mapped form
/// (`::ffff:a.b.c.d`), so one connection has one spelling whatever the socket's family.
/// Ports are in host order. A zero local port means "not known yet".
///
/// Aligned to 8 so that the kernel side copies words, not bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Flow {
    /// This host's address.
    pub local_ip: [u8; 16],
    /// The peer's address.
    pub remote_ip: [u8; 16],
    /// This host's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Address family of the *socket* (`AF_INET` 2 or `AF_INET6` 10), as the application made it.
    pub socket_family: u16,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Flow>() == 40 && align_of::<Flow>() == 8);

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// An IPv4 address, in network order as the kernel holds it, in its v4-mapped form.
#[inline(always)]
pub const fn v4_mapped(address_be: u32) -> [u8; 16] {
    (0xffff_0000_0000 | u32::from_be(address_be) as u128).to_be_bytes()
}

/// Whether `ip` holds an IPv4 address.
#[inline(always)]
pub fn is_v4_mapped(ip: &[u8; 16]) -> bool {
    let (high, low) = halves(ip);
    high == 0 && low >> 32 == 0xffff
}

/// Whether `ip` is `127.0.0.0/8` (also v4-mapped) or `::1`.
#[inline(always)]
pub fn is_loopback(ip: &[u8; 16]) -> bool {
    let (high, low) = halves(ip);
    high == 0 && (low == 1 || low >> 24 == 0x00ff_ff7f)
}

/// The address as two big-endian integers; comparing those costs two loads where a byte-wise
/// comparison costs the verifier sixteen branches.
#[inline(always)]
pub fn halves(ip: &[u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *ip;
    (
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(octets: [u8; 4]) -> [u8; 16] {
        v4_mapped(u32::from_ne_bytes(octets))
    }

    #[test]
    fn loopback_is_127_slash_8_mapped_or_v6_one() {
        let mut one = [0; 16];
        one[15] = 1;
        assert!(is_loopback(&one));
        assert!(is_loopback(&mapped([127, 0, 0, 1])));
        assert!(is_loopback(&mapped([127, 255, 1, 2])));
        assert!(!is_loopback(&mapped([128, 0, 0, 1])));
        assert!(!is_loopback(&mapped([10, 0, 0, 127])));
        assert!(!is_loopback(&[0; 16]));
    }

    #[test]
    fn a_mapped_address_ends_in_its_four_octets() {
        assert_eq!(
            mapped([10, 1, 2, 3]),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]
        );
    }

    #[test]
    fn only_the_mapped_prefix_is_ipv4() {
        assert!(is_v4_mapped(&mapped([10, 0, 0, 1])));
        let mut other = mapped([10, 0, 0, 1]);
        other[0] = 0x20;
        assert!(!is_v4_mapped(&other));
        assert!(!is_v4_mapped(&[0; 16]));
    }
}
