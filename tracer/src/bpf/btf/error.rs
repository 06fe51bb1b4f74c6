/// Why something could not be read from BTF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The first two bytes are something else.
    #[error("this is not BTF: it begins with {0:#06x}")]
    Magic(u16),
    /// Made for a machine with the other byte order.
    #[error("this BTF belongs to a machine with the other byte order")]
    ByteOrder,
    /// A format we do not know.
    #[error("BTF version {0} is not known to this version of conntracer")]
    Version(u8),
    /// The named part does not fit into the bytes.
    #[error("the BTF is cut off or damaged in its {0}")]
    CutOff(&'static str),
    /// A kind of type that is newer than this program, with a length it cannot know.
    #[error(
        "the BTF has a type (number {id}) of kind {kind}, not known to this version of conntracer"
    )]
    UnknownKind {
        /// Number of the type.
        id: usize,
        /// Number of the kind.
        kind: u32,
    },
    /// A reference to nowhere.
    #[error("the BTF is damaged: it refers to type number {0}, which it does not have")]
    NoType(u32),
    /// A record that makes no sense.
    #[error("the BTF is damaged: {what} in the definition of `{name}`")]
    Damaged {
        /// The struct looked up.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// No struct with this name.
    #[error("this kernel has no `struct {0}`")]
    NoStruct(String),
    /// A struct without this member.
    #[error("`struct {structure}` has no member `{path}`")]
    NoMember {
        /// The struct.
        structure: String,
        /// Dotted path.
        path: String,
    },
    /// A member without a byte offset of its own.
    #[error("`{structure}.{path}` is a bit-field, {bits} wide at bit {bit_offset}")]
    BitField {
        /// The struct.
        structure: String,
        /// Dotted path.
        path: String,
        /// From the beginning of the struct.
        bit_offset: u64,
        /// Width in bits.
        bits: u32,
    },
    /// Several types share the name and disagree.
    #[error("the BTF has several definitions of `{0}` that differ")]
    Ambiguous(String),
}
