//! TCP traffic that says how fast it was, and what it did. It makes a network namespace of its own.

fn main() -> anyhow::Result<()> {
    tests::load::main()
}
