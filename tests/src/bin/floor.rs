//! Attaches the least that programs can do, and tells how long they and others ran.

fn main() -> anyhow::Result<()> {
    tests::floor::main()
}
