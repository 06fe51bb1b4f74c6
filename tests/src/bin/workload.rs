//! TCP traffic that knows what it did. Run it in a network namespace of its own.

fn main() -> anyhow::Result<()> {
    tests::workload::main()
}
